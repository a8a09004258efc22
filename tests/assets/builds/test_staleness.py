"""Which partitions are stale: a comparison of two tables, that needs no other memory."""

import sqlite3
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from assets.builds import staleness
from assets.builds.builder import open_builder
from assets.builds.staleness import (
    LastFailure,
    StalePartition,
    days_out_of_range,
    is_provisional,
    read_stale_partitions,
    retry_time,
    stale_days,
    stale_summaries,
)
from assets.builds.writer import record_failure
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES, BuildFailure
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.engine import open_engine
from tests.assets.event_store import store_events
from tests.store.rows import event, micros, year_of_days

FIRST = date(2024, 1, 1)
JANUARY = DayRange(FIRST, date(2024, 1, 31))
MINUTE = 60_000_000
NOW = micros("2024-01-31 12:00")


def build(settings: Settings, *days: str) -> None:
    """Build the day tables of some days, or with `all` the summaries."""
    with open_builder(settings, "run-1") as builder:
        for day in days:
            builder.build(day, WHOLE_TRANSFORMS if day == "all" else DAY_TRANSFORMS)


def fail(settings: Settings, day: str, version: int, at: int) -> None:
    """Record a failed build of `daily_sales`."""
    engine = open_engine(settings)
    with engine.begin() as connection:
        record_failure(
            connection,
            BuildFailure(
                table_name="daily_sales",
                partition=day,
                version=version,
                attempts=1,
                reason="broken",
                run_id="run-1",
                failed_at=at,
            ),
        )
    engine.dispose()


def test_what_was_stored_and_not_built_is_stale(
    store: Settings, connection: StoreConnection
) -> None:
    """Newest first, all tables of each day, and the summaries."""
    assert read_stale_partitions(connection, {}) == []
    store_events(store, year_of_days(3))
    partitions = read_stale_partitions(connection, {})
    stale = stale_days(partitions, JANUARY, NOW)
    assert list(stale) == [date(2024, 1, 3), date(2024, 1, 2), date(2024, 1, 1)]
    assert set(stale.values()) == {frozenset(DAY_TABLE_NAMES)}
    assert stale_summaries(partitions, NOW) == frozenset(WHOLE_TABLE_NAMES)
    assert {partition.behind for partition in partitions} == {1, 3}


def test_what_was_built_is_not(store: Settings, connection: StoreConnection) -> None:
    """Until an event comes late: then exactly its day, by one event, and the summaries."""
    store_events(store, year_of_days(3))
    build(store, "2024-01-01", "2024-01-02", "2024-01-03", "all")
    assert read_stale_partitions(connection, {}) == []
    store_events(store, [event(7, micros("2024-01-02 09:00"))])
    partitions = read_stale_partitions(connection, {})
    assert list(stale_days(partitions, JANUARY, NOW)) == [date(2024, 1, 2)]
    assert stale_summaries(partitions, NOW) == frozenset(WHOLE_TABLE_NAMES)
    assert {(d.version, d.built_version, d.behind) for d in partitions} == {(4, 3, 1)}


def test_a_built_day_without_events_is_not_stale(
    store: Settings, connection: StoreConnection
) -> None:
    """A missing row has version 0 on either side."""
    build(store, "2024-01-15")
    assert stale_days(read_stale_partitions(connection, {}), JANUARY, NOW) == {}


def test_one_table_may_be_stale_alone(store: Settings, connection: StoreConnection) -> None:
    """The others of the day are left alone."""
    store_events(store, year_of_days(1))
    with open_builder(store, "run-1") as builder:
        builder.build("2024-01-01", DAY_TRANSFORMS[1:])
    stale = stale_days(read_stale_partitions(connection, {}), JANUARY, NOW)
    assert stale == {FIRST: frozenset({"hourly_sales"})}


def test_days_without_a_partition_are_neither_stale_nor_lost(
    store: Settings, connection: StoreConnection
) -> None:
    """Tomorrow's early birds and what lies before history are left out, and counted."""
    store_events(store, year_of_days(5))
    stale = stale_days(
        read_stale_partitions(connection, {}), DayRange(date(2024, 1, 2), date(2024, 1, 4)), NOW
    )
    assert list(stale) == [date(2024, 1, 4), date(2024, 1, 3), date(2024, 1, 2)]
    ledger = {date(2024, 1, day): 1 for day in range(1, 6)} | {date(2023, 5, 5): 0}
    outside = days_out_of_range(ledger, DayRange(date(2024, 1, 2), date(2024, 1, 4)))
    assert outside == {date(2024, 1, 1): 1, date(2024, 1, 5): 1}


def test_a_failed_day_waits_until_its_version_changes(
    store: Settings, connection: StoreConnection
) -> None:
    """Five minutes at first; at once when there are new events."""
    store_events(store, year_of_days(1))
    build(store, "all")
    fail(store, "2024-01-01", 1, NOW)

    def tables(now: int) -> frozenset[str]:
        return stale_days(read_stale_partitions(connection, {}), JANUARY, now)[FIRST]

    assert "daily_sales" not in tables(NOW + 4 * MINUTE)
    assert "hourly_sales" in tables(NOW + 4 * MINUTE)
    assert "daily_sales" in tables(NOW + 5 * MINUTE)
    fail(store, "2024-01-01", 1, NOW)
    assert "daily_sales" not in tables(NOW + 9 * MINUTE)
    store_events(store, [event(7, micros("2024-01-01 09:00"))])
    assert "daily_sales" in tables(NOW)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 360), (1000, 360)]
)
def test_the_wait_doubles_to_six_hours(attempts: int, minutes: int) -> None:
    """After 5 minutes, 10, 20, and so on."""
    assert retry_time(LastFailure(1, attempts, "", "", NOW)) == NOW + minutes * MINUTE


@pytest.mark.parametrize(
    ("built", "provisional"),
    [(None, True), ("2024-07-02 23:14", True), ("2024-07-02 23:15", False)],
)
def test_a_day_is_provisional_until_a_build_of_the_next(
    built: str | None, *, provisional: bool
) -> None:
    """A quarter past midnight in the deployment's zone, here in British summer time."""
    at = None if built is None else micros(built)
    assert is_provisional(date(2024, 7, 2), at, ZoneInfo("Europe/London")) is provisional


def test_ten_thousand_days_are_compared_in_one_statement(connection: StoreConnection) -> None:
    """Only what differs is read, and each build is looked up by its key."""
    connection.execute("BEGIN")
    first = date(2000, 1, 1)
    days = [((first + timedelta(number)).isoformat(), number + 1) for number in range(10_000)]
    connection.executemany("INSERT INTO day_ledger VALUES (?, ?, 1, 1, 1, 0, 0)", days)
    connection.execute(
        "INSERT INTO table_build SELECT name, day, version, 1, 1, 1, 1, '{}', '', '1', '', 0, 0,"
        " 0, 0, 0, 0, NULL"
        " FROM day_ledger, (SELECT 'hourly_sales' AS name UNION SELECT 'daily_sales'"
        " UNION SELECT 'daily_item_sales' UNION SELECT 'daily_country_sales')"
    )
    connection.execute("UPDATE day_ledger SET version = 99999 WHERE day = '2011-05-05'")
    connection.execute("COMMIT")
    partitions = read_stale_partitions(connection, {})
    assert {type(partition) for partition in partitions} == {StalePartition}
    assert [stale.partition for stale in partitions] == ["2011-05-05"] * 4
    if not isinstance(connection, sqlite3.Connection):
        return
    query = f"EXPLAIN QUERY PLAN {staleness._STALE_PARTITIONS.format(sql='')}"
    plan = connection.execute(query).fetchall()
    assert any("SEARCH b" in row[3] and "partition=?" in row[3] for row in plan)
