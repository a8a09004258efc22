"""Reading fixed ranges of the topics, from outside the apps and without joining a group.

What a record means is for `records`; what it is compared with is for `topic_checks`.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import consumer_config
from streaming.kafka.recorded_settings import topic_id_in
from streaming.kafka.retry import answer
from streaming.kafka.unreadable_batch import UNREADABLE
from streaming.settings import Settings

BATCH: Final = 10_000
"""Records of one call of the client, which waits a tenth of a second for the rest."""
PROGRESS_SECONDS: Final = 30.0
"""A partition without progress for so long is given up; a broker restarts in less."""
CALL_SECONDS: Final = 5.0

Range = tuple[int, int]
"""First offset and end of a partition."""
Ranges = Mapping[TopicPartition, Range]


def open_reader(settings: Settings, servers: str, group: str) -> Consumer:
    """Return a read-committed consumer that may ask for the committed offsets of `group`."""
    config = consumer_config(settings, servers, "verify", group)
    # `first_record` learns only from an end event that no committed record follows.
    return Consumer({**config, "enable.partition.eof": True, "queued.max.messages.kbytes": 32_768})


def committed_offsets(
    reader: Consumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Return the group's committed offset of each partition (negative: none), and its topic's id.

    The id is empty for offsets that another tool committed.
    """
    asked = [PartitionOffset(*partition) for partition in partitions]
    committed = answer(lambda seconds: reader.committed(asked, timeout=seconds))
    return {(p.topic, p.partition): (p.offset, topic_id_in(p.metadata)) for p in committed}


def read_ranges(reader: Consumer, ranges: Ranges) -> Iterator[list[Message]]:
    """Yield every committed record of the ranges (first offset, end), thousands at a time.

    The order is that of the partition. Raises `Unavailable` if nothing comes for 30 s (an open
    transaction hides what is behind it), or if records were deleted meanwhile.
    """
    ends = {partition: end for partition, (start, end) in ranges.items() if start < end}
    _assign(reader, [PartitionOffset(*partition, ranges[partition][0]) for partition in ends])
    moved_at = time.monotonic()
    while ends:
        messages = reader.consume(BATCH, 0.1)
        before = len(ends)
        records = _within(messages, ends)
        _drop_finished(reader, ends)
        yield records
        if records or len(ends) < before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > PROGRESS_SECONDS:
            topic, partition = next(iter(ends))
            raise Unavailable(
                f"{topic}-{partition} delivers nothing more before its end at"
                f" {ends[topic, partition]}: is a transaction open there? Try again."
            )
    reader.unassign()


def first_record(reader: Consumer, partition: TopicPartition, start: int) -> Message | None:
    """Return the first committed record from `start` on; None if the partition holds none."""
    _assign(reader, [PartitionOffset(*partition, start)])
    deadline = time.monotonic() + PROGRESS_SECONDS
    try:
        while time.monotonic() < deadline:
            message = reader.poll(1)
            if message is None:
                continue
            if message.error() is None:
                return message
            if _end_of(message) is not None:
                return None
        raise Unavailable(
            f"{partition[0]}-{partition[1]} delivers neither a record nor its end; try again."
        )
    finally:
        reader.unassign()


def _assign(reader: Consumer, partitions: list[PartitionOffset]) -> None:
    reader.assign(partitions)
    for topic in {partition.topic for partition in partitions}:
        # Else the leader of a topic that is new to this client is only looked for once a second.
        reader.list_topics(topic, timeout=CALL_SECONDS)


def _within(messages: list[Message], ends: dict[TopicPartition, int]) -> list[Message]:
    """Return the records before the ends; a partition whose end was reached leaves `ends`."""
    records = []
    for message in messages:
        partition = (message.topic() or "", message.partition() or 0)
        if message.error() is None:
            if (message.offset() or 0) < ends.get(partition, 0):
                records.append(message)
            continue
        end = _end_of(message)
        # A partition that was dropped may still have events in the client's queue.
        if end is not None and end >= ends.get(partition, end + 1):
            del ends[partition]
    return records


def _drop_finished(reader: Consumer, ends: dict[TopicPartition, int]) -> None:
    """Stop fetching partitions whose position, past transaction markers, has reached the end."""
    positions = reader.position([PartitionOffset(*partition) for partition in ends])
    finished = {(p.topic, p.partition) for p in positions if p.offset >= ends[p.topic, p.partition]}
    for partition in finished:
        del ends[partition]
    assigned = reader.assignment()
    gone = [p for p in assigned if (p.topic, p.partition) not in ends]
    if gone:
        reader.incremental_unassign(gone)


def _end_of(message: Message) -> int | None:
    """Return the offset of an end-of-partition event, None for a passing error."""
    error = message.error()
    if error is None:
        return None
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
        return message.offset()
    # With `auto.offset.reset=error` a deleted offset is an event instead of a silent jump.
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise Unavailable(
            f"Records of {message.topic()}-{message.partition()} were deleted while they were read"
            " (retention); try again."
        )
    if error.code() == UNREADABLE:
        raise Unavailable(
            f"The batch of {message.topic()}-{message.partition()} that begins at"
            f" {message.offset()} cannot be unpacked, so nothing behind it is verified. Wait until"
            " retention has deleted it, or delete the log up to its end with"
            " kafka-delete-records.sh."
        )
    # The client retries all other errors by itself.
    return None
