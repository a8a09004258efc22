"""Every record of `purchases` on exactly one of `analytics` and `purchases.dlq`: the bookkeeping.

For each partition two arrays by offset: when the record was appended, and how often it was found on
either topic. No I/O.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Final

from confluent_kafka import Message
from msgspec import Struct

from streaming.events.record import (
    DEAD_LETTER,
    MAX_ATTEMPT,
    ORIGIN,
    Headers,
    Origin,
)
from streaming.verification.check import Check
from streaming.verification.records import Published, headers_of, readable_origin

NONE: Final = -(2**63)
ONE_EVENT: Final = 1
ONE_LETTER: Final = 16
FULL: Final = 15

Attempt = tuple[bytes, int, int, int]


class Partition(Struct):
    """The records of a partition from `start` on: append times (ms, or NONE), and findings."""

    start: int
    times: "array[int]"
    found: bytearray

    @classmethod
    def of(cls, start: int, end: int) -> "Partition":
        """Make the empty books of the range."""
        length = max(end - start, 0)
        return cls(start, array("q", [NONE]) * length, bytearray(length))

    def earliest(self) -> int:
        """Give the append time (ms) of the first record that is there; NONE where none is."""
        return next((time for time in self.times if time != NONE), NONE)


class Trace:
    """Follows the records of `purchases` to where they went."""

    def __init__(self, topic: str, topic_id: bytes, ranges: Mapping[int, tuple[int, int]]) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partitions = {p: Partition.of(start, end) for p, (start, end) in ranges.items()}
        self._redriven: dict[tuple[int, int], Attempt] = {}
        self._refused_again: Counter[Attempt] = Counter()
        self._strays = Check("")

    def purchase(self, message: Message) -> None:
        """Note a record of `purchases`."""
        number, offset = message.partition() or 0, message.offset() or 0
        books = self.partitions[number]
        books.times[offset - books.start] = message.timestamp()[1]
        headers = headers_of(message)
        origin = readable_origin(headers, ORIGIN) if headers else None
        if origin is not None:
            self._redriven[number, offset] = _attempt(origin, 1)

    def event(self, event: Published) -> None:
        """Note the source of a record of `analytics`."""
        books = self.partitions.get(event.source_partition)
        if event.source_topic != self.topic or books is None:
            return
        index = event.source_offset - books.start
        if 0 <= index < len(books.times):
            if event.source_timestamp < books.earliest():
                return  # it came from an earlier topic of this name
            if books.times[index] != event.source_timestamp:
                self._strays.differ(
                    f"The event {event.event_id} is of {self.topic}-{event.source_partition} at"
                    f" {event.source_offset}, where no such record is."
                )
            elif books.found[index] & FULL != FULL:
                books.found[index] += ONE_EVENT

    def letter(self, headers: Headers) -> None:
        """Note a dead letter. A redriven record's names its first place, so it is only counted."""
        origin = readable_origin(headers, DEAD_LETTER)
        if origin is None or origin.topic_id != self.topic_id:
            return
        if origin.attempt > 1 or readable_origin(headers, ORIGIN) is not None:
            self._refused_again[_attempt(origin, 0)] += 1
            return
        books = self.partitions.get(origin.partition)
        index = -1 if books is None else origin.offset - books.start
        if books is None or not 0 <= index < len(books.found):
            return
        if books.found[index] < FULL * ONE_LETTER:
            books.found[index] += ONE_LETTER

    def check(self, bounds: Mapping[int, int]) -> Check:
        """Judge each record from its partition's bound on; before it, outputs may be deleted."""
        check = Check("purchases on analytics or dead letters")
        check.differing, check.examples = self._strays.differing, self._strays.examples
        again: Counter[Attempt] = Counter()
        for number, books in self.partitions.items():
            first = max(bounds[number] - books.start, 0)
            for index in range(first, len(books.times)):
                if books.times[index] == NONE:
                    continue
                check.compared += 1
                found = books.found[index]
                if found not in (ONE_EVENT, ONE_LETTER):
                    attempt = self._redriven.get((number, books.start + index))
                    if attempt is None or found:
                        self._differ(check, number, books.start + index, found)
                    else:
                        again[attempt] += 1
        self._check_redriven(check, again)
        return check

    def earliest(self, bounds: Mapping[int, int]) -> int | None:
        """Give the append time (ms) of the oldest record that is judged, None where none is."""
        times = [
            time
            for number, books in self.partitions.items()
            for time in books.times[max(bounds[number] - books.start, 0) :]
            if time != NONE
        ]
        return min(times, default=None)

    def _differ(self, check: Check, number: int, offset: int, found: int) -> None:
        events, letters = found % ONE_LETTER, found // ONE_LETTER
        where = (
            f"{events} times on analytics and {letters} times in the dead letters"
            if found
            else "neither on analytics nor in the dead letters"
        )
        check.differ(f"{self.topic}-{number} at {offset} is {where}.")

    def _check_redriven(self, check: Check, again: Counter[Attempt]) -> None:
        for (_, partition, offset, attempt), missing in (again - self._refused_again).items():
            check.differ(
                f"{missing} records redriven from partition {partition} at {offset} (attempt"
                f" {attempt}) are neither on analytics nor in the dead letters."
            )


def _attempt(origin: Origin, more: int) -> Attempt:
    attempt = min(origin.attempt + more, MAX_ATTEMPT)
    return origin.topic_id, origin.partition, origin.offset, attempt
