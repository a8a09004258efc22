"""Retention deletes old runs that nothing needs, and returns their disk space."""

import time
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
)

from assets.tables.day_range import DayRange
from orchestration.automation.retention import DAY_SECONDS, RUN_DAYS, apply_retention
from orchestration.automation.run_requests import REASON_TAG
from orchestration.cli.backfill import backfill
from orchestration.instance import open_instance, prepare_instance
from streaming.settings import Settings
from streaming.system.home import Home
from tests.assets.event_store import store_events
from tests.postgres import PostgresServer
from tests.store.rows import event, micros

FIRST = date(2024, 3, 1)
LATER = RUN_DAYS * DAY_SECONDS + 60


@pytest.fixture(params=["sqlite", "postgres"])
def either_storage(request: pytest.FixtureRequest, store: Settings) -> Iterator[Settings]:
    """Settings of a store, with Dagster's own storage in files or in a PostgreSQL database."""
    if request.param == "sqlite":
        yield store
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = server.create_database()
    yield store.model_copy(update={"dagster_database_url": server.url(database)})
    server.drop_database(database)


def count_built(instance: DagsterInstance) -> int:
    """Return how many partitions of daily_sales show as materialised."""
    ids = instance.get_latest_storage_id_by_partition(
        AssetKey("daily_sales"), DagsterEventType.ASSET_MATERIALIZATION
    )
    return len(ids)


def bytes_under(path: Path) -> int:
    """Return the size of all files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_old_runs_go_with_their_files_and_no_partition_is_forgotten(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last run of each day stays, however old, but for its log; nothing young goes."""
    monkeypatch.setattr("assets.queries.dagster_storage.VACUUM_BYTES", 0)
    store_events(store, [event(n, micros("2024-03-01 10:00") + n * 10**6) for n in range(3)])
    days = DayRange(FIRST, FIRST + timedelta(9))
    old = [backfill(store, days, ["daily_sales"], force=True).run_ids[0] for _ in range(3)]
    with open_instance(store) as instance:
        assert apply_retention(store, instance, time.time()).runs == 0
        before = bytes_under(Home(store.home).dagster)
        done = apply_retention(store, instance, time.time() + LATER)
        assert done.runs == 2
        assert done.freed_bytes > 0
        assert bytes_under(Home(store.home).dagster) < before
        assert count_built(instance) == 10
        assert [run.run_id for run in instance.get_runs()] == old[-1:]
        files = {path.stem for path in (Home(store.home).dagster / "history").rglob("*.db")}
        assert not files & set(old)
        assert apply_retention(store, instance, time.time() + LATER).runs == 0


def test_in_a_database_the_log_goes_of_what_stays(
    store: Settings, postgres_server: PostgresServer
) -> None:
    """The last run of each day stays with its materialisations, and with nothing else."""
    database = postgres_server.create_database()
    store = store.model_copy(update={"dagster_database_url": postgres_server.url(database)})
    days = DayRange(FIRST, FIRST + timedelta(9))
    runs = [backfill(store, days, ["daily_sales"], force=True).run_ids[0] for _ in range(2)]
    with open_instance(store) as instance:
        log = len(instance.all_logs(runs[1]))
        assert apply_retention(store, instance, time.time()).runs == 0
        assert len(instance.all_logs(runs[1])) == log
        done = apply_retention(store, instance, time.time() + LATER)
        assert done.runs == 1
        assert count_built(instance) == 10
        assert [run.run_id for run in instance.get_runs()] == runs[1:]
        left = {event.dagster_event_type for event in instance.all_logs(runs[1])}
        assert DagsterEventType.ASSET_MATERIALIZATION in left
        assert DagsterEventType.STEP_START not in left
        assert not (Home(store.home).dagster / "storage" / runs[1]).exists()
    postgres_server.drop_database(database)


def finish_run(instance: DagsterInstance, reason: str, ending: str) -> str:
    """Make a run that has just ended; give its id."""
    run = DagsterRun("a_job", run_id=str(uuid.uuid4()), tags={REASON_TAG: reason})
    instance.add_run(run)
    for kind in ("START", ending):
        event = DagsterEvent(f"PIPELINE_{kind}", run.job_name, message=kind)
        instance.report_dagster_event(event, run.run_id)
    return run.run_id


def test_of_frequent_runs_the_newest_stay(
    either_storage: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many late events there are; failed ones, or a backfill's, stay for their month."""
    monkeypatch.setattr("orchestration.automation.retention.FREQUENT_RUNS", 3)
    store = either_storage
    prepare_instance(store)
    with open_instance(store) as instance:
        finish_run(instance, "current", "FAILURE")
        kept = [
            *(finish_run(instance, reason, "FAILURE") for reason in ("late", "current", "late")),
            finish_run(instance, "backfill", "SUCCESS"),
        ]
        passing = [
            finish_run(instance, reason, "SUCCESS")
            for reason in ("late", "current", "summary", "frequent", "upkeep", "late")
        ]
        assert apply_retention(store, instance, time.time()).runs == 4
        left = {run.run_id for run in instance.get_runs()}
        assert left == {*kept, *passing[3:]}
        assert apply_retention(store, instance, time.time() + DAY_SECONDS + 60).runs == 3
        assert {run.run_id for run in instance.get_runs()} == set(kept)


def test_of_what_sensors_reported_the_latest_stays(either_storage: Settings) -> None:
    """Of each day and each app, however long ago it was; Dagster's own copy goes with it."""
    store = either_storage
    prepare_instance(store)
    with open_instance(store) as instance:
        for day in ("2024-03-01", "2024-03-02", "2024-03-01"):
            instance.report_runless_asset_event(AssetObservation("analytics"))
            instance.report_runless_asset_event(
                AssetMaterialization("analytics_event", partition=day)
            )

        def reports() -> tuple[int, int]:
            seen = instance.fetch_observations(AssetKey("analytics"), limit=9).records
            made = instance.fetch_materializations(AssetKey("analytics_event"), limit=9).records
            return len(seen), len(made)

        apply_retention(store, instance, time.time())
        assert reports() == (3, 3)
        apply_retention(store, instance, time.time() + LATER)
        assert reports() == (1, 2)
        assert len(instance.get_records_for_run("").records) == 3
