"""Building: one snapshot in, whole partitions out, and what fails leaves everything as it was."""

import re
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from assets.builds.builder import Outcome, PartitionBuilder, open_builder
from assets.builds.computation import BuildRequest
from assets.builds.staleness import read_stale_partitions, stale_days, stale_summaries
from assets.builds.writer import digest
from assets.checks.finding import CheckContext
from assets.checks.reconciliation import check_parity, check_recomputed
from assets.queries.freshness import read_days_freshness
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE, WHOLE_TABLE_NAMES
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Figures, Transform
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.sqlite_tables import ROWS_TOGETHER
from tests.assets.event_store import store_events
from tests.databases import on_insert, read_named
from tests.store.rows import Event, event, micros, year_of_days

DAY = "2024-01-02"
HOURLY, DAILY, ITEMS, COUNTRIES = DAY_TRANSFORMS
FAILURES = "SELECT table_name, version, attempts, run_id FROM build_failure ORDER BY table_name"


def late_events(number: int = 7, day: str = DAY) -> list[Event]:
    """Return one late event of the day."""
    return [event(number, micros(f"{day} 09:00"), item="chair", user="carl")]


def table(connection: StoreConnection, transform: Transform) -> list[tuple[object, ...]]:
    """Read a table by its key."""
    order = ", ".join(f'"{name}"' for name in transform.key)
    return connection.execute(f"SELECT * FROM {transform.table} ORDER BY {order}").fetchall()


def read_everything(connection: StoreConnection) -> list[list[tuple[object, ...]]]:
    """Read all tables, and what they were built from."""
    builds = connection.execute("SELECT * FROM table_build ORDER BY 1, 2").fetchall()
    return [*(table(connection, t) for t in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)), builds]


def states(outcomes: list[Outcome]) -> list[tuple[bool, bool]]:
    """Return for each outcome whether it was computed, and whether it failed."""
    return [(outcome.computed, outcome.failure is not None) for outcome in outcomes]


def test_a_build_says_what_it_was_made_of(
    builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """Version, figures and offsets of the stream, and the digest of the rows that are there."""
    builder.build(DAY, DAY_TRANSFORMS)
    build_of = "SELECT * FROM table_build WHERE table_name = ?"
    (build,) = read_named(connection, build_of, ITEMS.table)
    assert build.pop("built_at") > micros("2024-01-01 00:00")
    assert build.pop("cpu_time") > 0
    assert build == {
        "table_name": "daily_item_sales",
        "partition": DAY,
        "version": 3,
        "events": 1,
        "items_sold": 2,
        "net_revenue_micros": 5_000_000,
        "net_revenue_trillions": 0,
        "rows": 1,
        "stream_offsets": '{"analytics-0": 3}',
        "digest": digest(ITEMS, table(connection, ITEMS)),
        "code_version": "1",
        "run_id": "run-1",
        "last_row": 3,
        "last_correction": 0,
        "added_events": 0,
        "difference": None,
    }


def test_only_what_is_not_current_is_computed(store: Settings, builder: PartitionBuilder) -> None:
    """A current partition is left alone unless forced, built by other code, or changed since."""
    assert states(builder.build(DAY, DAY_TRANSFORMS)) == [(True, False)] * 4
    assert states(builder.build(DAY, DAY_TRANSFORMS)) == [(False, False)] * 4
    assert states(builder.build(DAY, DAY_TRANSFORMS, force=True)) == [(True, False)] * 4
    newer = replace(ITEMS, code_version="2")
    assert states(builder.build(DAY, [HOURLY, newer])) == [(False, False), (True, False)]
    store_events(store, late_events())
    outcomes = builder.build(DAY, [DAILY])
    assert states(outcomes) == [(True, False)]
    build, before = outcomes[0].build, outcomes[0].before
    assert build is not None
    assert before is not None
    assert (build.events, before.events, build.version, before.version) == (2, 1, 4, 3)


def test_one_table_of_a_day_is_built_alone(
    builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """The others stay as they were: not there."""
    builder.build(DAY, [COUNTRIES])
    assert [len(table(connection, transform)) for transform in DAY_TRANSFORMS] == [0, 0, 0, 1]


def test_rows_that_are_equal_are_not_written_again(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """A late event changes the rows of its item and of those whose rank moves; no other day's."""
    builder.build_days([DAY, "2024-01-03"], DAY_TRANSFORMS)
    connection.execute("CREATE TABLE written (item TEXT, day TEXT)")
    on_insert(connection, ITEMS.table, "INSERT INTO written VALUES (new.item, new.day);")
    builder.build_days([DAY, "2024-01-03"], DAY_TRANSFORMS, force=True)
    assert connection.execute("SELECT * FROM written").fetchall() == []
    store_events(store, late_events())
    outcomes = builder.build_days([DAY, "2024-01-03"], DAY_TRANSFORMS, force=True)
    assert connection.execute("SELECT * FROM written").fetchall() == [("chair", DAY)]
    audits = [outcome.audit for outcome in outcomes]
    assert all(audit is not None and not audit.problems for audit in audits)


def test_more_rows_than_a_statement_takes_are_replaced(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """All of them first, then those whose rank moves; the month's sums follow both times."""
    day, noon = "2024-02-02", micros("2024-02-02 12:00")
    items = range(ROWS_TOGETHER + 1)
    store_events(store, [event(100 + n, noon, item=f"item {n:04d}") for n in items])
    assert states(builder.build(day, [ITEMS])) == [(True, False)]
    store_events(store, [event(999, noon, 2, item=f"item {items[-1]:04d}")])
    assert states(builder.build(day, [ITEMS])) == [(True, False)]
    rows = connection.execute(
        "SELECT item, items_sold, rank FROM daily_item_sales WHERE day = ? ORDER BY rank", (day,)
    ).fetchall()
    names = [f"item {n:04d}" for n in (items[-1], *items[:-1])]
    assert rows == [(name, 3 if rank == 1 else 1, rank) for rank, name in enumerate(names, 1)]
    months = connection.execute("SELECT item, items_sold FROM monthly_item_sales").fetchall()
    assert dict(months) == {name: sold for name, sold, _ in rows}


def test_an_empty_day_is_built_once(builder: PartitionBuilder, connection: StoreConnection) -> None:
    """Its version is 0; then it is current."""
    assert states(builder.build("2024-03-03", DAY_TRANSFORMS)) == [(True, False)] * 4
    assert table(connection, DAILY) == [("2024-03-03", 0, 0, 0, 0, 0, 0, 0, 0)]
    assert states(builder.build("2024-03-03", DAY_TRANSFORMS)) == [(False, False)] * 4


def test_a_failing_audit_leaves_the_old_figures(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """Rows and build stay; the failure is recorded and counted until a build is good."""
    builder.build(DAY, DAY_TRANSFORMS)
    before = read_everything(connection)
    store_events(store, late_events())
    connection.execute("UPDATE day_ledger SET items_sold = 99 WHERE day = ?", (DAY,))
    for attempt in (1, 2):
        outcomes = builder.build(DAY, DAY_TRANSFORMS)
        assert states(outcomes) == [(True, True)] * 4
        assert outcomes[1].failure == (
            "daily_sales of 2024-01-02 failed its audit:"
            " items_sold is 3, but the stream counted 99."
        )
        assert outcomes[1].audit is not None
        assert outcomes[1].audit.measures["items_sold"] == 3
        assert read_everything(connection) == before
        recorded = connection.execute(FAILURES).fetchall()
        assert {row[1:] for row in recorded} == {(4, attempt, "run-1")}
        assert len(recorded) == 4
    connection.execute("UPDATE day_ledger SET items_sold = 3 WHERE day = ?", (DAY,))
    assert states(builder.build(DAY, DAY_TRANSFORMS)) == [(True, False)] * 4
    assert connection.execute(FAILURES).fetchall() == []


def test_a_new_version_counts_its_failures_from_one(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """So a day is tried again at once when its version changes."""
    connection.execute("UPDATE day_ledger SET items_sold = 99 WHERE day = ?", (DAY,))
    builder.build(DAY, [DAILY])
    builder.build(DAY, [DAILY])
    store_events(store, late_events())
    builder.build(DAY, [DAILY])
    assert connection.execute(FAILURES).fetchall() == [("daily_sales", 4, 1, "run-1")]


def corrupt_transform(transform: Transform, change: pl.Expr) -> Transform:
    """Return a transform with a mistake in it."""

    def rows(by: Figures, partition: str) -> pl.DataFrame:
        return transform.rows(by, partition).with_columns(change)

    return replace(transform, rows=rows)


@pytest.mark.parametrize(
    ("transform", "change", "sentence"),
    [
        (DAILY, pl.col("events") + 1, "events is 3, but the stream counted 2"),
        (DAILY, pl.lit(-1).alias("orders"), "1 rows have a negative events or gross_revenue"),
        (ITEMS, pl.col("rank") * 2, "2 rows have 2 ranks up to 4"),
        (ITEMS, pl.lit("lamp").alias("item"), "unique"),
        (ITEMS, pl.lit(None, pl.String).alias("item"), "not.null"),
        (HOURLY, pl.lit(date(2024, 1, 9)).alias("day"), "0 are there"),
    ],
)
def test_a_mistake_in_a_transform_does_not_get_through(
    store: Settings,
    connection: StoreConnection,
    transform: Transform,
    change: pl.Expr,
    sentence: str,
) -> None:
    """Whatever it is, the table keeps its figures, and the other tables are built."""
    store_events(store, [*year_of_days(3), *late_events()])
    with open_builder(store, "run-1") as builder:
        outcomes = builder.build(DAY, [corrupt_transform(transform, change), COUNTRIES])
    assert states(outcomes) == [(True, True), (True, False)]
    assert re.search(sentence, str(outcomes[0].failure), re.IGNORECASE)
    assert table(connection, transform) == []
    assert connection.execute("SELECT * FROM monthly_item_sales").fetchall() == []
    assert len(table(connection, COUNTRIES)) == 1


def test_a_transform_that_raises_fails_its_tables_only(
    builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """What it raised is recorded, and the run goes on with the next day."""
    broken = replace(DAILY, rows=lambda *_: pl.DataFrame({"day": []}))
    assert states(builder.build(DAY, [broken])) == [(True, True)]
    assert connection.execute(FAILURES).fetchall() == [("daily_sales", 3, 1, "run-1")]
    assert states(builder.build("2024-01-01", [DAILY])) == [(True, False)]


def test_a_higher_version_is_never_replaced(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """A run that read earlier and writes later leaves what the faster one built."""
    [frames] = builder._compute([BuildRequest(DAY, DAY_TRANSFORMS, force=True)])
    outcomes = builder.build(DAY, DAY_TRANSFORMS)
    store_events(store, late_events())
    with open_builder(store, "run-2") as faster:
        faster.build(DAY, DAY_TRANSFORMS)
    before = read_everything(connection)
    assert (
        states(builder._write([(outcome, frames) for outcome in outcomes])) == [(False, False)] * 4
    )
    assert read_everything(connection) == before
    assert {row[10] for row in before[-1]} == {"run-2"}


def test_an_event_stored_between_reading_and_writing_is_not_lost(
    store: Settings, builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """The build says which version it has, so the day is still stale, and right the next time."""
    [computed] = builder._compute([BuildRequest(DAY, [DAILY], force=False)])
    store_events(store, late_events())
    builder._write([(Outcome(DAILY, DAY, 3, None), computed)])
    assert table(connection, DAILY)[0][1] == 1
    assert states(builder.build(DAY, [DAILY])) == [(True, False)]
    assert table(connection, DAILY)[0][1] == 2


def test_a_build_follows_a_correction(store: Settings, connection: StoreConnection) -> None:
    """Both days and the summaries are stale; built again, they have the winner's figures."""
    first, second = date(2024, 1, 1), date(2024, 1, 2)
    days = DayRange(first, second)
    loser = event(1, micros(f"{first} 09:00"), 5, source_timestamp=2)
    winner = event(1, micros(f"{second} 09:00"), 3, item="book", source_timestamp=1)
    context = CheckContext(store, micros("2024-01-03 12:00"))
    with open_builder(store, "run-1") as builder:
        store_events(store, [loser])
        builder.build(str(first), DAY_TRANSFORMS)
        builder.build(WHOLE, WHOLE_TRANSFORMS)
        store_events(store, [winner])
        stale = read_stale_partitions(connection, {})
        assert list(stale_days(stale, days, context.now)) == [second, first]
        assert stale_summaries(stale, context.now) == frozenset(WHOLE_TABLE_NAMES)
        # One event to add, and one to take away, which is no less to do.
        for name in DAY_TABLE_NAMES:
            assert read_days_freshness(connection, name, days, store.zone).behind == 2
        for day in (first, second):
            assert states(builder.build(str(day), DAY_TRANSFORMS)) == [(True, False)] * 4
        assert states(builder.build(WHOLE, WHOLE_TRANSFORMS)) == [(True, False)] * 2
    daily = [row[:3] for row in table(connection, DAILY)]
    assert daily == [(str(first), 0, 0), (str(second), 1, 3)]
    assert [row[:4] for row in table(connection, ITEMS)] == [(str(second), "book", 1, 3)]
    for transform in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS):
        finding = check_parity(connection, context, transform)
        assert (finding.passed, finding.numbers["pending"]) == (True, 0), transform.table
    assert check_recomputed(connection, context).passed
