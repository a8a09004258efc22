"""Rebuilding: the figures are those of the events again, and versions only grow."""

import sqlite3
from pathlib import Path

import psycopg
import pytest

from assets.builds.builder import open_builder
from assets.builds.staleness import read_stale_partitions
from assets.tables.transforms import DAY_TRANSFORMS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import read_version
from streaming.store.rebuild import rebuild
from tests.assets.event_store import store_events
from tests.databases import refuse_updates
from tests.deployment import Deployment
from tests.store.rows import add_events, event, fill, micros, year_of_days

FIGURES = {
    "live_totals": "events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events",
    "live_item_totals": "item, events, items_sold, gross_revenue_micros, net_revenue_micros",
    "day_ledger": "day, events, items_sold, net_revenue_micros",
}


def figures(connection: StoreConnection) -> dict[str, list[tuple[object, ...]]]:
    """Read all figures, without versions and times."""
    return {
        table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
        for table, columns in FIGURES.items()
    }


def versions(connection: StoreConnection) -> dict[str, int]:
    """Read each day's version."""
    return dict(connection.execute("SELECT day, version FROM day_ledger").fetchall())


def test_every_figure_comes_back(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """Whatever was lost or changed, it is what the events say again."""
    fill(either_store, either_connection, year_of_days(60))
    right = figures(either_connection)
    either_connection.execute("UPDATE live_totals SET net_revenue_micros = 1, guest_events = 99")
    either_connection.execute("UPDATE live_item_totals SET items_sold = 7 WHERE item = 'lamp'")
    either_connection.execute("DELETE FROM live_item_totals WHERE item = 'book'")
    either_connection.execute("INSERT INTO live_item_totals VALUES ('ghost', 1, 1, 1, 1, 0, 0)")
    either_connection.execute("UPDATE day_ledger SET events = 9 WHERE day = '2024-01-05'")
    either_connection.execute("DELETE FROM day_ledger WHERE day = '2024-02-01'")
    done = rebuild(either_store)
    assert figures(either_connection) == right
    assert (done.events, done.changed_days, done.changed_items) == (60, 2, 3)
    # A server's backups are its administrator's.
    is_file = isinstance(either_store.database, Path)
    assert (done.backup is not None and done.backup.exists()) == is_file


def test_a_right_day_keeps_its_version(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """Only days that were wrong become stale: they get a version above each one before."""
    fill(either_store, either_connection, year_of_days(10))
    either_connection.execute("UPDATE day_ledger SET version = 3, changed_at = 5")
    either_connection.execute("UPDATE day_ledger SET items_sold = 0 WHERE day = '2024-01-04'")
    rebuild(either_store)
    assert versions(either_connection) == {
        f"2024-01-{day:02d}": 11 if day == 4 else 3 for day in range(1, 11)
    }
    changed = "SELECT count(*) FROM day_ledger WHERE changed_at = 5"
    assert either_connection.execute(changed).fetchone() == (9,)


def test_versions_never_shrink(either_store: Settings, either_connection: StoreConnection) -> None:
    """Not even where events were lost; a day without any stays, with figures of zero."""
    fill(either_store, either_connection, year_of_days(10))
    either_connection.execute("UPDATE day_ledger SET version = 10")
    either_connection.execute("DELETE FROM analytics_event WHERE event_id >= ?", (b"id-000008",))
    rebuild(either_store)
    assert versions(either_connection) == {
        f"2024-01-{day:02d}": 11 if day > 8 else 10 for day in range(1, 11)
    }
    lost = "SELECT events, items_sold, net_revenue_micros FROM day_ledger WHERE day = '2024-01-10'"
    assert either_connection.execute(lost).fetchone() == (0, 0, 0)
    assert either_connection.execute("SELECT events FROM live_totals").fetchone() == (8,)


@pytest.mark.parametrize("lost", [1, 5_000_000_000])
def test_the_version_of_all_never_shrinks(
    either_store: Settings, either_connection: StoreConnection, lost: int
) -> None:
    """Totals that counted too many leave one correction, and right totals leave none."""
    fill(either_store, either_connection, year_of_days(10))
    either_connection.execute("UPDATE live_totals SET events = events + ?", (lost,))
    for _ in range(2):
        rebuild(either_store)
        assert read_version(either_connection) == 10 + lost
    assert set(versions(either_connection).values()) == {10}
    kept = either_connection.execute("SELECT id, kind, event_id FROM correction").fetchall()
    assert kept == [(lost, "rebuild", "")]


def test_a_day_that_changes_after_a_rebuild_is_built(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """Though events were lost before, its version is above that of its build."""
    store_events(either_store, year_of_days(20))
    either_connection.execute("DELETE FROM analytics_event WHERE event_id < ?", (b"id-000005",))
    assert rebuild(either_store).events == 15
    day = "2024-01-20"
    built = "SELECT events FROM daily_sales WHERE day = ?"
    for number in range(8):
        with open_builder(either_store, f"run-{number}") as builder:
            builder.build(day, DAY_TRANSFORMS)
        assert either_connection.execute(built, (day,)).fetchone() == (1 + number,)
        store_events(either_store, [event(100 + number, micros(f"{day} 13:00"))])
        assert day in {one.partition for one in read_stale_partitions(either_connection, {})}


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2024-03-30": 1, "2024-03-31": 2, "2024-10-27": 1}),
        ("Europe/London", {"2024-03-30": 1, "2024-03-31": 1, "2024-04-01": 1, "2024-10-27": 1}),
        ("America/New_York", {"2024-03-30": 2, "2024-03-31": 1, "2024-10-27": 1}),
    ],
)
def test_days_are_cut_where_the_deployment_is(
    either_store: Settings, either_connection: StoreConnection, zone: str, days: dict[str, int]
) -> None:
    """By the recorded zone, with its summer time, whatever the settings say now."""
    either_connection.execute("UPDATE deployment SET timezone = ?", (zone,))
    times = ("2024-03-30 23:30", "2024-03-31 00:30", "2024-03-31 23:30", "2024-10-27 12:00")
    add_events(
        either_connection, [event(number, micros(time)) for number, time in enumerate(times)]
    )
    rebuild(either_store)
    assert dict(either_connection.execute("SELECT day, events FROM day_ledger").fetchall()) == days


def test_the_tables_are_built_again(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """Their rows, what they were built from, and what failed, are forgotten: every day is stale.

    A row that stayed would be counted beside what the ledger has of its day.
    """
    fill(either_store, either_connection, year_of_days(3))
    either_connection.execute(
        "INSERT INTO daily_sales VALUES ('2024-01-01', 1, 1, 1, 1, 1, 1, 0, 0)"
    )
    for day in ("2024-01-01", "2024-01-02"):
        either_connection.execute(
            "INSERT INTO table_build"
            " VALUES ('daily_sales', ?, 1, 1, 1, 1, 1, '{}', '', '1', '', 0, 0, 0, 0, 0, 0, NULL)",
            (day,),
        )
    either_connection.execute(
        "INSERT INTO build_failure VALUES ('daily_sales', 'all', 1, 1, '', '', 0)"
    )
    assert rebuild(either_store).forgotten_builds == 2
    for table in ("table_build", "build_failure", "daily_sales"):
        assert either_connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_rebuild_is_all_or_nothing(store: Settings, connection: StoreConnection) -> None:
    """What stops it in the middle leaves every figure as it was."""
    fill(store, connection, year_of_days(10))
    connection.execute("UPDATE live_totals SET events = 1")
    connection.execute("UPDATE day_ledger SET events = 9")
    refuse_updates(connection, "day_ledger")
    before = figures(connection)
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="stop"):
        rebuild(store)
    assert figures(connection) == before


def test_an_empty_store_can_be_rebuilt(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """There is nothing to count, and nothing wrong."""
    done = rebuild(either_store)
    assert (done.events, done.changed_days, done.changed_items) == (0, 0, 0)
    assert either_connection.execute("SELECT events FROM live_totals").fetchone() == (0,)


def test_the_command_tells_what_was_wrong(store: Settings, connection: StoreConnection) -> None:
    """`db rebuild` names the backup and the number of corrections."""
    add_events(connection, year_of_days(5))
    printed = Deployment(store.home, "127.0.0.1:1", "").succeed("db", "rebuild")
    # A server's backups are its administrator's.
    assert ("before-rebuild" in printed) is isinstance(store.database, Path)
    assert "OK: rebuilt from 5 events. 5 days and 3 items had other figures" in printed
