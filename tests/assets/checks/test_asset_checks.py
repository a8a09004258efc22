"""The checks: what is right passes, what is behind is pending, and what is wrong is named."""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import DagsterInstance, Definitions, define_asset_job, in_process_executor

from assets.builds.builder import open_builder
from assets.checks import backups, reconciliation, stream_health
from assets.checks.asset_checks import (
    FREQUENT,
    NIGHTLY,
    RECONCILIATION,
    asset_checks,
    check_selection,
)
from assets.checks.finding import CheckContext, Finding
from assets.definitions import history_asset, stream_specs, table_assets
from assets.tables.sql_transform import day_transforms
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store import backup as copying
from streaming.store.backup import scheduled_backup
from streaming.store.connection import StoreConnection, write_store
from streaming.store.offsets import StoredOffset, move_offsets
from tests.assets.event_store import store_events
from tests.databases import copy_store, home_settings
from tests.store.rows import GROUP, add_dead_letter, event, micros, year_of_days

TABLES = (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
LINES = """SELECT count(*) AS events FROM analytics_event
WHERE event_time >= :start_at AND event_time < :end_at"""
NOON = micros("2024-01-03 12:00")
MINUTE = 60_000_000
by_table = pytest.mark.parametrize("transform", TABLES, ids=lambda transform: transform.table)


def build_all(settings: Settings) -> None:
    """Build the three days and the summaries."""
    with open_builder(settings, "a-run") as builder:
        for day in DAYS:
            builder.build(day, DAY_TRANSFORMS)
        builder.build("all", WHOLE_TRANSFORMS)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store in which three days are stored, and built."""
    settings = home_settings(tmp_path_factory.mktemp("built"))
    store_events(settings, year_of_days(3), now=NOON)
    build_all(settings)
    return settings


@pytest.fixture
def built(store: Settings, built_once: Settings) -> Settings:
    """A copy of that store, for a test of its own."""
    copy_store(built_once, store)
    return store


@by_table
def test_what_was_built_agrees(
    built: Settings, connection: StoreConnection, transform: Transform
) -> None:
    """Every partition equals the stream's figures, and nobody changed it."""
    context = CheckContext(built, NOON)
    partitions = 3 if transform.by_day else 1
    finding = reconciliation.check_parity(connection, context, transform)
    assert (finding.passed, finding.numbers) == (
        True,
        {"equal": partitions, "different": 0, "pending": 0},
    )
    finding = reconciliation.check_unchanged(connection, context, transform)
    assert (finding.passed, finding.numbers) == (True, {"unchanged": partitions, "changed": 0})
    assert reconciliation.check_on_time(connection, context, transform).passed


@by_table
def test_what_is_behind_is_pending(
    built: Settings, connection: StoreConnection, transform: Transform
) -> None:
    """A late event makes its partition pending, which is no difference."""
    store_events(built, [event(7, micros("2024-01-02 09:00"))], now=NOON)
    finding = reconciliation.check_parity(connection, CheckContext(built, NOON), transform)
    assert finding.passed
    assert finding.numbers["pending"] == 1
    assert finding.numbers["equal"] == (2 if transform.by_day else 0)


@by_table
def test_a_changed_row_is_found(
    built: Settings, connection: StoreConnection, transform: Transform
) -> None:
    """A figure that the ledger has too differs from it; any other one from its digest."""
    context = CheckContext(built, NOON)
    day = " WHERE day = '2024-01-02'" if transform.by_day else ""
    connection.execute(f"UPDATE {transform.table} SET orders = orders + 1{day}")
    assert reconciliation.check_parity(connection, context, transform).passed
    assert not reconciliation.check_unchanged(connection, context, transform).passed
    connection.execute(f"UPDATE {transform.table} SET events = events + 1{day}")
    finding = reconciliation.check_parity(connection, context, transform)
    assert not finding.passed
    assert finding.examples[0].startswith("2024-01-02: " if transform.by_day else "all: ")


def test_rows_of_a_day_that_never_was_are_found(
    built: Settings, connection: StoreConnection
) -> None:
    """The stream counted nothing of it."""
    connection.execute("INSERT INTO daily_sales VALUES ('2023-07-07', 1, 1, 1, 1, 1, 1, 0, 0)")
    finding = reconciliation.check_parity(connection, CheckContext(built, NOON), DAY_TRANSFORMS[1])
    assert finding.examples[0].startswith("2023-07-07: 1, 1, 1 ")


@pytest.mark.parametrize(
    ("day", "minutes", "well"),
    [
        ("2024-01-02", 9, True),
        ("2024-01-02", 11, False),
        ("2024-01-03", 29, True),
        ("2024-01-03", 31, False),
    ],
)
def test_an_event_may_wait_ten_minutes_and_today_thirty(
    built: Settings, connection: StoreConnection, day: str, minutes: int, *, well: bool
) -> None:
    """What counts is when the first event was processed that the build does not have."""
    connection.execute("UPDATE table_build SET built_at = ?", (NOON - 200 * MINUTE,))
    late = [
        event(7, micros(f"{day} 09:00"), processed_at=NOON - minutes * MINUTE),
        event(8, micros(f"{day} 09:01"), processed_at=NOON, stream_offset=8),
    ]
    store_events(built, late, now=NOON)
    finding = reconciliation.check_on_time(connection, CheckContext(built, NOON), DAY_TRANSFORMS[0])
    assert finding.passed is well
    assert finding.numbers["longest_seconds"] == (0 if well else minutes * 60)
    assert finding.is_warning


@pytest.mark.parametrize(("minutes", "seconds"), [(9, 0), (11, 660)])
def test_events_of_a_log_that_was_given_up_do_not_wait(
    built: Settings, connection: StoreConnection, minutes: int, seconds: int
) -> None:
    """They are in the build, and a late event of the next log waits since it was processed."""
    connection.execute("UPDATE table_build SET built_at = ?", (NOON - 200 * MINUTE,))
    with write_store(built) as store:
        moved = {("analytics", 0): StoredOffset(0, "the-next-topic", "cluster")}
        move_offsets(store, GROUP, "analytics", moved)
    at = micros("2024-01-02 09:00")
    late = event(7, at, processed_at=NOON - minutes * MINUTE, stream_offset=0)
    store_events(built, [late], now=NOON)
    finding = reconciliation.check_on_time(connection, CheckContext(built, NOON), DAY_TRANSFORMS[0])
    assert (finding.numbers["behind"], finding.numbers["longest_seconds"]) == (1, seconds)


def test_an_edited_text_is_no_event_that_waits(
    built: Settings, connection: StoreConnection, tmp_path: Path
) -> None:
    """All its days are behind at once, and none of them is late."""
    (tmp_path / "sql").mkdir()
    file = tmp_path / "sql" / "lines.sql"
    file.write_text(LINES)
    settings = built.model_copy(update={"sql": tmp_path / "sql"})
    transform = day_transforms(settings)[-1]
    with open_builder(settings, "a-run") as builder:
        for day in DAYS:
            builder.build(day, [transform])
    connection.execute("UPDATE table_build SET built_at = ?", (NOON,))
    file.write_text(f"{LINES} ")
    later = CheckContext(settings, NOON + 200 * MINUTE)
    finding = reconciliation.check_on_time(connection, later, transform)
    assert (finding.passed, finding.numbers["behind"]) == (True, 3)


def test_figures_of_the_stream_are_recomputed(built: Settings, connection: StoreConnection) -> None:
    """A ledger that is not what the events say is named with its day."""
    context = CheckContext(built, NOON)
    assert reconciliation.check_recomputed(connection, context).passed
    connection.execute("UPDATE day_ledger SET items_sold = 99 WHERE day = '2024-01-03'")
    finding = reconciliation.check_recomputed(connection, context)
    assert not finding.passed
    assert "2024-01-03" in finding.examples[0]


def test_events_out_of_range_are_counted(store: Settings, connection: StoreConnection) -> None:
    """Before the start of history and after today; moving the start takes them in."""
    times = ["2009-12-31 23:00", "2024-01-03 10:00", "2024-01-04 01:00"]
    store_events(store, [event(number, micros(time)) for number, time in enumerate(times)])
    finding = stream_health.check_out_of_range(connection, CheckContext(store, NOON))
    assert (finding.passed, finding.is_warning, finding.numbers) == (
        False,
        True,
        {"events": 2, "days": 2},
    )
    earlier = store.model_copy(update={"history_start": datetime(2009, 1, 1, tzinfo=UTC).date()})
    assert (
        stream_health.check_out_of_range(connection, CheckContext(earlier, NOON)).numbers["events"]
        == 1
    )


@pytest.mark.parametrize(("dead_letters", "well"), [(5, True), (6, False)])
def test_a_large_share_of_refusals_is_a_finding(
    store: Settings, connection: StoreConnection, dead_letters: int, *, well: bool
) -> None:
    """5 of 100 are usual; the message names the most frequent reason."""
    store_events(store, year_of_days(95))
    for offset in range(dead_letters):
        add_dead_letter(connection, offset)
    finding = stream_health.check_refusals(connection, CheckContext(store, NOON))
    assert finding.passed is well
    assert finding.examples == (f"invalid_item: {dead_letters}.",)


def test_only_conflicts_need_a_look(store: Settings, connection: StoreConnection) -> None:
    """An event that comes again is nothing; with another content it is."""
    store_events(store, year_of_days(3))
    store_events(store, year_of_days(2))
    context = CheckContext(store, NOON)
    finding = stream_health.check_repeats(connection, context)
    assert (finding.passed, finding.numbers) == (True, {"duplicates": 2, "conflicting": 0})
    store_events(store, [event(0, micros("2024-01-01 12:00"), item="another")])
    finding = stream_health.check_repeats(connection, context)
    assert (finding.passed, finding.numbers) == (False, {"duplicates": 3, "conflicting": 1})


@pytest.mark.sqlite("the pages of a file")
def test_a_damaged_database_is_a_finding(built: Settings, connection: StoreConnection) -> None:
    """An index that does not fit its table is finding."""
    context = CheckContext(built, NOON)
    assert stream_health.check_integrity(connection, context).passed
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
        " WHERE name = 'ix_daily_item_sales_day_rank')"
        " WHERE name = 'ix_daily_item_sales_item_day'"
    )
    connection.close()
    damaged = sqlite3.connect(built.database_path)
    finding: Finding = stream_health.check_integrity(damaged, context)
    damaged.close()
    assert not finding.passed
    assert "damaged" in finding.description


@pytest.mark.sqlite("a backup of the file")
def test_the_newest_backup_is_restored_and_counted(
    built: Settings, connection: StoreConnection
) -> None:
    """One that lacks events, or is none, fails; what is there now stays as it is."""
    now = CheckContext(built, time.time_ns() // 1000)
    assert not backups.check_restorable(connection, now).passed
    made = scheduled_backup(built)
    assert made is not None
    finding = backups.check_restorable(connection, now)
    assert (finding.passed, finding.numbers["events"]) == (True, 3)
    assert list(made.parent.iterdir()) == [made]
    later = CheckContext(built, now.now + 72 * 3_600_000_000)
    assert not backups.check_restorable(connection, later).passed
    with closing(sqlite3.connect(made)) as copy, copy:
        copy.execute("DELETE FROM analytics_event")
    finding = backups.check_restorable(connection, now)
    assert (finding.passed, finding.is_warning, finding.numbers["events"]) == (False, False, 0)
    made.write_bytes(b"no database")
    assert "cannot be restored" in backups.check_restorable(connection, now).description


@pytest.mark.sqlite("a backup of the file")
def test_no_backup_is_restored_on_a_disk_that_is_nearly_full(
    built: Settings, connection: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check warns, writes nothing, and removes what an earlier one left."""
    made = scheduled_backup(built)
    assert made is not None
    left = made.parent / "rehearsal"
    left.mkdir()
    monkeypatch.setattr(copying, "LEAST_FREE_BYTES", 2**62)
    finding = backups.check_restorable(connection, CheckContext(built, time.time_ns() // 1000))
    assert (finding.passed, finding.is_warning) == (False, True)
    assert "not rehearsed: too little free disk" in finding.description
    assert f"needs {2**42:,} MiB" in finding.description
    assert list(made.parent.iterdir()) == [made]


def test_a_lag_that_is_unknown_is_no_pass(store: Settings, connection: StoreConnection) -> None:
    """Without a broker the check says why it does not know."""
    finding = stream_health.check_lag(connection, CheckContext(store, NOON))
    assert (finding.passed, finding.is_warning) == (False, True)
    assert "No broker runs" in finding.description


def test_dagster_runs_every_check(built: Settings, instance: DagsterInstance) -> None:
    """By their names each is selected once; all but the lag, for want of a broker, pass."""
    if isinstance(built.database, Path):
        scheduled_backup(built)
    checks = asset_checks(built)
    every = check_selection(built, [*NIGHTLY, *RECONCILIATION, *FREQUENT])
    definitions = Definitions(
        assets=[*stream_specs(built), history_asset(built), *table_assets(built)],
        asset_checks=checks,
        jobs=[define_asset_job("checks", every)],
        executor=in_process_executor,
    )
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance)
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == len(checks) == 8 + 3 * len(TABLES) + len(DAY_TRANSFORMS)
    assert {e.check_name for e in evaluations if not e.passed} == {"lag"}
