"""Reading fixed ranges of the topics, from outside the apps and without joining a group.

What a record means is for `records`; what it is compared with is for `topic_checks`.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config, consumer_config
from streaming.kafka.recorded_settings import topic_id_in
from streaming.kafka.retry import answer
from streaming.kafka.unreadable_batch import UNREADABLE, offset_after_batch
from streaming.settings import Settings

BATCH: Final = 10_000
"""Records of one call of the client, which waits a tenth of a second for the rest."""
PROGRESS_SECONDS: Final = 30.0
"""A partition without progress for so long is given up; a broker restarts in less."""

Range = tuple[int, int]
"""First offset and end of a partition."""
Ranges = Mapping[TopicPartition, Range]


@dataclass(frozen=True)
class TopicReader:
    """A read-committed consumer with its configuration, and the batches that it passed over.

    `unreadable` has the offset behind each batch that cannot be unpacked, by partition and first
    offset.
    """

    consumer: Consumer
    config: Config
    unreadable: dict[tuple[TopicPartition, int], int] = field(default_factory=dict)

    def close(self) -> None:
        """Close the consumer."""
        self.consumer.close()

    def pass_over(self, message: Message) -> int:
        """Note the unreadable batch that a message names; return the offset behind it.

        Raises `Unavailable` if the broker does not say where that is.
        """
        (topic, number), first = batch = _position(message)
        if batch not in self.unreadable:
            end = offset_after_batch(self.config, (topic, number), first)
            if end is None:
                raise Unavailable(
                    f"The batch of {topic}-{number} that begins at {first} cannot be unpacked, and"
                    " the broker does not say in time where it ends; try again."
                )
            self.unreadable[batch] = end
        return self.unreadable[batch]


def open_reader(settings: Settings, servers: str, group: str) -> TopicReader:
    """Return a reader that may ask for the committed offsets of `group`."""
    config = consumer_config(settings, servers, "verify", group)
    # `first_record` learns only from an end event that no committed record follows.
    more = {"enable.partition.eof": True, "queued.max.messages.kbytes": 32_768}
    return TopicReader(Consumer({**config, **more}), config)


def committed_offsets(
    reader: TopicReader, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Return the group's committed offset of each partition (negative: none), and its topic's id.

    The id is empty for offsets that another tool committed.
    """
    asked = [PartitionOffset(*partition) for partition in partitions]
    committed = answer(lambda seconds: reader.consumer.committed(asked, timeout=seconds))
    return {(p.topic, p.partition): (p.offset, topic_id_in(p.metadata)) for p in committed}


def read_ranges(reader: TopicReader, ranges: Ranges) -> Iterator[list[Message]]:
    """Yield every committed record of the ranges (first offset, end), thousands at a time.

    The order is that of the partition. What cannot be unpacked is passed over. Raises `Unavailable`
    if nothing comes for 30 s (an open transaction hides what is behind it), or if records were
    deleted meanwhile.
    """
    ends = {partition: end for partition, (start, end) in ranges.items() if start < end}
    _assign(reader.consumer, [PartitionOffset(*one, ranges[one][0]) for one in ends])
    starts: dict[TopicPartition, int] = {}
    moved_at = time.monotonic()
    while ends:
        messages = reader.consumer.consume(BATCH, 0.1)
        before = len(ends)
        records = _within(messages, ends)
        passed = _pass_over_unreadable(reader, messages, ends, starts)
        _drop_finished(reader.consumer, ends)
        yield records
        if records or passed or len(ends) < before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > PROGRESS_SECONDS:
            topic, partition = next(iter(ends))
            raise Unavailable(
                f"{topic}-{partition} delivers nothing more before its end at"
                f" {ends[topic, partition]}: is a transaction open there? Try again."
            )
    reader.consumer.unassign()


def first_record(reader: TopicReader, partition: TopicPartition, start: int) -> Message | None:
    """Return the first committed record from `start` on that can be unpacked; None if none can."""
    consumer = reader.consumer
    _assign(consumer, [PartitionOffset(*partition, start)])
    deadline = time.monotonic() + PROGRESS_SECONDS
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error() is None:
                return message
            if _is_unreadable(message):
                consumer.assign([PartitionOffset(*partition, reader.pass_over(message))])
            elif _end_of(message) is not None:
                return None
        raise Unavailable(
            f"{partition[0]}-{partition[1]} delivers neither a record nor its end; try again."
        )
    finally:
        consumer.unassign()


def _assign(reader: Consumer, partitions: list[PartitionOffset]) -> None:
    """Read from these offsets on. Raises `Unavailable` if the brokers do not answer."""
    reader.assign(partitions)
    for topic in {partition.topic for partition in partitions}:
        # Else the leader of a topic that is new to this client is only looked for once a second.
        answer(partial(reader.list_topics, topic))


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
    # The client retries all other errors by itself.
    return None


def _pass_over_unreadable(
    reader: TopicReader,
    messages: list[Message],
    ends: Mapping[TopicPartition, int],
    starts: dict[TopicPartition, int],
) -> bool:
    """Go on behind each unreadable batch before the ends; return whether there was one.

    `starts` has where a partition is read from since.
    """
    passed = False
    for message in filter(_is_unreadable, messages):
        partition, first = _position(message)
        # What was dropped, or is read further on by now, may still have events in the client's
        # queue.
        if starts.get(partition, 0) <= first < ends.get(partition, 0):
            starts[partition] = reader.pass_over(message)
            after = PartitionOffset(*partition, starts[partition])
            reader.consumer.incremental_unassign([after])
            reader.consumer.incremental_assign([after])
            passed = True
    return passed


def _is_unreadable(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == UNREADABLE


def _position(message: Message) -> tuple[TopicPartition, int]:
    return (message.topic() or "", message.partition() or 0), message.offset() or 0
