"""The writer of a batch: each event once, whatever the batches repeat, and figures that agree."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from random import Random
from zoneinfo import ZoneInfo

import pytest

from streaming.events.fields import MAX_AMOUNT_MICROS
from streaming.events.record import Origin
from streaming.settings import Settings
from streaming.store.advances import Advance, PositionTaken, Source
from streaming.store.connection import StoreConnection
from streaming.store.engine import open_engine
from streaming.store.live_totals import live_figures, top_items
from streaming.store.rebuild import rebuild
from streaming.store.rows import OPEN, STORED, DeadLetterUpdate, day_cutter
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import (
    ROWS_TOGETHER,
    BatchRows,
    StoredBatch,
    Write,
    write_batch,
    write_in_transaction,
)
from streaming.totals.queries import sums_of_span
from streaming.verification.database_checks import (
    check_days,
    check_items,
    check_positions,
    check_totals,
)
from tests.store.rows import EVENT_COLUMNS, GROUP, SOURCE_TOPICS, TOPIC_ID, Event, event, micros

SOURCE = Source(GROUP, "analytics", "cluster", {"analytics": TOPIC_ID})
NOON = micros("2024-03-01 12:00")
DAY = 86_400_000_000
UTC = ZoneInfo("UTC")
EVENTS = f"SELECT {EVENT_COLUMNS} FROM analytics_event ORDER BY event_id"
SUMMED = ("live_totals", "live_item_totals", "day_ledger")
SUMS = "sum(events), sum(items_sold), sum(net_revenue_micros)"


def writing(
    batch: BatchRows, day_of: Callable[[int], str], now: int = 0, source: Source = SOURCE
) -> Write:
    """Return what writes a batch at the time `now`, in µs."""
    return partial(write_batch, batch=batch, source=source, day_of=day_of, clock=lambda: now)


def write(
    settings: Settings, events: Sequence[Event], expected: int | None, after: int
) -> StoredBatch:
    """Write a batch that moves partition 0 from `expected` to `after`."""
    rows = [each.row() for each in events]
    batch = BatchRows(rows, [], {("analytics", 0): Advance(expected, after, 0, len(rows))})
    engine = open_engine(settings)
    record_source_topics(engine, SOURCE_TOPICS)
    try:
        return write_in_transaction(engine, writing(batch, day_cutter(settings.zone)), alone=False)
    finally:
        engine.dispose()


@pytest.mark.parametrize("size", [1, ROWS_TOGETHER - 1, ROWS_TOGETHER, 3 * ROWS_TOGETHER + 7])
def test_whatever_batches_repeat_each_event_is_stored_once(
    store: Settings, connection: StoreConnection, size: int
) -> None:
    """The first of several counts, also in one batch; other content is not a duplicate."""
    chance, offset = Random(size), 0
    first: dict[str, Event] = {}
    repeated = conflicting = 0
    for _ in range(5):
        batch = []
        for _ in range(size):
            number = chance.randrange(3 * size)
            made = event(number, NOON + number, chance.choice([1, 1, 2, -1]))
            batch.append(replace(made, stream_offset=offset))
            offset += 1
        new = []
        for each in batch:
            first_event = first.setdefault(each.event_id, each)
            if first_event is each:
                new.append(each)
            else:
                repeated += 1
                conflicting += first_event.quantity != each.quantity
        start = offset - size
        written = write(store, batch, start or None, offset)
        assert written.new == [each.row() for each in new]
    stored = connection.execute(EVENTS).fetchall()
    assert stored == sorted(each.row() for each in first.values())
    sums = "count(*), sum(quantity), sum(amount_micros)"
    expected = connection.execute(f"SELECT {sums} FROM analytics_event").fetchall()
    for table in ("live_totals", "live_item_totals", "day_ledger"):
        assert connection.execute(f"SELECT {SUMS} FROM {table}").fetchall() == expected
    counts = "SELECT records, stored, duplicates, conflicting FROM stream_offset"
    assert connection.execute(counts).fetchall() == [
        (offset, len(first), repeated, conflicting),
    ]


def test_the_same_offsets_read_again_add_nothing(
    store: Settings, connection: StoreConnection
) -> None:
    """After a reset to the earliest offset even the places of the rows are the same."""
    events = [event(number, NOON) for number in range(2 * ROWS_TOGETHER + 1)]
    write(store, events, None, len(events))
    connection.execute("UPDATE stream_offset SET next_offset = 0")
    before = connection.execute("SELECT * FROM live_totals").fetchall()
    again = write(store, events, 0, len(events))
    assert (again.new, again.duplicates, again.conflicting) == ([], len(events), 0)
    assert connection.execute("SELECT * FROM live_totals").fetchall() == before


def test_a_position_that_another_moved_stores_nothing(
    store: Settings, connection: StoreConnection
) -> None:
    """Whoever comes second has to look up the position again."""
    write(store, [event(0, NOON)], None, 1)
    with pytest.raises(PositionTaken):
        write(store, [event(1, NOON)], None, 2)
    with pytest.raises(PositionTaken):
        write(store, [event(1, NOON)], 0, 2)
    assert connection.execute("SELECT count(*) FROM analytics_event").fetchall() == [(1,)]


AROUND_A_TRILLION = (10**18 - 1, 10**18, 10**18 + 1, 6 * 10**18, 10**15, 2_500_000, 1)


@pytest.mark.parametrize("seed", range(6))
def test_sums_beyond_64_bits_are_exact_however_the_events_are_cut(
    store: Settings, connection: StoreConnection, seed: int
) -> None:
    """Totals, items and days are the events' sums, up and down across the carry, in any batches.

    `verify` agrees with them, a rebuild finds nothing wrong, and each sum is in its one form.
    """
    chance, offset = Random(seed), 0
    events = []
    for number in range(120):
        sign = chance.choice([1, 1, -1] if number < 60 else [1, -1, -1])
        amount = sign * chance.choice(AROUND_A_TRILLION)
        made = event(number, NOON + number % 3 * DAY, sign, item=f"item {number % 5}")
        events.append(replace(made, amount_micros=amount))
    while offset < len(events):
        batch = events[offset : offset + chance.choice([1, 2, 7, 50])]
        write(store, batch, offset or None, offset + len(batch))
        offset += len(batch)
        settled = [check_totals(connection), check_items(connection), check_days(connection, UTC)]
        assert [check.examples for check in settled] == [[], [], []]
    figures = live_figures(connection)
    assert figures.net_revenue_micros == sum(e.amount_micros or 0 for e in events)
    assert figures.gross_revenue_micros == sum(max(e.amount_micros or 0, 0) for e in events)
    before = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in SUMMED}
    done = rebuild(store)
    assert (done.changed_days, done.changed_items) == (0, 0)
    changed_at = "UPDATE live_totals SET changed_at = 0"
    connection.execute(changed_at)
    after = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in SUMMED}
    assert {t: sorted(rows) for t, rows in after.items()} == {
        t: sorted(rows) for t, rows in before.items()
    }


def test_more_of_the_largest_sales_than_64_bits_add_up_are_stored(
    store: Settings, connection: StoreConnection
) -> None:
    """What a hostile producer can send at most, all in one batch, then honest sales and returns."""
    most = replace(event(0, NOON), amount_micros=MAX_AMOUNT_MICROS)
    events = [replace(most, event_id=f"e{n}", stream_offset=n) for n in range(9_300)]
    write(store, events, None, 9_300)
    write(store, [event(9_300, NOON, 2, item="book")], 9_300, 9_301)
    returned = replace(
        event(9_301, NOON, -1), amount_micros=-MAX_AMOUNT_MICROS, stream_offset=9_301
    )
    write(store, [returned], 9_301, 9_302)
    figures = live_figures(connection)
    assert figures.net_revenue_micros == 9_299 * MAX_AMOUNT_MICROS + 5_000_000
    view = "SELECT net_revenue, gross_revenue, most_popular_item FROM live_totals_readable"
    assert connection.execute(view).fetchall() == [("9299000000005.00", "9300000000005.00", "lamp")]
    assert connection.execute("SELECT net_revenue FROM day_ledger_readable").fetchall() == [
        ("9299000000005.00",)
    ]
    assert [(item.item, item.net_revenue_micros) for item in top_items(connection, 2)] == [
        ("lamp", 9_299 * MAX_AMOUNT_MICROS),
        ("book", 5_000_000),
    ]
    assert sums_of_span(connection, (NOON, NOON + 1)).net_revenue_micros == (
        figures.net_revenue_micros
    )


def refusal(attempt: int, partition: int, offset: int) -> DeadLetterUpdate:
    """Make the dead letter of the same origin's refusal number `attempt`."""
    origin = Origin("purchases", bytes(16), 0, 7, 0, attempt)
    return DeadLetterUpdate(origin, OPEN, f"reason {attempt}", "", None, 0, partition, offset)


FIRST, SECOND, THIRD = refusal(1, 0, 500), refusal(2, 1, 20), refusal(3, 1, 30)
ATTEMPTS = [FIRST, SECOND, THIRD, DeadLetterUpdate(THIRD.origin, STORED)]


@pytest.mark.parametrize("number", [2, 3, 4])
def test_the_last_attempt_describes_an_origin_whatever_partition_it_stands_in(
    store: Settings, connection: StoreConnection, number: int
) -> None:
    """An offset says what came later in its own partition only; any order of reading does."""
    source = Source(GROUP, "analytics", "cluster", {})
    last = [row for row in ATTEMPTS[:number] if row.reason][-1]
    engine = open_engine(store)
    for order in permutations(ATTEMPTS[:number]):
        connection.execute("DELETE FROM dead_letter")
        for row in order:
            with engine.begin() as writer:
                writing(BatchRows([], [row], {}), str, source=source)(writer, alone=True)
        rows = connection.execute("SELECT reason, attempts, state FROM dead_letter").fetchall()
        assert rows == [(last.reason, last.origin.attempt, ATTEMPTS[number - 1].state)], order
    engine.dispose()


SAME_FOR_ANY_ORDER = (
    EVENTS,
    (
        "SELECT events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events"
        " FROM live_totals"
    ),
    "SELECT * FROM live_item_totals ORDER BY item",
    (
        "SELECT day, events, items_sold, net_revenue_micros FROM day_ledger WHERE events > 0"
        " ORDER BY day"
    ),
)


def contested_events(ids: int) -> list[Event]:
    """Make up to four events of each id: other items, days and users, some of the same content."""
    chance = Random(ids)
    events = []
    for number in range(4 * ids):
        made = event(
            number % ids,
            NOON + chance.randrange(3) * 86_400_000_000,
            chance.choice([1, 2, -1]),
            item=chance.choice(["lamp", "book"]) if number % ids else f"only-{number}",
            user=chance.choice(["anna", None]),
            source_timestamp=chance.randrange(3),
            source_partition=chance.randrange(3),
        )
        events.append(replace(made, source_offset=number, stream_offset=number))
    return events


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_reading_gives_the_same_database(
    store: Settings, connection: StoreConnection, seed: int
) -> None:
    """The lowest source wins, in one batch or in many, and all figures are those of the events."""
    chance, events = Random(seed), contested_events(60)
    winners: dict[str, Event] = {}
    for each in sorted(
        events, key=lambda e: (e.source_timestamp, e.source_partition, e.source_offset)
    ):
        winners.setdefault(each.event_id, each)
    chance.shuffle(events)
    done = 0
    while done < len(events):
        batch = events[done : done + chance.choice([1, 7, 40, 200])]
        write(store, batch, done or None, done + len(batch))
        done += len(batch)
    rows = [connection.execute(statement).fetchall() for statement in SAME_FOR_ANY_ORDER]
    assert rows[0] == sorted(each.row() for each in winners.values())
    (version,) = connection.execute("SELECT max(version) FROM day_ledger").fetchone()
    (corrections,) = connection.execute("SELECT count(*) FROM correction").fetchone()
    assert version == len(winners) + corrections
    checks = [
        check_totals(connection),
        check_items(connection),
        check_days(connection, ZoneInfo("UTC")),
        check_positions(connection, GROUP, "analytics"),
    ]
    assert [sentence for check in checks for sentence in check.examples] == []
    rebuild(store)
    again = [connection.execute(statement).fetchall() for statement in SAME_FOR_ANY_ORDER]
    assert again == rows


def test_a_winner_from_another_partition_takes_the_count_with_it(
    store: Settings, connection: StoreConnection
) -> None:
    """The loser becomes the duplicate of its own partition, which is not read in this batch."""
    write(store, [event(1, NOON, source_timestamp=5)], None, 1)
    winner = event(1, NOON + 86_400_000_000, 3, source_timestamp=4, stream_partition=1)
    rows = [winner.row()]
    engine = open_engine(store)
    batch = BatchRows(rows, [], {("analytics", 1): Advance(None, 2, 0, 1)})
    with engine.begin() as writer:
        written = writing(batch, day_cutter(store.zone), 7)(writer, alone=True)
    assert written.conflicting == 1
    engine.dispose()
    counts = (
        "SELECT partition, records, stored, duplicates, conflicting, conflicted_at"
        " FROM stream_offset ORDER BY partition"
    )
    assert connection.execute(counts).fetchall() == [(0, 1, 0, 1, 1, 7), (1, 1, 1, 0, 0, None)]
    ledger = "SELECT day, version, events, items_sold FROM day_ledger ORDER BY day"
    assert connection.execute(ledger).fetchall() == [
        ("2024-03-01", 2, 0, 0),
        ("2024-03-02", 2, 1, 3),
    ]
    corrected = "SELECT event_id, day_before, day, source_timestamp FROM correction"
    assert connection.execute(corrected).fetchall() == [
        (winner.event_id, "2024-03-01", "2024-03-02", 5)
    ]
