"""The writer on PostgreSQL: the same rows and figures as on SQLite, also by several at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import Engine

from streaming.settings import Settings
from streaming.store.advances import Advance, PositionTaken
from streaming.store.connection import read_store
from streaming.store.engine import open_engine
from streaming.store.live_totals import read_version
from streaming.store.rows import day_cutter
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import BatchRows, StoredBatch, write_in_transaction
from tests.store.rows import SOURCE_TOPICS, Event
from tests.store.test_writer import AROUND_A_TRILLION, ATTEMPTS, UTC, contested_events, writing

SAME = (
    "analytics_event_readable",
    "correction",
    "day_ledger",
    "dead_letter",
    "live_item_totals",
    "live_totals",
    "source_topic",
    "stream_offset",
)
ROWS_IN_ORDER = "SELECT event_id, item FROM analytics_event ORDER BY rowid"
SUMS = "sum(events), sum(items_sold), sum(net_revenue_micros)"
DAY_OF = day_cutter(UTC)


@pytest.mark.sqlite("a file beside a server")
@pytest.mark.parametrize("amounts", [False, True])
def test_both_databases_hold_the_same(
    store: Settings, postgres_settings: Settings, engine: Engine, *, amounts: bool
) -> None:
    """Whatever batches events come in, below and beyond 64 bits, down to the order of rows."""
    chance, events, done = Random(amounts), contested_events(60), 0
    if amounts:
        events = [with_amount(each, chance) for each in events]
    chance.shuffle(events)
    on_file = open_engine(store)
    record_source_topics(on_file, SOURCE_TOPICS)
    while done < len(events):
        batch = events[done : done + chance.choice([1, 7, 40, 200])]
        written = [write(each, batch, done or None) for each in (on_file, engine)]
        assert written[0] == written[1]
        done += len(batch)
    on_file.dispose()
    with read_store(store) as one, read_store(postgres_settings) as other:
        for statement in (ROWS_IN_ORDER, *(f"SELECT * FROM {name} ORDER BY 1, 2" for name in SAME)):
            rows = one.execute(statement).fetchall()
            assert repr(other.execute(statement).fetchall()) == repr(rows)


def with_amount(event: Event, chance: Random) -> Event:
    """Return the event with an amount around what two columns of a sum split at."""
    sign = 1 if event.quantity > 0 else -1
    return replace(event, amount_micros=sign * chance.choice(AROUND_A_TRILLION))


def write(
    engine: Engine,
    events: list[Event],
    expected: int | None,
    partition: int = 0,
    *,
    alone: bool = False,
) -> StoredBatch:
    """Write a batch that was read behind `expected` of a partition."""
    rows = [replace(each, stream_partition=partition).row() for each in events]
    advance = Advance(expected, (expected or 0) + len(rows), 0, len(rows))
    batch = BatchRows(rows, ATTEMPTS, {("analytics", partition): advance})
    return write_in_transaction(engine, writing(batch, DAY_OF), alone=alone)


def test_a_position_that_another_moved_stores_nothing(
    postgres_settings: Settings, engine: Engine
) -> None:
    """A consumer that was taken for dead and goes on is refused, at its first batch and later."""
    events = contested_events(5)
    write(engine, events[:5], None)
    for expected in (None, 3):
        with pytest.raises(PositionTaken):
            write(engine, events[5:], expected)
    with read_store(postgres_settings) as reader:
        assert reader.execute("SELECT count(*) FROM analytics_event").fetchall() == [(5,)]


def test_three_writers_of_the_same_events_at_once(
    postgres_settings: Settings, engine: Engine
) -> None:
    """Each id once with its winner, exact sums, and versions and numbers in the order of commits.

    A reader that sees a number has all rows below it, in every one of its snapshots.
    """
    events, done = contested_events(200), False
    with ThreadPoolExecutor(4) as pool:
        watched = pool.submit(lambda: watch(postgres_settings, lambda: done))
        writers = [pool.submit(write_all, engine, events, number) for number in range(3)]
        wait(writers)
        done = True
        assert watched.result() > 0
    assert [writer.result() for writer in writers] == [None] * 3
    winners: dict[str, Event] = {}
    for each in sorted(
        events, key=lambda e: (e.source_timestamp, e.source_partition, e.source_offset)
    ):
        winners.setdefault(each.event_id, each)
    with read_store(postgres_settings) as reader:
        total = "SELECT count(*), sum(quantity), sum(amount_micros) FROM analytics_event"
        for table in ("live_totals", "live_item_totals", "day_ledger"):
            summed = reader.execute(f"SELECT {SUMS} FROM {table}").fetchall()
            assert summed == reader.execute(total).fetchall()
        (corrections,) = reader.execute("SELECT count(*) FROM correction").fetchone()
        assert read_version(reader) == len(winners) + corrections
        counted = "SELECT sum(records), sum(stored), sum(duplicates) FROM stream_offset"
        assert reader.execute(counted).fetchall() == [
            (3 * len(events), len(winners), 3 * len(events) - len(winners))
        ]
        stored = reader.execute("SELECT event_id, item, quantity FROM analytics_event ORDER BY 1")
        assert stored.fetchall() == sorted(
            (won.row()[0], won.item, won.quantity) for won in winners.values()
        )


def write_all(engine: Engine, events: list[Event], number: int) -> None:
    """Write all events in an order of its own, in batches of any size."""
    chance, mine, done = Random(number), list(events), 0
    chance.shuffle(mine)
    while done < len(mine):
        batch = mine[done : done + chance.choice([1, 7, 40])]
        write(engine, batch, done or None, number)
        done += len(batch)


def watch(settings: Settings, is_done: Callable[[], bool]) -> int:
    """Read again and again what is new, and return how many events that was in all.

    No row may appear below a number that was seen, and no version come twice.
    """
    last, version, seen = 0, 0, 0
    while True:
        finished = is_done()
        with read_store(settings) as reader:
            (count, newest) = reader.execute(
                "SELECT count(*), coalesce(max(rowid), 0) FROM analytics_event WHERE rowid > ?",
                (last,),
            ).fetchone()
            (below,) = reader.execute(
                "SELECT count(*) FROM analytics_event WHERE rowid <= ?", (last,)
            ).fetchone()
            now = read_version(reader)
        assert below == seen
        assert now >= version + count
        last, version, seen = max(last, newest), now, seen + count
        if finished:
            return int(seen)
