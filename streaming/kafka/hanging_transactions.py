"""Ending a transaction that a broker has forgotten to end; when it is called for is the caller's.

A coordinator that knows no leader of a partition takes it for deleted (it logs "likely deleted
already") and the transaction for ended there, without a marker. A broker that was killed, or
stopped for long, may know none for a moment when it is back. What was published stays open then, so
that the next commit of the same producer commits it too, and offsets may stay undecided for ever.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.events.provenance import read_provenance
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.records import headers_of
from streaming.system.logs import get_logger

CALL_SECONDS: Final = 4.0
MOST_SECONDS: Final = 25
"""What all calls of one function together may take."""


def list_topic_partitions(producer: Producer, topics: Sequence[str]) -> list[TopicPartition]:
    """Give all partitions of the topics. Raises `KafkaException` where no broker answers."""
    return [
        (topic, number)
        for topic in topics
        for number in producer.list_topics(topic, CALL_SECONDS).topics[topic].partitions
    ]


def list_hanging(
    common: Config, places: Sequence[TopicPartition], group: str
) -> list[TopicPartition]:
    """Give the partitions in which something stands open that was made of uncommitted purchases.

    Asked when our producer has no transaction: what is open then was to be aborted and forgotten,
    or is of another slot, which an abort of ours does not touch. Where a commit was forgotten, the
    offsets of `group` say so, and the next commit makes up for it. Raises `Unavailable` or
    `KafkaException` where the brokers do not answer.
    """
    admin = AdminClient(common)
    stable = list_bounds(admin, places, stable=True, timeout=CALL_SECONDS)
    high = list_bounds(admin, places, stable=False, timeout=CALL_SECONDS)
    starts = {place: stable[place][1] for place in places if stable[place][1] < high[place][1]}
    if not starts:
        return []
    first = _first_records(common, group, starts)
    offsets = committed_offsets(admin, group, CALL_SECONDS)
    committed = {number: offset.offset for (_, number), offset in offsets.items()}
    return [place for place, record in first.items() if not _is_committed(record, committed)]


def abort_over(
    producer: Producer, places: Sequence[TopicPartition], offsets: tuple[str, object] | None = None
) -> None:
    """Abort a transaction over these partitions, which ends what stands open of the producer's id.

    With `offsets` (a topic, and the metadata of the group that reads it) over its offsets too:
    while they are undecided aborting is right, as what was published is published again. With
    nothing to end this does nothing. Raises `KafkaException` where the abort fails.
    """
    get_logger().warning(
        "aborting_what_hangs", partitions=[f"{t}-{number}" for t, number in places]
    )
    try:
        producer.begin_transaction()
        _touch(producer, places, offsets)
    except KafkaException as error:
        get_logger().warning("touching_failed", error=error.args[0].str())
    producer.abort_transaction(CALL_SECONDS)


def _touch(
    producer: Producer, places: Iterable[TopicPartition], offsets: tuple[str, object] | None
) -> None:
    """Let the open transaction hold each of the partitions, and then the offsets.

    These come last, and only after all others: as long as they are undecided it is done again.
    """
    for topic, number in places:
        producer.produce(topic, b"", partition=number)
    if producer.flush(CALL_SECONDS) > 0:
        get_logger().warning("touching_failed", error="not all was acknowledged in time")
    elif offsets is not None:
        topic, group_metadata = offsets
        start = [PartitionOffset(topic, 0, 0)]
        producer.send_offsets_to_transaction(start, group_metadata, CALL_SECONDS)


def _first_records(
    common: Config, group: str, starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, Message]:
    """Read the first record from each start, decided or not."""
    reading: Config = {
        **common,
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",
    }
    consumer, until = Consumer(reading), time.monotonic() + CALL_SECONDS
    found: dict[TopicPartition, Message] = {}
    try:
        consumer.assign([PartitionOffset(*place, start) for place, start in starts.items()])
        while len(found) < len(starts):
            message = consumer.poll(max(until - time.monotonic(), 0))
            if message is None:
                raise Unavailable("the broker does not give what stands open in time")
            if message.error() is None:
                found.setdefault((str(message.topic()), message.partition() or 0), message)
    finally:
        consumer.close()
    return found


def _is_committed(record: Message, committed: Mapping[int, int]) -> bool:
    """Tell whether the purchase that the record was made of is behind the committed offsets."""
    source = read_provenance(record.value(), headers_of(record))
    return source is not None and source[1] < committed.get(source[0], 0)
