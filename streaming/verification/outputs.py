"""How often each purchase's record is on `analytics` and in the dead letters.

Once in all is right. Here is only the bookkeeping, without I/O: `partition_reader` reads the topics
and adds each record. Several readers share one memory: each notes the purchases of its partitions,
and counts the events that it reads in a counter of its own.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from mmap import mmap
from typing import Final, NamedTuple

from msgspec import Struct

from streaming.events.record import (
    DEAD_LETTER,
    MAX_ATTEMPT,
    ORIGIN,
    Headers,
    Origin,
    TopicPartition,
)
from streaming.verification.check import Check
from streaming.verification.records import PublishedEvent, readable_origin

NO_RECORD: Final = -(2**63)
"""The time at an offset that holds no record: a transaction marker, or a record not sent at all."""
MOST_COUNTED: Final = 255
"""A counter is a byte and stays here: already the second finding is a difference."""
CHUNK: Final = 4_096
"""Offsets that are judged together. A page of memory that holds no record is never touched."""
TIME_BYTES: Final = 8
"""A time is a signed number of 64 bits in memory that processes share."""
CHECK: Final = "purchases on analytics or dead letters"

Ranges = Mapping[TopicPartition, tuple[int, int]]


class Attempt(NamedTuple):
    """One attempt at an origin: every redriven record and every repeated refusal names one."""

    topic_id: bytes
    partition: int
    offset: int
    attempt: int


class PartitionCounts(Struct):
    """The records of a partition by offset, from `start` on, in memory that readers share.

    `times` are append times in ms, combined with NO_RECORD so that untouched memory is none. They
    need not grow, because a topic may take its producers' times; `oldest` is the least. `events`
    and `dead_letters` count the findings on either topic, the events by reader. `chunks` are those
    in which this process noted a record.
    """

    start: int
    times: "memoryview[int]"
    events: "list[memoryview[int]]"
    dead_letters: memoryview
    chunks: list[int]
    oldest: int | None = None

    def add(self, offset: int, time: int) -> None:
        """Note that the record at `offset` was appended at `time` (ms)."""
        index = offset - self.start
        self.times[index] = time ^ NO_RECORD
        self.oldest = time if self.oldest is None or time < self.oldest else self.oldest
        if not self.chunks or index // CHUNK != self.chunks[-1]:
            self.chunks.append(index // CHUNK)

    def records(self, first: int) -> Iterator[tuple[int, int, int]]:
        """Yield index, time and number of outputs of each record from the index `first` on."""
        for chunk in self.chunks:
            at, end = max(chunk * CHUNK, first), min((chunk + 1) * CHUNK, len(self.times))
            counters = [counter[at:end] for counter in (self.dead_letters, *self.events)]
            outputs = map(sum, zip(*counters, strict=True))
            for index, (time, number) in enumerate(zip(self.times[at:end], outputs, strict=True)):
                if time:
                    yield at + index, time ^ NO_RECORD, number


class JudgedPurchases(Struct, frozen=True):
    """What one reader's records of `purchases` came to; `oldest` is the least append time (ms).

    `refused_again` are the redriven records without an output of their own.
    """

    check: Check
    oldest: int | None
    refused_again: Counter[Attempt]


class OutputCounts:
    """Counts the outputs of each record that the processor read.

    `topics` are by their ids, `ranges` are first offset and end. `memory` has `memory_bytes` and
    is shared by `readers`, of which this is number `own`.
    """

    def __init__(
        self,
        topics: Mapping[bytes, str],
        ranges: Ranges,
        memory: mmap | None = None,
        readers: int = 1,
        own: int = 0,
    ) -> None:
        self._topics = topics
        view = memoryview(memory or mmap(-1, memory_bytes(ranges, readers)))
        self._partitions = dict(_partitions(view, ranges, readers))
        self._own = own
        self._redriven: dict[tuple[TopicPartition, int], Attempt] = {}
        self.refused_again: Counter[Attempt] = Counter()
        self.without_record = Check(CHECK)
        self.not_storable: set[tuple[TopicPartition, int]] = set()

    def add_purchase(
        self, partition: TopicPartition, offset: int, time: int, headers: Headers
    ) -> None:
        """Note a record that the processor read, appended at `time` (ms)."""
        self._partitions[partition].add(offset, time)
        origin = readable_origin(headers, ORIGIN) if headers else None
        if origin is not None:
            self._redriven[partition, offset] = _attempt(origin, 1)

    def oldest_times(self) -> dict[TopicPartition, int]:
        """Return the least append time of each partition of which a record was noted."""
        return {
            partition: counts.oldest
            for partition, counts in self._partitions.items()
            if counts.oldest is not None
        }

    def set_oldest_times(self, times: Mapping[TopicPartition, int]) -> None:
        """Take the least append time of partitions that another reader read."""
        for partition, time in times.items():
            self._partitions[partition].oldest = time

    def add_event(self, event: PublishedEvent) -> None:
        """Count a record of `analytics` for its source."""
        counts = self._partitions.get((event.source_topic, event.source_partition))
        if counts is None:
            return
        # An event does not carry its topic's id. The append time tells a record from the one that
        # had the same offset before the topic was created again.
        index = event.source_offset - counts.start
        if not 0 <= index < len(counts.times):
            return  # it was processed after the positions were read, or is of an earlier topic
        time = counts.times[index]
        if time == event.source_timestamp ^ NO_RECORD:
            events = counts.events[self._own]
            if events[index] < MOST_COUNTED:
                events[index] += 1
        elif time and event.source_timestamp >= (counts.oldest or 0):
            # Not evidence: an offset without a record, because a compacted topic has such, and a
            # time before all others, which is that of an earlier topic of this name.
            self.without_record.differ(
                f"The event {event.event_id} is of {event.source_topic}-{event.source_partition} at"
                f" {event.source_offset}, where no such record is."
            )

    def add_not_storable(self, event: PublishedEvent) -> None:
        """Note the source that a record of `analytics` names which could not be stored.

        It may be forged, so it counts only for a purchase that has no other output.
        """
        partition = (event.source_topic, event.source_partition)
        if partition in self._partitions:
            self.not_storable.add((partition, event.source_offset))

    def add_dead_letter(self, headers: Headers) -> None:
        """Count a dead letter for its origin; one reader alone reads them.

        That of a redriven record names the first record of the purchase, not itself, so
        these are only counted by attempt: theirs is at least the second.
        """
        origin = readable_origin(headers, DEAD_LETTER)
        if origin is None:
            return
        if origin.attempt > 1:
            self.refused_again[_attempt(origin, 0)] += 1
            return
        counts = self._partitions.get((self._topics.get(origin.topic_id, ""), origin.partition))
        index = -1 if counts is None else origin.offset - counts.start
        if counts is None or not 0 <= index < len(counts.times):
            return
        if counts.dead_letters[index] < MOST_COUNTED:
            counts.dead_letters[index] += 1

    def judge(self, first_offsets: Mapping[TopicPartition, int]) -> JudgedPurchases:
        """Judge each record noted here from its first offset on; before it, outputs may be gone."""
        check, oldest = Check(CHECK), None
        refused_again: Counter[Attempt] = Counter()
        for partition, counts in self._partitions.items():
            for index, time, outputs in counts.records(first_offsets[partition] - counts.start):
                check.compared += 1
                oldest = time if oldest is None or time < oldest else oldest
                if outputs == 1:
                    continue
                record = (partition, counts.start + index)
                if not outputs and record in self.not_storable:
                    continue
                # A redriven record that was refused again has its dead letter under its first
                # origin.
                attempt = self._redriven.get(record)
                if outputs or attempt is None:
                    _differ(check, partition, counts, index)
                else:
                    refused_again[attempt] += 1
        return JudgedPurchases(check, oldest, refused_again)


def memory_bytes(ranges: Ranges, readers: int) -> int:
    """Return the size of the memory of these readers: at least a byte, else ten or more a record.

    A hundred million records fit into a gigabyte. Pages without a record take none.
    """
    return max(sum(map(_length, ranges.values())) * (TIME_BYTES + 1 + readers), 1)


def check_outputs(
    judged: Iterable[JudgedPurchases], of_events: Check, refused_again: Counter[Attempt]
) -> Check:
    """Put together what the readers judged; `of_events` are the events without a record.

    `refused_again` counts the dead letters by attempt.
    """
    check, missing = of_events, Counter[Attempt]()
    for part in judged:
        check.add(part.check)
        missing += part.refused_again
    # Subtraction keeps positive counts only. More refusals than redriven records are no loss:
    # Kafka may have deleted those records already.
    for (_, partition, offset, attempt), records in (missing - refused_again).items():
        check.differ(
            f"{records} records redriven from partition {partition} at {offset} (attempt"
            f" {attempt}) are neither on analytics nor in the dead letters."
        )
    return check


def _partitions(
    memory: memoryview, ranges: Ranges, readers: int
) -> Iterator[tuple[TopicPartition, PartitionCounts]]:
    """Lay the partitions out in the memory: all times first, because they must be aligned."""
    times_at, counters_at = 0, TIME_BYTES * sum(map(_length, ranges.values()))
    for partition, (start, end) in ranges.items():
        length = _length((start, end))
        times = memory[times_at : times_at + TIME_BYTES * length].cast("q")
        counters = [
            memory[counters_at + number * length : counters_at + (number + 1) * length]
            for number in range(readers + 1)
        ]
        yield partition, PartitionCounts(start, times, counters[1:], counters[0], [])
        times_at += TIME_BYTES * length
        counters_at += (readers + 1) * length


def _length(bounds: tuple[int, int]) -> int:
    return max(bounds[1] - bounds[0], 0)


def _differ(check: Check, partition: TopicPartition, counts: PartitionCounts, index: int) -> None:
    events = sum(counter[index] for counter in counts.events)
    dead_letters = counts.dead_letters[index]
    where = (
        f"{events} times on analytics and {dead_letters} times in the dead letters"
        if events or dead_letters
        else "neither on analytics nor in the dead letters"
    )
    topic, number = partition
    check.differ(f"{topic}-{number} at {counts.start + index} is {where}.")


def _attempt(origin: Origin, more: int) -> Attempt:
    # The processor stops counting there too.
    attempt = min(origin.attempt + more, MAX_ATTEMPT)
    return Attempt(origin.topic_id, origin.partition, origin.offset, attempt)
