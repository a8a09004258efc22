"""The sensor that requests runs for stale tables.

It has no cursor: the tables' builds, the day ledger and Dagster's list of runs hold all that it
needs, so that a crash loses nothing. Which runs it requests is computed in `run_plan`.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from assets.builds.staleness import StalePartition, read_stale_partitions
from assets.partitions import today
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE_TABLE_NAMES
from assets.tables.sql_transform import day_table_names, still_there
from orchestration.automation.run_plan import (
    LastRun,
    PlanInputs,
    UnfinishedRun,
    plan_runs,
    today_due_at,
)
from orchestration.automation.run_requests import (
    REASON_TAG,
    run_days,
    run_tables,
    tables_job,
)
from orchestration.automation.stream_sensors import read_health
from orchestration.automation.ticks import record_tick
from streaming.apps import APPS
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.connection import read_store, store_exists
from streaming.store.sql_tables import code_versions
from streaming.units import MICROS

TICK_SECONDS: Final = 15
"""A late purchase waits at most this long for its run to be requested; a tick takes 20 ms."""
UNFINISHED: Final = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    # Its process may still hold the write lock.
    DagsterRunStatus.CANCELING,
)
PACED_REASONS: Final = ("summary",)


def stale_days_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor that compares tables with the stream at each tick."""
    loaded = day_table_names(settings)
    tables = (*loaded, *WHOLE_TABLE_NAMES)

    @sensor(
        name="stale_days_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        target=tables_job("stale_days", tables),
        description="Requests what new events have made stale: today, recent days, then others.",
    )
    def stale_days_sensor(context: SensorEvaluationContext) -> SensorResult:
        record_tick(settings, context)
        try:
            inputs = read_plan_inputs(settings, context.instance, still_there(settings, loaded))
        except Unavailable as error:
            # The next tick asks again. Without the tables of files it would request too little.
            return SensorResult(skip_reason=str(error))
        requests = plan_runs(inputs)
        if requests:
            return SensorResult(run_requests=requests)
        return SensorResult(skip_reason=_skip_reason(settings, inputs))

    return stale_days_sensor


def _skip_reason(settings: Settings, inputs: PlanInputs) -> str:
    """Return how much is stale, and when today is built again."""
    waiting = len({partition.partition for partition in inputs.stale})
    if not waiting:
        return "Every table is current."
    reason = f"{waiting} partitions are stale, each of them under way or not due yet."
    stale = [p for p in inputs.stale if p.partition == inputs.today.isoformat()]
    due_at = today_due_at(stale)
    if due_at <= inputs.now:
        return reason
    due = datetime.fromtimestamp(due_at / MICROS, settings.zone)
    seconds = max(p.cpu_time for p in stale) / MICROS
    return (
        f"{reason} Today is due at {due:%H:%M:%S}: its last build took {seconds:.1f} s of CPU time."
    )


def read_plan_inputs(
    settings: Settings, instance: DagsterInstance, day_tables: Sequence[str]
) -> PlanInputs:
    """Read what is stale of the day tables and the others, and which runs are under way."""
    return PlanInputs(
        stale=_read_stale_partitions(settings, day_tables),
        day_tables=day_tables,
        history=DayRange(settings.history_start, today(settings, datetime.now(UTC))),
        unfinished=read_unfinished_runs(instance),
        last_runs={
            reason: last for reason in PACED_REASONS if (last := _read_last_run(instance, reason))
        },
        now=time.time_ns() // 1000,
        # From the status files: a tick asks no broker.
        behind_seconds=max(read_health(settings, app).lag_seconds for app in APPS),
    )


def read_unfinished_runs(instance: DagsterInstance) -> list[UnfinishedRun]:
    """Read the runs that build tables and are not finished."""
    runs = instance.get_runs(RunsFilter(statuses=list(UNFINISHED)))
    # One query for all states: a run that moves from one to the next between two would be missed.
    return [UnfinishedRun(run_days(run), tables) for run in runs if (tables := run_tables(run))]


def has_unfinished_run(instance: DagsterInstance, reason: str) -> bool:
    """Return whether a run of this reason waits or works."""
    unfinished = RunsFilter(tags={REASON_TAG: reason}, statuses=list(UNFINISHED))
    return bool(instance.get_runs(unfinished, limit=1))


def _read_stale_partitions(settings: Settings, day_tables: Sequence[str]) -> list[StalePartition]:
    if not store_exists(settings):
        return []
    # Read at each tick: an edited text is built without a reload of the code server.
    sql = {name: code for name, code in code_versions(settings).items() if name in day_tables}
    with read_store(settings) as store:
        return read_stale_partitions(store, sql)


def _read_last_run(instance: DagsterInstance, reason: str) -> LastRun | None:
    succeeded = RunsFilter(tags={REASON_TAG: reason}, statuses=[DagsterRunStatus.SUCCESS])
    for record in instance.get_run_records(succeeded, limit=1):
        if record.start_time is not None and record.end_time is not None:
            return LastRun(record.end_time, record.end_time - record.start_time)
    return None
