"""What looks after runs: dead ones are reported, failed ones recorded, the next ones asked for."""

import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    BackfillPolicy,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    build_schedule_context,
    build_sensor_context,
)

from assets.builds.builder import open_builder
from assets.builds.locks import hold_write_lock, is_run_alive
from assets.builds.staleness import read_failures
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES
from assets.tables.transforms import DAY_TRANSFORMS
from orchestration.automation.run_requests import (
    REASON_TAG,
    TABLES_TAG,
    backfill_requests,
    days_request,
    range_tags,
    repeat_requests,
    run_days,
    run_tables,
    seal_request,
)
from orchestration.automation.run_sensors import (
    SILENT_SECONDS,
    dead_runs_sensor,
    record_failed_run,
    report_dead_runs,
)
from orchestration.automation.schedules import daily_close_schedule
from orchestration.build import build_defs
from orchestration.instance import open_instance
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.system.home import Home
from streaming.system.lease import holder
from tests.assets.event_store import store_events
from tests.databases import home_settings, look, store_variables
from tests.orchestration.home import HomeRunner
from tests.store.rows import event, micros, year_of_days
from tests.support import wait_until

DAY = date(2024, 3, 1)
HOLD = """
import sys, time
from assets.builds.locks import hold_write_lock
from streaming.settings import Settings
with hold_write_lock(Settings(home=sys.argv[1]), sys.argv[2]):
    time.sleep(300)
"""


BUILD = days_request(DayRange(DAY, DAY), "late", 1, DAY_TABLE_NAMES)


def start_run(
    settings: Settings,
    instance: DagsterInstance,
    status: DagsterRunStatus,
    request: RunRequest = BUILD,
) -> DagsterRun:
    """Make a run in this state, of a day unless another one is requested."""
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    selection = frozenset(request.asset_selection or ())
    return instance.create_run_for_job(
        job.get_subset(asset_selection=selection),
        status=status,
        tags=request.tags,
        asset_selection=selection,
    )


def test_a_run_whose_process_was_killed_is_reported_at_once(
    store: Settings, instance: DagsterInstance
) -> None:
    """The kernel freed its lock; a living one is left alone."""
    run = start_run(store, instance, DagsterRunStatus.STARTED)
    instance.report_engine_event("starting", run)
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.home), run.run_id],
        env={**os.environ, **store_variables(store.home)},
    )
    wait_until(lambda: is_run_alive(store, run.run_id), 60, "the run does not begin")
    assert list(report_dead_runs(store, instance, 0)) == []
    time_of_day = time.time() + 10 * SILENT_SECONDS
    assert list(report_dead_runs(store, instance, time_of_day)) == []
    holding.kill()
    holding.wait()
    # A server ends the session of a run a moment after its client.
    wait_until(lambda: not is_run_alive(store, run.run_id), 30, "its lock stays")
    # A kill leaves the file of the lock; on a server only the silence shows it.
    now = time.time() if isinstance(store.database, Path) else time_of_day
    assert list(report_dead_runs(store, instance, now)) == [run.run_id]
    reported = instance.get_run_by_id(run.run_id)
    assert reported is not None
    assert reported.status == DagsterRunStatus.FAILURE
    assert not Home(store.home).run_lease(run.run_id).exists()


@pytest.mark.faults
@pytest.mark.sqlite("the file of a lock, which a kill leaves")
def test_a_backfill_of_the_command_line_that_was_killed_is_reported_and_recorded(
    store: Settings,
) -> None:
    """Its run knows its tables too, so that the queue behind it goes on."""
    store_events(store, year_of_days(300))
    home = HomeRunner(store.home)
    killed = home.background("backfill", "--from", "2024-01-01", "--to", "2024-10-26")
    locks = store.home / "runs"
    wait_until(lambda: [p for p in locks.glob("*-*.lock") if holder(p)], 90, "it does not begin")
    wait_until(lambda: count(store, "daily_sales") > 3, 60, "it does not build")
    killed.kill()
    killed.wait()
    with open_instance(store) as instance:
        context = build_sensor_context(instance)
        result = dead_runs_sensor(store)(context)
        assert isinstance(result, SensorResult)
        [again] = result.run_requests or []
        assert {key.to_user_string() for key in again.asset_selection or ()} == set(DAY_TABLE_NAMES)
        assert again.tags == {
            **range_tags(DayRange(date(2024, 1, 1), date(2024, 10, 26))),
            REASON_TAG: "backfill",
        }
        [dead] = [run.run_id for run in instance.get_runs()]
        run = instance.get_run_by_id(dead)
        assert run is not None
        assert run.status == DagsterRunStatus.FAILURE
        assert run_tables(run) == set(DAY_TABLE_NAMES)
        assert record_failed_run(store, run, "it died") > 0
        assert list(report_dead_runs(store, instance, time.time() + 1_000)) == []


def count(settings: Settings, table: str) -> int:
    """Count the rows of a table."""
    with look(settings) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.sqlite("the file of a lock, which a kill leaves")
def test_a_seal_whose_process_was_killed_is_reported_too(
    store: Settings, instance: DagsterInstance
) -> None:
    """Or no build would get the one place of the runs that write."""
    run = start_run(store, instance, DagsterRunStatus.STARTED, seal_request())
    lock = Home(store.home).run_lease(run.run_id)
    lock.parent.mkdir()
    lock.touch()
    assert list(report_dead_runs(store, instance, time.time())) == [run.run_id]
    assert record_failed_run(store, run, "it died") == 0


def test_a_run_that_never_took_its_lock_is_dead_when_it_is_silent(
    store: Settings, instance: DagsterInstance
) -> None:
    """Its process died before its first step."""
    run = start_run(store, instance, DagsterRunStatus.STARTED)
    instance.report_engine_event("starting", run)
    now = time.time()
    assert list(report_dead_runs(store, instance, now)) == []
    assert list(report_dead_runs(store, instance, now + SILENT_SECONDS + 1)) == [run.run_id]


def test_a_failed_run_leaves_a_record_of_what_it_did_not_build(
    store: Settings, instance: DagsterInstance
) -> None:
    """So that the sensor does not ask for it at once again, and the status shows it."""
    store_events(store, [event(1, micros("2024-03-01 10:00"))])
    run = start_run(store, instance, DagsterRunStatus.FAILURE)
    assert run_days(run) == DayRange(DAY, DAY)
    assert len(run_tables(run)) == 4
    assert record_failed_run(store, run, "it died") == 4
    assert record_failed_run(store, run, "it died") == 0


def test_a_failed_run_is_no_failure_of_what_it_built(
    store: Settings, instance: DagsterInstance
) -> None:
    """An event that came since makes that stale again, before the run's end is looked at."""
    store_events(store, [event(1, micros("2024-03-01 10:00"))])
    run = start_run(store, instance, DagsterRunStatus.FAILURE)
    with open_builder(store, run.run_id) as builder:
        builder.build(DAY.isoformat(), DAY_TRANSFORMS[1:])
    store_events(store, [event(2, micros("2024-03-01 11:00"))])
    assert record_failed_run(store, run, "one table failed") == 1
    with read_store(store) as connection:
        assert [table for table, _ in read_failures(connection)] == [DAY_TRANSFORMS[0].table]


def test_the_close_builds_yesterday_of_the_deployments_zone() -> None:
    """At 00:15 local time, also across a change of clocks."""
    settings = Settings(home=Path(os.devnull), timezone="Europe/London")
    schedule = daily_close_schedule(settings)
    assert schedule.execution_timezone == "Europe/London"
    at = datetime(2011, 10, 30, 23, 15, tzinfo=UTC)
    context = build_schedule_context(scheduled_execution_time=at)
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    assert requests[0].tags["dagster/asset_partition_range_start"] == "2011-10-29"
    at = datetime(2011, 10, 31, 0, 15, tzinfo=UTC)
    requests = schedule.evaluate_tick(
        build_schedule_context(scheduled_execution_time=at)
    ).run_requests
    assert requests is not None
    assert requests[0].tags["purchases/reason"] == "close"
    assert requests[0].tags["dagster/asset_partition_range_end"] == "2011-10-30"
    assert requests[0].run_config["ops"]["day_tables"]["config"]["force"] is True


def test_the_close_computes_older_days_that_were_added_to(
    store: Settings, connection: StoreConnection
) -> None:
    """After yesterday, and not today, which is added to all day."""
    with open_builder(store, "run") as builder:
        for day in (26, 28, 30, 31):
            builder.build(f"2011-10-{day}", DAY_TRANSFORMS)
    connection.execute("UPDATE table_build SET added_events = 1 WHERE partition <> '2011-10-28'")
    at = datetime(2011, 10, 31, 0, 15, tzinfo=UTC)
    context = build_schedule_context(scheduled_execution_time=at)
    (request,) = daily_close_schedule(store).evaluate_tick(context).run_requests or ()
    config = request.run_config["ops"]["day_tables"]["config"]
    assert config["days"] == ["2011-10-30", "2011-10-26"]


def test_a_close_computes_days_whose_own_close_was_missed(
    store: Settings, connection: StoreConnection
) -> None:
    """The computer was off from Saturday evening on. A table that is gone does not count."""
    days = {
        "2024-02-29": ("gone", "2024-02-29 12:00"),
        "2024-03-01": ("daily_sales", "2024-03-01 18:00"),
        "2024-03-02": ("daily_sales", "2024-03-02 19:31"),
    }
    with open_builder(store, "run") as builder:
        for day, (table, built_at) in days.items():
            builder.build(day, DAY_TRANSFORMS)
            connection.execute(
                "UPDATE table_build SET table_name = ?, built_at = ?"
                " WHERE table_name = 'daily_sales' AND partition = ?",
                (table, micros(built_at), day),
            )
    monday = datetime(2024, 3, 4, 0, 15, tzinfo=UTC)
    context = build_schedule_context(scheduled_execution_time=monday)
    (request,) = daily_close_schedule(store).evaluate_tick(context).run_requests or ()
    config = request.run_config["ops"]["day_tables"]["config"]
    assert config["days"] == ["2024-03-03", "2024-03-02", "2024-03-01"]


@pytest.mark.sqlite("the file of a lock")
def test_one_run_writes_at_a_time(tmp_path: Path) -> None:
    """The lock of a run is its own, and gone afterwards."""
    with hold_write_lock(home_settings(tmp_path), "a"):
        assert Home(tmp_path).run_lease("a").exists()
    assert not Home(tmp_path).run_lease("a").exists()


@pytest.mark.parametrize("kind", ["sensors", "schedules"])
def test_everything_is_on_in_a_fresh_instance(kind: str, store: Settings) -> None:
    """Dagster's default is off."""
    repository = build_defs(store).get_repository_def()
    defined = repository.sensor_defs if kind == "sensors" else repository.schedule_defs
    assert len(defined) >= 3
    assert {definition.default_status.value for definition in defined} == {"RUNNING"}


@pytest.mark.parametrize("force", [True, False])
def test_a_dead_backfill_is_asked_for_again_as_it_was(force: bool) -> None:  # noqa: FBT001 - a case
    """Days and whole tables, with `--force` if it had that."""
    tables, days = ["daily_sales", "customers"], frozenset([date(2024, 1, 2), date(2024, 1, 5)])
    asked = backfill_requests(days, tables, force=force)
    runs = [
        DagsterRun(
            "a_job",
            tags=request.tags,
            run_config=request.run_config,
            asset_selection=None,
        )
        for request in asked
    ]
    again = [one for run in runs for one in repeat_requests(run, tables)]
    assert [one.run_config for one in again] == [one.run_config for one in asked]
    assert [one.asset_selection for one in again] == [one.asset_selection for one in asked]
    assert not any(one.tags.get(TABLES_TAG) for one in again)


def test_with_postgresql_a_backfill_is_several_runs_and_no_backup_is_scheduled(
    postgres_settings: Settings,
) -> None:
    """The store takes several writers, and its backups are its administrator's."""
    repository = build_defs(postgres_settings).get_repository_def()
    assert "backup_schedule" not in {schedule.name for schedule in repository.schedule_defs}
    tables = repository.assets_defs_by_key[AssetKey("daily_sales")]
    assert tables.backfill_policy == BackfillPolicy.multi_run(31)
    assert tables.op.pool is None
