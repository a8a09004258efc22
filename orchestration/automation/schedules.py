"""The schedules: each day is closed, checked and cleaned up after, in the deployment's time zone.

What follows the closing, in a run of its own, is in `run_sensors`.
"""

from datetime import timedelta
from typing import Final

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    JobDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    define_asset_job,
    schedule,
)

from assets.checks.asset_checks import FREQUENT, NIGHTLY, selection
from assets.tables.models import DAY_TABLE_NAMES
from orchestration.automation.run_requests import (
    REASON_TAG,
    DayRange,
    audits_of,
    days_request,
    keys_of,
)
from streaming.settings import Settings

CLOSE: Final = "15 0 * * *"
NIGHT: Final = "0 3 * * *"
FREQUENTLY: Final = "*/30 * * * *"
HOURLY: Final = "40 * * * *"


def schedules(settings: Settings, upkeep: JobDefinition) -> list[ScheduleDefinition]:
    """Give all schedules; `upkeep` is the job that deletes old runs."""
    return [
        daily_close_schedule(settings),
        _checks(settings, "nightly", NIGHT, NIGHTLY, "Ledger and database looked over."),
        _checks(
            settings, "frequent", FREQUENTLY, FREQUENT, "Lag, refusals, repeats, and late tables."
        ),
        ScheduleDefinition(
            name="upkeep_schedule",
            cron_schedule=HOURLY,
            job=upkeep,
            tags={REASON_TAG: "upkeep"},
            execution_timezone=settings.timezone,
            default_status=DefaultScheduleStatus.RUNNING,
            description="Deletes old runs that hold nothing current.",
        ),
    ]


def daily_close_schedule(settings: Settings) -> ScheduleDefinition:
    """Give the schedule that builds yesterday in all day tables, so that it is final."""
    tables = AssetSelection.assets(*keys_of(DAY_TABLE_NAMES))

    @schedule(
        CLOSE,
        name="daily_close_schedule",
        target=tables | AssetSelection.checks(*audits_of(DAY_TABLE_NAMES)),
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Closes yesterday: all day tables, then the summaries and the reconciliation.",
    )
    def daily_close_schedule(context: ScheduleEvaluationContext) -> RunRequest:
        now = context.scheduled_execution_time.astimezone(settings.zone)
        yesterday = now.date() - timedelta(1)
        return days_request(DayRange(yesterday, yesterday), "close", 0, force=True)

    return daily_close_schedule


def _checks(
    settings: Settings, name: str, cron: str, checks: tuple[str, ...], told: str
) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=f"{name}_check_schedule",
        cron_schedule=cron,
        job=define_asset_job(f"{name}_check", selection(checks)),
        tags={REASON_TAG: name},
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description=told,
    )
