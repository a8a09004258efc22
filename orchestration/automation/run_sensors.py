"""The sensors of runs: request what follows a close, record failed runs, report dead ones.

Which old runs are deleted is in `retention`.
"""

import time
from collections.abc import Iterator
from typing import Final

from dagster import (
    AssetSelection,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunRequest,
    RunsFilter,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    run_failure_sensor,
    run_status_sensor,
    sensor,
)

from assets.builds.failures import DeadRun, record_dead_run
from assets.builds.locks import is_run_alive
from assets.checks.asset_checks import RECONCILIATION, check_selection
from assets.tables.models import WHOLE_TABLE_NAMES
from assets.tables.sql_transform import day_table_names
from orchestration.automation.dead_runs import report_dead_run
from orchestration.automation.run_requests import (
    REASON_TAG,
    TASK_TAG,
    asset_keys,
    audit_keys,
    is_writing_run,
    repeat_requests,
    run_days,
    run_tables,
    tables_job,
)
from orchestration.automation.ticks import record_tick
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.logs import get_logger

TICK_SECONDS: Final = 15
"""Half of Dagster's default. The queue stands still behind a dead run until a tick reports it."""
SILENT_SECONDS: Final = 45.0
"""A started run without a lock is dead after this; its process imports Dagster first, for 10 s."""
REASON_CHARACTERS: Final = 500
"""Of a failure's message, in the log and in `build_failure`; the stack trace is in Dagster."""


def run_sensors(settings: Settings) -> list[SensorDefinition]:
    """Return all sensors of runs."""
    return [
        _reconciliation_sensor(settings),
        _run_failure_sensor(settings),
        dead_runs_sensor(settings),
    ]


def _reconciliation_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor that requests summaries and reconciliation after a close."""
    # A run of its own: Dagster skips assets that depend on a step which yields its own events, and
    # lets the run succeed.
    job = define_asset_job(
        "reconciliation",
        AssetSelection.assets(*asset_keys(WHOLE_TABLE_NAMES)).without_checks()
        | AssetSelection.checks(*audit_keys(WHOLE_TABLE_NAMES))
        | check_selection(settings, RECONCILIATION),
    )

    @run_status_sensor(
        DagsterRunStatus.SUCCESS,
        name="reconciliation_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        request_job=job,
        default_status=DefaultSensorStatus.RUNNING,
        description="Requests summaries and reconciliation when a day's close has succeeded.",
    )
    def reconciliation_sensor(context: RunStatusSensorContext) -> RunRequest | SkipReason:
        if context.dagster_run.tags.get(REASON_TAG) != "close":
            return SkipReason("The run is not the close of a day.")
        return RunRequest(tags={REASON_TAG: "summary"})

    return reconciliation_sensor


def _run_failure_sensor(settings: Settings) -> SensorDefinition:
    @run_failure_sensor(
        name="run_failure_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Logs a failed run, and records the partitions that it left unbuilt.",
    )
    def run_failure_sensor_(context: RunFailureSensorContext) -> None:
        run, message = context.dagster_run, context.failure_event.message or "no message"
        recorded = record_failed_run(settings, run, message)
        get_logger().error(
            "run_failed",
            run_id=run.run_id,
            reason=run.tags.get(REASON_TAG, "by hand"),
            recorded=recorded,
            error=message[:REASON_CHARACTERS],
        )

    return run_failure_sensor_


def record_failed_run(settings: Settings, run: DagsterRun, message: str) -> int:
    """Record the partitions that a failed run left unbuilt and did not record; return how many."""
    tables = run_tables(run)
    if not tables:
        return 0
    reason = message[:REASON_CHARACTERS]
    return record_dead_run(settings, DeadRun(run.run_id, reason, tables, run_days(run)))


def dead_runs_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor that reports runs as failed whose process died."""
    tables = (*day_table_names(settings), *WHOLE_TABLE_NAMES)

    @sensor(
        name="dead_runs_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        target=tables_job("dead_runs", tables),
        description="Reports runs as failed whose process died, so that the queue goes on, and"
        " requests those of the command line again.",
    )
    def dead_runs_sensor(context: SensorEvaluationContext) -> SensorResult:
        record_tick(settings, context)
        dead = list(report_dead_runs(settings, context.instance, time.time()))
        runs = context.instance.get_runs(RunsFilter(run_ids=dead)) if dead else []
        requests = [request for run in runs for request in repeat_requests(run, tables)]
        if requests:
            return SensorResult(run_requests=requests)
        return SensorResult(
            skip_reason=f"Reported dead runs: {', '.join(dead)}."
            if dead
            else "Every started run is alive."
        )

    return dead_runs_sensor


def report_dead_runs(settings: Settings, instance: DagsterInstance, now: float) -> Iterator[str]:
    """Report started runs that have no process as failed; yield their ids.

    These are runs that write, and all that a worker executes: of a killed worker nothing else tells
    it. A live run takes its lock in its first seconds and removes it at its end. `now` is in
    epoch s.
    """
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        task = run.tags.get(TASK_TAG)
        if task is None and not is_writing_run(run):
            continue
        if is_run_alive(settings, task or run.run_id):
            continue
        path = Home(settings.home).run_lease(run.run_id)
        # A lock file that nobody holds was left by a kill. Without one the run has not begun, or
        # is just ending: only a long silence tells these from a process that died early.
        if path.exists() or _is_silent(instance, run, now):
            report_dead_run(settings, instance, run)
            yield run.run_id


def _is_silent(instance: DagsterInstance, run: DagsterRun, now: float) -> bool:
    records = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(records) and now - records[0].event_log_entry.timestamp > SILENT_SECONDS
