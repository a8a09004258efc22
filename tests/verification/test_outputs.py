"""The bookkeeping of outputs: each record once, whatever else is on the topics."""

from collections import Counter
from datetime import UTC, datetime
from mmap import mmap

from msgspec import structs

from streaming.events.record import Headers
from streaming.verification.check import Check
from streaming.verification.outputs import (
    CHUNK,
    MOST_COUNTED,
    OutputCounts,
    check_outputs,
    memory_bytes,
)
from streaming.verification.records import PublishedEvent

TOPICS = {bytes(16): "purchases"}
FIRST = ("purchases", 0)
TIME = 1_700_000_000_000


def counts(records: int, start: int = 0) -> OutputCounts:
    """Return the books of one partition with so many records from `start` on."""
    books = OutputCounts(TOPICS, {FIRST: (start, start + records)})
    for offset in range(start, start + records):
        books.add_purchase(FIRST, offset, TIME + offset, ())
    return books


def event(offset: int, time: int | None = None, partition: int = 0) -> PublishedEvent:
    """Return the event that was made of the record at `offset`."""
    return PublishedEvent(
        event_id=f"id-{offset}",
        event_time=datetime(2024, 1, 1, tzinfo=UTC),
        item="lamp",
        quantity=1,
        processed_at=datetime(2024, 1, 1, tzinfo=UTC),
        source_topic="purchases",
        source_partition=partition,
        source_offset=offset,
        source_timestamp=TIME + offset if time is None else time,
    )


def origin(prefix: str, offset: int, attempt: int) -> Headers:
    """Return the headers that name the record at `offset` as an origin."""
    values = {
        "topic": b"purchases",
        "topic_id": b"AAAAAAAAAAAAAAAAAAAAAA",
        "partition": b"0",
        "offset": str(offset).encode(),
        "timestamp": str(TIME).encode(),
        "attempt": str(attempt).encode(),
    }
    return tuple((f"{prefix}{name}", value) for name, value in values.items())


def judge(books: OutputCounts, first: int = 0) -> Check:
    """Judge the records from the offset `first` on, as one reader alone does."""
    without_record = structs.replace(books.without_record)
    return check_outputs([books.judge({FIRST: first})], without_record, books.refused_again)


def examples(books: OutputCounts, first: int = 0) -> list[str]:
    """Return the sentences about the differences from the offset `first` on."""
    return judge(books, first).examples


def test_each_record_is_on_one_of_both_topics() -> None:
    """An event or a dead letter is enough for a record, and nothing differs."""
    books = counts(2)
    books.add_event(event(0))
    books.add_dead_letter(origin("dlq.", 1, 1))
    assert judge(books) == Check("purchases on analytics or dead letters", compared=2)
    assert books.judge({FIRST: 1}).oldest == TIME + 1


def test_a_missing_and_a_repeated_output_differ() -> None:
    """Neither none nor two are right, also if the two are on different topics."""
    books = counts(3)
    for offset in (1, 1, 2):
        books.add_event(event(offset))
    books.add_dead_letter(origin("dlq.", 2, 1))
    assert examples(books) == [
        "purchases-0 at 0 is neither on analytics nor in the dead letters.",
        "purchases-0 at 1 is 2 times on analytics and 0 times in the dead letters.",
        "purchases-0 at 2 is 1 times on analytics and 1 times in the dead letters.",
    ]


def test_the_two_counters_do_not_touch_each_other() -> None:
    """However often a record is found, its counter stays at its limit and the other one at 0."""
    books = counts(1)
    for _ in range(MOST_COUNTED + 10):
        books.add_event(event(0))
    assert examples(books) == [
        f"purchases-0 at 0 is {MOST_COUNTED} times on analytics and 0 times in the dead letters."
    ]


def test_only_what_is_held_is_judged() -> None:
    """Records before the first offset, markers of transactions and other partitions are left."""
    books = OutputCounts(TOPICS, {FIRST: (10, 14)})
    books.add_purchase(FIRST, 10, TIME + 10, ())
    books.add_purchase(FIRST, 12, TIME + 12, ())
    books.add_event(event(12))
    for stranger in (event(9), event(14), event(12, partition=1)):
        books.add_event(stranger)
    check = judge(books, 11)
    assert (check.compared, check.differing) == (1, 0)
    assert books.judge({FIRST: 13}).oldest is None


def test_an_event_without_a_record_differs() -> None:
    """The time must be that of the record; an older one is of an earlier topic of this name."""
    books = counts(1)
    books.add_event(event(0))
    books.add_event(event(0, TIME + 5))
    books.add_event(event(0, TIME - 5))
    assert examples(books) == ["The event id-0 is of purchases-0 at 0, where no such record is."]


def test_times_of_records_need_not_grow() -> None:
    """A topic may take its producers' times; a record is recognised by its position and time."""
    minutes_old = [1, 9, 4, 30, 2, 0]
    times = [TIME - 60_000 * minutes for minutes in minutes_old]
    books = OutputCounts(TOPICS, {FIRST: (0, 12)})
    for index, time in enumerate(times):
        books.add_purchase(FIRST, 2 * index, time, ())  # with an offset without a record after each
        books.add_event(event(2 * index, time))
        books.add_event(event(2 * index + 1, time))
    check = judge(books)
    assert (check.compared, check.differing) == (6, 0)
    books.add_event(event(6, times[2]))
    assert examples(books) == ["The event id-6 is of purchases-0 at 6, where no such record is."]


def test_offsets_need_not_be_dense() -> None:
    """A hundred million offsets with three records take the memory of three pages, and no time."""
    offsets = (0, 5 * CHUNK + 3, 100_000_000)
    books = OutputCounts(TOPICS, {FIRST: (0, offsets[-1] + 1)})
    for offset in offsets:
        books.add_purchase(FIRST, offset, TIME - offset, ())
        books.add_event(event(offset, TIME - offset))
    books.add_event(event(offsets[1], TIME - offsets[1]))
    books.add_event(event(77, TIME))
    check = judge(books)
    assert (check.compared, check.differing) == (3, 1)
    assert check.examples[0].startswith(f"purchases-0 at {offsets[1]} is 2 times on analytics")


def test_several_readers_count_in_one_memory() -> None:
    """Each notes its own purchases and counts the events it reads, also for another's."""
    ranges = {FIRST: (0, 3), ("purchases", 1): (5, 7)}
    memory = mmap(-1, memory_bytes(ranges, 2))
    one, two = (OutputCounts(TOPICS, ranges, memory, 2, own) for own in range(2))
    for offset in range(3):
        one.add_purchase(FIRST, offset, TIME + offset, ())
    for offset in (5, 6):
        two.add_purchase(("purchases", 1), offset, TIME + offset, ())
    one.set_oldest_times(two.oldest_times())
    two.set_oldest_times(one.oldest_times())
    for reader, offset, partition in ((one, 0, 0), (two, 0, 0), (two, 1, 0), (one, 6, 1)):
        reader.add_event(event(offset, partition=partition))
    two.add_event(event(2, TIME + 77))
    one.add_dead_letter(origin("dlq.", 2, 1))
    first = {FIRST: 0, ("purchases", 1): 5}
    check = check_outputs(
        [reader.judge(first) for reader in (one, two)], two.without_record, Counter()
    )
    assert check.compared == 5
    assert check.examples == [
        "The event id-2 is of purchases-0 at 2, where no such record is.",
        "purchases-0 at 0 is 2 times on analytics and 0 times in the dead letters.",
        "purchases-1 at 5 is neither on analytics nor in the dead letters.",
    ]


def test_a_redriven_record_that_is_refused_again_is_found_by_its_attempt() -> None:
    """Its dead letter names the first origin, so as many as were redriven must be there."""
    books = counts(2)
    for offset in range(2):
        books.add_purchase(FIRST, offset, TIME, origin("origin.", 7, 1))
    books.add_dead_letter(origin("dlq.", 7, 2))
    (example,) = examples(books)
    assert example.startswith("1 records redriven from partition 0 at 7 (attempt 2) are neither on")
    books.add_dead_letter(origin("dlq.", 7, 2))
    assert examples(books) == []


def test_a_forged_origin_on_purchases_hides_no_refusal() -> None:
    """The refused record counts for itself, whatever its own headers name."""
    books = counts(1)
    books.add_purchase(FIRST, 0, TIME, origin("origin.", 7, 1))
    books.add_dead_letter((*origin("origin.", 7, 1), *origin("dlq.", 0, 1)))
    assert examples(books) == []
