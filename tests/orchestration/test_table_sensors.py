"""The sensor of stale days on a real instance: what comes at any moment is in the tables then."""

import subprocess
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    build_sensor_context,
)

from assets.builds.builder import PartitionBuilder
from assets.builds.staleness import read_stale_partitions
from assets.checks.finding import CheckContext
from assets.checks.stream_health import check_out_of_range
from assets.partitions import day_partitions
from assets.queries.status_section import read_tables_section
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES
from orchestration.automation.run_requests import days_request, late_days_request, run_days
from orchestration.automation.table_sensors import stale_days_sensor
from orchestration.build import build_defs
from orchestration.local.services import Services
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.status.doctor import examine
from streaming.store.connection import StoreConnection
from tests.assets.event_store import store_events
from tests.databases import look
from tests.postgres import PostgresServer
from tests.store.rows import event, micros

DAY = date(2024, 3, 1)
TIME = micros("2024-03-01 10:00")


def tick(settings: Settings, instance: DagsterInstance) -> SensorResult:
    """Let the sensor tick."""
    with build_sensor_context(instance=instance, definitions=build_defs(settings)) as context:
        result = stale_days_sensor(settings)(context)
    assert isinstance(result, SensorResult)
    return result


def late_days(result: SensorResult) -> list[str]:
    """Return the first days of the runs for past days."""
    return [
        request.tags["dagster/asset_partition_range_start"]
        for request in result.run_requests or []
        if request.tags["purchases/reason"] == "late"
    ]


def execute(settings: Settings, instance: DagsterInstance, run_id: str | None = None) -> None:
    """Execute the run that the sensor asks for the day, in this process."""
    execute_request(
        settings, instance, days_request(DayRange(DAY, DAY), "late", 1, DAY_TABLE_NAMES), run_id
    )


def execute_request(
    settings: Settings, instance: DagsterInstance, request: RunRequest, run_id: str | None = None
) -> DagsterRun:
    """Execute a requested run in this process; return it when it has succeeded."""
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(
        asset_selection=frozenset(request.asset_selection or ()),
        asset_check_selection=frozenset(request.asset_check_keys or ()),
    )
    result = subset.execute_in_process(
        instance=instance, tags=request.tags, run_id=run_id, run_config=request.run_config
    )
    assert result.success
    return result.dagster_run


def stale(settings: Settings) -> set[str]:
    """Return the days whose tables are not what the stream counted."""
    with look(settings) as connection:
        return {
            d.partition for d in read_stale_partitions(connection, {}) if d.table in DAY_TABLE_NAMES
        }


def test_without_a_database_it_waits(settings: Settings, instance: DagsterInstance) -> None:
    """A fresh home has none until the consumer made it."""
    assert not tick(settings, instance).run_requests


def test_a_stale_day_is_asked_for_until_it_is_built(
    store: Settings, instance: DagsterInstance
) -> None:
    """And then no more; only the builds' own audits run with it."""
    store_events(store, [event(1, TIME)])
    result = tick(store, instance)
    assert late_days(result) == ["2024-03-01"]
    request = (result.run_requests or [])[0]
    assert {key.name for key in request.asset_check_keys or ()} == {"audit"}
    execute(store, instance)
    assert late_days(tick(store, instance)) == []
    store_events(store, [event(2, TIME + 1)])
    assert late_days(tick(store, instance)) == ["2024-03-01"]


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
def test_an_event_stored_while_the_days_run_waits_or_works_is_there_in_the_end(
    store: Settings, instance: DagsterInstance, status: DagsterRunStatus
) -> None:
    """The run covers the day meanwhile; if it has read before, the next tick asks again."""
    store_events(store, [event(1, TIME)])
    job = build_defs(store).resolve_implicit_global_asset_job_def()
    request = days_request(DayRange(DAY, DAY), "late", 1, DAY_TABLE_NAMES)
    run = instance.create_run_for_job(
        job.get_subset(asset_selection=frozenset(request.asset_selection or ())),
        status=status,
        tags=request.tags,
        asset_selection=frozenset(request.asset_selection or ()),
    )
    store_events(store, [event(2, TIME + 1)])
    assert late_days(tick(store, instance)) == []
    instance.report_run_failed(run)
    assert late_days(tick(store, instance)) == ["2024-03-01"]
    execute(store, instance)
    assert stale(store) == set()


def test_scattered_days_are_one_run_that_builds_them_and_none_between(
    store: Settings, instance: DagsterInstance
) -> None:
    """Each has its materialisation, and the run says which days it covers."""
    days = [date(2014, 5, 6), date(2019, 7, 8), date(2024, 3, 1)]
    for number, day in enumerate(days):
        store_events(store, [event(number, micros(f"{day} 10:00"))])
    (request,) = [
        one for one in tick(store, instance).run_requests or [] if "late" in one.tags.values()
    ]
    run = execute_request(store, instance, request)
    assert run_days(run) == frozenset(days)
    assert stale(store) == set()
    built = instance.get_materialized_partitions(AssetKey("daily_sales"))
    assert built == {str(day) for day in days}
    assert late_days(tick(store, instance)) == []


def test_a_run_ends_after_its_time_and_the_older_days_are_asked_for_again(
    store: Settings, instance: DagsterInstance
) -> None:
    """It builds a piece of days at least, the newest; that bounds how long today waits."""
    for number, day in enumerate(("2024-02-27", "2024-03-01")):
        store_events(store, [event(number, micros(f"{day} 10:00"))])
    request = late_days_request(frozenset({date(2024, 2, 27), DAY}), 1, DAY_TABLE_NAMES)
    config = {**request.run_config["ops"]["day_tables"]["config"], "limit_seconds": 1e-9}
    hurried = {"ops": {"day_tables": {"config": config}}}
    execute_request(store, instance, request._replace(run_config=hurried))
    assert stale(store) == {"2024-02-27"}
    assert late_days(tick(store, instance)) == ["2024-02-27"]


def test_an_event_stored_between_a_runs_read_and_its_write_is_there_in_the_end(
    store: Settings, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build stands for what it read, and the day stays stale."""
    store_events(store, [event(1, TIME)])
    compute: Callable[..., object] = PartitionBuilder._compute
    came: list[int] = []

    def computed_and_late(self: PartitionBuilder, *arguments: object, **more: object) -> object:
        computed = compute(self, *arguments, **more)
        if not came:
            came.append(1)
            store_events(store, [event(2, TIME + 1)])
        return computed

    monkeypatch.setattr(PartitionBuilder, "_compute", computed_and_late)
    execute(store, instance)
    assert stale(store) == {"2024-03-01"}
    assert late_days(tick(store, instance)) == ["2024-03-01"]
    execute(store, instance)
    assert stale(store) == set()
    record = instance.get_latest_materialization_event(AssetKey("daily_sales"))
    assert record is not None


def test_the_start_of_history_moves_either_way_and_no_day_is_lost(
    store: Settings, instance: DagsterInstance, connection: StoreConnection
) -> None:
    """Days before it are counted and left alone; taken in again they are asked for, and built."""
    later = store.model_copy(update={"history_start": DAY + timedelta(1)})

    def left_out(settings: Settings) -> float:
        assert (DAY.isoformat() in day_partitions(settings).get_partition_keys()) is (
            settings is store
        )
        return check_out_of_range(connection, CheckContext(settings, TIME)).numbers["events"]

    for number in (1, 2):
        store_events(store, [event(number, TIME + number)])
        assert late_days(tick(later, instance)) == []
        assert left_out(later) == number
        assert left_out(store) == 0
        assert late_days(tick(store, instance)) == ["2024-03-01"]
        execute(store, instance)
        assert late_days(tick(store, instance)) == []
        assert stale(store) == set()
        assert left_out(later) == number
    row = connection.execute("SELECT events FROM daily_sales WHERE day = '2024-03-01'").fetchone()
    assert row == (2,)


def test_a_server_that_is_away_makes_no_sql_file_wrong(
    postgres_settings: Settings, postgres_server: PostgresServer, instance: DagsterInstance
) -> None:
    """Dagster loads and is not ended, its sensor skips; status and doctor blame the server."""
    folder = postgres_settings.home / "sql"
    folder.mkdir(parents=True)
    shop = postgres_settings.model_copy(update={"sql": folder, "services": "dagster"})
    where = "FROM analytics_event WHERE event_time >= :start_at AND event_time < :end_at"
    (folder / "lines.sql").write_text(f"SELECT count(*) AS lines {where}")
    key, name = AssetKey("sql_lines"), str(shop.database_url).rpartition("/")[2]
    with postgres_server.refuse_connections(name):
        services, graph = Services(shop), build_defs(shop).resolve_asset_graph()
        assert not graph.get(key).is_executable
        assert "does not answer" in str(graph.get(key).description)
        with pytest.raises(Unavailable):
            read_tables_section(shop)
        checks = {check.name: check for check in examine(shop).checks}
        assert "does not answer" in checks["SQL tables"].detail
    defs, sensor = build_defs(shop), stale_days_sensor(shop)
    assert defs.resolve_asset_graph().get(key).is_executable
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as daemon:
        services._processes["daemon"] = daemon
        # What Dagster loaded while the server was away lacks the table.
        services._follow_definitions()
        assert daemon.wait(30)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as daemon:
        services._processes["daemon"] = daemon
        (folder / "lines.sql").write_text(f"SELECT sum(quantity) AS pieces {where}")
        with (
            postgres_server.refuse_connections(name),
            build_sensor_context(instance=instance, definitions=defs) as context,
        ):
            services._follow_definitions()
            result = sensor(context)
            assert daemon.poll() is None
        assert isinstance(result, SensorResult)
        assert "does not answer" in str(result.skip_reason)
        services._follow_definitions()
        assert daemon.wait(30)
