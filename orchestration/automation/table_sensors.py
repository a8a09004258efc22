"""The sensor that has stale tables built: it compares, and asks for what differs.

It remembers nothing: the tables' builds, the stream's ledger and Dagster's runs say it all, so that
nothing that crashes can make it forget. What to ask for is decided in `staleness_plan`.
"""

import time
from datetime import UTC, datetime

from dagster import (
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from assets.builds.staleness import Difference, read_differences
from assets.partitions import today
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES
from orchestration.automation.run_plan import LastRun, Moment, UnderWay, plan
from orchestration.automation.run_requests import REASON_TAG, audits_of, days_of, keys_of, tables_of
from streaming.settings import Settings
from streaming.store.connection import read_store

TICK_SECONDS = 15
UNFINISHED = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
PACED = ("current", "summary")
TABLES = (*DAY_TABLE_NAMES, *WHOLE_TABLE_NAMES)


def stale_days_sensor(settings: Settings) -> SensorDefinition:
    """Give the sensor."""

    @sensor(
        name="stale_days_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        target=AssetSelection.assets(*keys_of(TABLES)) | AssetSelection.checks(*audits_of(TABLES)),
        description="Asks for the days and summaries that new events have made stale.",
    )
    def stale_days_sensor(context: SensorEvaluationContext) -> SensorResult:
        moment = read_moment(settings, context.instance)
        requests = plan(moment)
        if requests:
            return SensorResult(run_requests=requests)
        waiting = len({d.partition for d in moment.differences})
        told = f"{waiting} partitions differ, all of them under way or not due yet"
        return SensorResult(skip_reason=told if waiting else "every table is current")

    return stale_days_sensor


def read_moment(settings: Settings, instance: DagsterInstance) -> Moment:
    """Read what differs, and which runs are under way."""
    return Moment(
        differences=_differences(settings),
        first_day=settings.history_start,
        today=today(settings, datetime.now(UTC)),
        under_way=under_way(instance),
        last={name: last for name in PACED if (last := _last(instance, name))},
        now=time.time_ns() // 1000,
    )


def under_way(instance: DagsterInstance) -> list[UnderWay]:
    """Give the runs that build tables and are not finished."""
    runs = instance.get_runs(RunsFilter(statuses=list(UNFINISHED)))
    return [UnderWay(days_of(run), tables) for run in runs if (tables := tables_of(run))]


def _differences(settings: Settings) -> list[Difference]:
    if not settings.database_path.exists():
        return []
    with read_store(settings) as store:
        return read_differences(store)


def _last(instance: DagsterInstance, reason: str) -> LastRun | None:
    wanted = RunsFilter(tags={REASON_TAG: reason}, statuses=[DagsterRunStatus.SUCCESS])
    for record in instance.get_run_records(wanted, limit=1):
        if record.start_time is not None and record.end_time is not None:
            return LastRun(record.end_time, record.end_time - record.start_time)
    return None
