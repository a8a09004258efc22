"""Hanging transactions: those that a broker has forgotten to end. When to look is the caller's.

A coordinator that knows no leader of a partition takes it for deleted, and logs "likely deleted
already". It takes the transaction for ended there, without a marker. A broker that was killed, or
stopped for long, may know none for a moment when it is back. What was published stays open then:
the next commit of the same producer commits it too, and offsets may stay undecided forever.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.events.provenance import read_provenance
from streaming.events.record import Record, TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.log_reader import read_from
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.runtime.limits import RECOVERY_CALL_SECONDS
from streaming.system.deadline import Deadline
from streaming.system.logs import get_logger


def list_topic_partitions(producer: Producer, topics: Sequence[str]) -> list[TopicPartition]:
    """Return all partitions of the topics. Raises `KafkaException` if no broker answers."""
    return [
        (topic, number)
        for topic in topics
        for number in producer.list_topics(topic, RECOVERY_CALL_SECONDS).topics[topic].partitions
    ]


def list_hanging(
    common: Config,
    partitions: Sequence[TopicPartition],
    group: str,
    read: Sequence[TopicPartition],
) -> list[TopicPartition]:
    """Return the partitions with an open transaction over what was made of uncommitted purchases.

    Asked when our producer has no transaction: what is open then was to be aborted and forgotten,
    or is of another slot, which an abort of ours does not touch. If a commit was forgotten, the
    offsets of `group` on `read` say so, and the next commit makes up for it. Raises `Unavailable`
    or `KafkaException` if the brokers do not answer.
    """
    admin = AdminClient(common)
    # The last stable offset is asked first, and the group's offsets last: a transaction that is
    # committed in between must not be taken for a hanging one.
    stable = list_bounds(admin, partitions, stable=True, timeout=RECOVERY_CALL_SECONDS)
    high = list_bounds(admin, partitions, stable=False, timeout=RECOVERY_CALL_SECONDS)
    starts = {at: stable[at][1] for at in partitions if stable[at][1] < high[at][1]}
    if not starts:
        return []
    first = _read_first(common, group, starts)
    offsets = committed_offsets(common, group, read, RECOVERY_CALL_SECONDS)
    committed = {partition: offset.offset for partition, offset in offsets.items()}
    return [at for at, record in first.items() if not _is_committed(record, committed)]


def abort_over(
    producer: Producer,
    partitions: Sequence[TopicPartition],
    offsets: tuple[str, object] | None = None,
) -> None:
    """Abort a transaction over these partitions, which ends what is open of the producer's id.

    With `offsets` (a topic, and the metadata of the group that reads it) over its offsets too:
    that is right while they are undecided and nothing of it is committed (see
    `published_purchases`), because what was published is published again. With nothing to end this
    does nothing. Raises `KafkaException` if the abort fails.
    """
    names = [f"{topic}-{number}" for topic, number in partitions]
    get_logger().warning("aborting_hanging_transactions", partitions=names)
    try:
        producer.begin_transaction()
        _add_to_transaction(producer, partitions, offsets)
    except KafkaException as error:
        # What was added before is ended by the abort below.
        get_logger().warning("hanging_partition_not_added", error=error.args[0].str())
    producer.abort_transaction(RECOVERY_CALL_SECONDS)


def commit_over(producer: Producer, offset: PartitionOffset, group_metadata: object) -> None:
    """Commit a transaction over the group's offsets, which commits what is undecided of them.

    `offset` is one that the group is to have: only an offset reaches the partition of the offsets.
    Raises `KafkaException` if the commit fails.
    """
    at = f"{offset.topic}-{offset.partition}"
    get_logger().warning("committing_undecided_offsets", partition=at, offset=offset.offset)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([offset], group_metadata, RECOVERY_CALL_SECONDS)
    producer.commit_transaction(RECOVERY_CALL_SECONDS)


def _add_to_transaction(
    producer: Producer, partitions: Iterable[TopicPartition], offsets: tuple[str, object] | None
) -> None:
    """Add each of the partitions, and then the offsets, to the open transaction.

    The offsets come last, and only after all others: while they are undecided it is done again.
    """
    for topic, number in partitions:
        # Only a record adds a partition to a transaction. It is aborted, so nobody reads it.
        producer.produce(topic, b"", partition=number)
    if producer.flush(RECOVERY_CALL_SECONDS) > 0:
        error = "not all was acknowledged in time"
        get_logger().warning("hanging_partition_not_added", error=error)
    elif offsets is not None:
        topic, group_metadata = offsets
        # Any offset will do, because it is aborted: it only adds the partition of the group's
        # offsets.
        start = [PartitionOffset(topic, 0, 0)]
        producer.send_offsets_to_transaction(start, group_metadata, RECOVERY_CALL_SECONDS)


def _read_first(
    common: Config, group: str, starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, Record]:
    """Read the first record from each start, decided or not."""
    config: Config = {
        **common,
        # The client wants a group's name. Partitions are assigned, so the group is not joined.
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",
    }
    records: dict[TopicPartition, Record] = {}
    with closing(Consumer(config)) as consumer:
        for partition, read in read_from(consumer, starts, Deadline.after(RECOVERY_CALL_SECONDS)):
            if isinstance(read, Record):
                records.setdefault(partition, read)
            if len(records) == len(starts):
                return records
    raise Unavailable("the broker does not return the records of an open transaction in time")


def _is_committed(record: Record, committed: Mapping[TopicPartition, int]) -> bool:
    """Return whether the purchase that the record was made of is behind the committed offsets."""
    source = read_provenance(record.value, record.headers)
    return source is not None and source[1] < committed.get(source[0], 0)
