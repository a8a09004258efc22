"""The sensors that look after runs: what follows one, what a failed one leaves, which are dead.

Which old runs are deleted is decided in `upkeep`.
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
    SkipReason,
    define_asset_job,
    run_failure_sensor,
    run_status_sensor,
    sensor,
)

from assets.builds.failures import DiedRun, record_died
from assets.builds.locks import run_lives
from assets.checks.asset_checks import RECONCILIATION, selection
from assets.tables.models import WHOLE_TABLE_NAMES
from orchestration.automation.run_requests import REASON_TAG, audits_of, days_of, keys_of, tables_of
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.logs import get_logger

LOOK_SECONDS: Final = 15
SILENT_SECONDS: Final = 45.0
NAMED_BYTES: Final = 500


def run_sensors(settings: Settings) -> list[SensorDefinition]:
    """Give all of them."""
    return [_reconciliation_sensor(), _failed(settings), dead_runs_sensor(settings)]


def _reconciliation_sensor() -> SensorDefinition:
    """Give the sensor that asks for the summaries and the parity of each day after a close."""
    job = define_asset_job(
        "reconciliation",
        AssetSelection.assets(*keys_of(WHOLE_TABLE_NAMES)).without_checks()
        | AssetSelection.checks(*audits_of(WHOLE_TABLE_NAMES))
        | selection(RECONCILIATION),
    )

    @run_status_sensor(
        DagsterRunStatus.SUCCESS,
        name="reconciliation_sensor",
        minimum_interval_seconds=LOOK_SECONDS,
        request_job=job,
        default_status=DefaultSensorStatus.RUNNING,
        description="Asks for summaries and reconciliation when a day's close has succeeded.",
    )
    def reconciliation_sensor(context: RunStatusSensorContext) -> RunRequest | SkipReason:
        if context.dagster_run.tags.get(REASON_TAG) != "close":
            return SkipReason("not the close of a day")
        return RunRequest(tags={REASON_TAG: "summary"})

    return reconciliation_sensor


def _failed(settings: Settings) -> SensorDefinition:
    @run_failure_sensor(
        name="run_failure_sensor",
        minimum_interval_seconds=LOOK_SECONDS,
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
            error=message[:NAMED_BYTES],
        )

    return run_failure_sensor_


def record_failed_run(settings: Settings, run: DagsterRun, message: str) -> int:
    """Record the partitions that a failed run left unbuilt, and has not recorded itself."""
    days = days_of(run)
    tables = tables_of(run)
    if not tables:
        return 0
    first, last = (days.first, days.last) if days else (None, None)
    died = DiedRun(run.run_id, message[:NAMED_BYTES], tables, first, last)
    return record_died(settings, died)


def dead_runs_sensor(settings: Settings) -> SensorDefinition:
    """Give the sensor that reports runs as failed whose processes have all died."""

    @sensor(
        name="dead_runs_sensor",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Reports runs as failed whose processes died, so that the queue goes on.",
    )
    def dead_runs_sensor(context: SensorEvaluationContext) -> SkipReason:
        dead = list(report_dead_runs(settings, context.instance, time.time()))
        return SkipReason(f"{len(dead)} dead runs: {', '.join(dead)}" if dead else "no dead runs")

    return dead_runs_sensor


def report_dead_runs(settings: Settings, instance: DagsterInstance, now: float) -> Iterator[str]:
    """Report as failed the started runs that build tables and have no process; give their ids.

    A run that is alive holds its lock from its first seconds on, and removes it in its last; `now`
    is in epoch seconds.
    """
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        if not tables_of(run):
            continue
        if run_lives(settings.home, run.run_id):
            continue
        path = Home(settings.home).run_lease(run.run_id)
        if path.exists() or _silent(instance, run, now):
            instance.report_run_failed(run, "The process of this run died.")
            path.unlink(missing_ok=True)
            yield run.run_id


def _silent(instance: DagsterInstance, run: DagsterRun, now: float) -> bool:
    """Say whether a run that holds no lock has done nothing for a while."""
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(last) and now - last[0].event_log_entry.timestamp > SILENT_SECONDS
