"""How often each purchase's record is on `analytics` and in the dead letters.

Once in all is right. Here is only the bookkeeping, without I/O: `topic_checks` reads the topics and
adds each record.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
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


class Attempt(NamedTuple):
    """One attempt at an origin: every redriven record and every repeated refusal names one."""

    topic_id: bytes
    partition: int
    offset: int
    attempt: int


class PartitionCounts(Struct):
    """The records of a partition by offset, from `start` on.

    `times` are append times in ms, or NO_RECORD. They need not grow, because a topic may take its
    producers' times; `oldest` is the least. `events` and `dead_letters` count the findings on
    either topic. Ten bytes a record, so that a hundred million records fit into a gigabyte.
    """

    start: int
    times: "array[int]"
    events: bytearray
    dead_letters: bytearray
    oldest: int | None = None

    @classmethod
    def of(cls, start: int, end: int) -> "PartitionCounts":
        """Return the empty counts of the offsets from `start` up to `end`."""
        length = max(end - start, 0)
        times = array("q", [NO_RECORD]) * length
        return cls(start, times, bytearray(length), bytearray(length))

    def add(self, offset: int, time: int) -> None:
        """Note that the record at `offset` was appended at `time` (ms)."""
        self.times[offset - self.start] = time
        self.oldest = time if self.oldest is None else min(self.oldest, time)


class OutputCounts:
    """Counts the outputs of each record that the processor read.

    `topics` are by their ids, `ranges` are first offset and end.
    """

    def __init__(
        self, topics: Mapping[bytes, str], ranges: Mapping[TopicPartition, tuple[int, int]]
    ) -> None:
        self._topics = topics
        self._partitions = {
            partition: PartitionCounts.of(start, end) for partition, (start, end) in ranges.items()
        }
        self._redriven: dict[tuple[TopicPartition, int], Attempt] = {}
        self._refused_again: Counter[Attempt] = Counter()
        self._without_record = Check("")
        self._not_storable: set[tuple[TopicPartition, int]] = set()

    def add_purchase(
        self, partition: TopicPartition, offset: int, time: int, headers: Headers
    ) -> None:
        """Note a record that the processor read, appended at `time` (ms)."""
        self._partitions[partition].add(offset, time)
        origin = readable_origin(headers, ORIGIN) if headers else None
        if origin is not None:
            self._redriven[partition, offset] = _attempt(origin, 1)

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
        if time == event.source_timestamp:
            if counts.events[index] < MOST_COUNTED:
                counts.events[index] += 1
        elif time != NO_RECORD and event.source_timestamp >= (counts.oldest or 0):
            # Not evidence: an offset without a record, because a compacted topic has such, and a
            # time before all others, which is that of an earlier topic of this name.
            self._without_record.differ(
                f"The event {event.event_id} is of {event.source_topic}-{event.source_partition} at"
                f" {event.source_offset}, where no such record is."
            )

    def add_not_storable(self, event: PublishedEvent) -> None:
        """Note the source that a record of `analytics` names which could not be stored.

        It may be forged, so it counts only for a purchase that has no other output.
        """
        partition = (event.source_topic, event.source_partition)
        if partition in self._partitions:
            self._not_storable.add((partition, event.source_offset))

    def add_dead_letter(self, headers: Headers) -> None:
        """Count a dead letter for its origin.

        That of a redriven record names the first record of the purchase, not itself, so
        these are only counted by attempt: theirs is at least the second.
        """
        origin = readable_origin(headers, DEAD_LETTER)
        if origin is None:
            return
        if origin.attempt > 1:
            self._refused_again[_attempt(origin, 0)] += 1
            return
        counts = self._partitions.get((self._topics.get(origin.topic_id, ""), origin.partition))
        index = -1 if counts is None else origin.offset - counts.start
        if counts is None or not 0 <= index < len(counts.times):
            return
        if counts.dead_letters[index] < MOST_COUNTED:
            counts.dead_letters[index] += 1

    def check(self, first_offsets: Mapping[TopicPartition, int]) -> Check:
        """Judge each record from its first offset on; before it, outputs may be gone."""
        check = Check("purchases on analytics or dead letters")
        check.differing = self._without_record.differing
        check.examples = list(self._without_record.examples)
        refused_again: Counter[Attempt] = Counter()
        for partition, counts in self._partitions.items():
            start = max(first_offsets[partition] - counts.start, 0)
            for index in range(start, len(counts.times)):
                if counts.times[index] == NO_RECORD:
                    continue
                check.compared += 1
                outputs = counts.events[index] + counts.dead_letters[index]
                if outputs == 1:
                    continue
                record = (partition, counts.start + index)
                if not outputs and record in self._not_storable:
                    continue
                # A redriven record that was refused again has its dead letter under its first
                # origin.
                attempt = self._redriven.get(record)
                if outputs or attempt is None:
                    self._differ(check, partition, index)
                else:
                    refused_again[attempt] += 1
        # Subtraction keeps positive counts only. More refusals than redriven records are no loss:
        # Kafka may have deleted those records already.
        _check_refused_again(check, refused_again - self._refused_again)
        return check

    def oldest(self, first_offsets: Mapping[TopicPartition, int]) -> int | None:
        """Return the append time (ms) of the oldest record that is judged; None if none is."""
        times = [
            time
            for partition, counts in self._partitions.items()
            for time in counts.times[max(first_offsets[partition] - counts.start, 0) :]
            if time != NO_RECORD
        ]
        return min(times, default=None)

    def _differ(self, check: Check, partition: TopicPartition, index: int) -> None:
        counts = self._partitions[partition]
        events, dead_letters = counts.events[index], counts.dead_letters[index]
        where = (
            f"{events} times on analytics and {dead_letters} times in the dead letters"
            if events or dead_letters
            else "neither on analytics nor in the dead letters"
        )
        topic, number = partition
        check.differ(f"{topic}-{number} at {counts.start + index} is {where}.")


def _check_refused_again(check: Check, missing: Counter[Attempt]) -> None:
    for (_, partition, offset, attempt), records in missing.items():
        check.differ(
            f"{records} records redriven from partition {partition} at {offset} (attempt"
            f" {attempt}) are neither on analytics nor in the dead letters."
        )


def _attempt(origin: Origin, more: int) -> Attempt:
    # The processor stops counting there too.
    attempt = min(origin.attempt + more, MAX_ATTEMPT)
    return Attempt(origin.topic_id, origin.partition, origin.offset, attempt)
