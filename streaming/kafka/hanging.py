"""Ending a transaction that a broker has forgotten to end; when it is called for is the caller's.

A broker that is killed between the decision to commit and its markers may drop these when it
starts again (it logs "likely deleted already"). The coordinator takes them for written, so the
group's offsets stay undecided for ever, and what stands behind the transaction unread.
"""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicPartition

from streaming.logs import get_logger

CALL_SECONDS: Final = 4.0
MOST_SECONDS: Final = 25
"""What all calls together may take: topics, flush, offsets and abort."""


def abort_what_hangs(
    producer: Producer, written: Sequence[str], read: str, group_metadata: object
) -> None:
    """Abort a transaction over all that the producer's own id writes to, which ends such a one.

    `written` are the topics that it writes, `read` is the one whose offsets it commits. While these
    are undecided aborting is right: what was published is published again. With nothing to end
    this does nothing. Raises `KafkaException` where the abort fails.
    """
    get_logger().warning("aborting_what_hangs")
    try:
        producer.begin_transaction()
        _touch(producer, written, read, group_metadata)
    except KafkaException as error:
        get_logger().warning("touching_failed", error=error.args[0].str())
    producer.abort_transaction(CALL_SECONDS)


def _touch(producer: Producer, written: Sequence[str], read: str, group_metadata: object) -> None:
    """Let the open transaction hold each partition that is written to, and then the offsets.

    These come last, and only after all others: as long as they are undecided it is done again.
    """
    for topic in written:
        for number in producer.list_topics(topic, CALL_SECONDS).topics[topic].partitions:
            producer.produce(topic, b"", partition=number)
    if producer.flush(CALL_SECONDS) > 0:
        get_logger().warning("touching_failed", error="not all was acknowledged in time")
        return
    start = [TopicPartition(read, 0, 0)]
    producer.send_offsets_to_transaction(start, group_metadata, CALL_SECONDS)
