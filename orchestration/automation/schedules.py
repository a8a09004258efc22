"""The schedules: the close of each day, checks, and retention, in the deployment's time zone.

The run that follows a close is requested in `run_sensors`.
"""

from datetime import timedelta
from pathlib import Path
from typing import Final

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    JobDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    schedule,
)

from assets.builds.archive import needs_archive
from assets.builds.columns import FILE_ROWS
from assets.builds.seal import needs_seal
from assets.builds.staleness import read_added_days, read_provisional_days
from assets.checks.asset_checks import FREQUENT, NIGHTLY, check_selection
from assets.lineage import HISTORY
from assets.tables.sql_transform import day_table_names, still_there
from orchestration.automation.run_requests import (
    REASON_TAG,
    close_request,
    seal_request,
    tables_job,
)
from orchestration.automation.table_sensors import has_unfinished_run
from streaming.settings import Settings
from streaming.store.connection import read_store, store_exists

CLOSE: Final = "15 0 * * *"
"""The time of `staleness.CLOSE_TIME`: a build before it leaves the day provisional."""
NIGHT: Final = "0 3 * * *"
"""These checks read every page and every event; most shops sleep then."""
BACKUP: Final = "30 2 * * *"
"""Before the checks of the night, which restore it."""
FREQUENTLY: Final = "*/30 * * * *"
"""Each is a run, with a process of its own. Alarms come from `purchases status` and metrics."""
SEAL: Final = "*/2 * * * *"
"""Each build of today reads its rows that are in no file, ten times as slowly as files. At 2,000
purchases a second the rows of two minutes are as many as a file has."""
SEAL_MINUTE: Final = 20
"""The minute of the hour at which few events are sealed too, after the day's close."""
HOURLY: Final = "40 * * * *"
"""Beside the half hours of the other checks, and after the close."""


def schedules(
    settings: Settings, upkeep: JobDefinition, backup: JobDefinition
) -> list[ScheduleDefinition]:
    """Return all schedules; `upkeep` is the job that deletes old runs.

    Backups of a server's database are its administrator's.
    """
    backups = _job_schedule(
        settings,
        "backup",
        BACKUP,
        backup,
        "Backs the database up, and deletes the oldest scheduled backups.",
    )
    return [
        *([backups] if isinstance(settings.database, Path) else []),
        daily_close_schedule(settings),
        seal_schedule(settings),
        _check_schedule(
            settings,
            "nightly",
            NIGHT,
            NIGHTLY,
            "Recomputes ledger and totals, checks the database, and restores the newest backup.",
        ),
        _check_schedule(
            settings,
            "frequent",
            FREQUENTLY,
            FREQUENT,
            "Checks lag, refusals, duplicates, and late tables.",
        ),
        _job_schedule(
            settings, "upkeep", HOURLY, upkeep, "Deletes old runs that hold nothing current."
        ),
    ]


def _job_schedule(
    settings: Settings, name: str, cron: str, job: JobDefinition, description: str
) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=f"{name}_schedule",
        cron_schedule=cron,
        job=job,
        tags={REASON_TAG: name},
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description=description,
    )


def daily_close_schedule(settings: Settings) -> ScheduleDefinition:
    """Return the schedule that builds yesterday in all day tables; it is provisional until then."""
    tables = day_table_names(settings)

    @schedule(
        CLOSE,
        name="daily_close_schedule",
        target=tables_job("daily_close", tables),
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Closes yesterday: all day tables from all events, then summaries and checks.",
    )
    def daily_close_schedule(context: ScheduleEvaluationContext) -> RunRequest:
        now = context.scheduled_execution_time.astimezone(settings.zone)
        yesterday = now.date() - timedelta(1)
        # A current day too gets a build that is later than its end, and of all its events.
        there = still_there(settings, tables)
        if not store_exists(settings):
            return close_request(yesterday, (), there)
        with read_store(settings) as store:
            # Of ticks that were missed, as while the computer was off, Dagster makes up the last.
            missed = read_provisional_days(store, there, settings.zone)
            return close_request(yesterday, [*read_added_days(store), *missed], there)

    return daily_close_schedule


def seal_schedule(settings: Settings) -> ScheduleDefinition:
    """Return the schedule that seals events in column files; a run is requested if it would."""

    @schedule(
        SEAL,
        name="seal_schedule",
        target=AssetSelection.assets(HISTORY),
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Seals past days, and what is much of today, in column files.",
    )
    def seal_schedule_(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        if not store_exists(settings):
            return SkipReason("There is no database yet.")
        now = context.scheduled_execution_time.astimezone(settings.zone)
        # A late purchase is not worth a run of its own: a few wait for the end of the hour.
        least = 1 if now.minute == SEAL_MINUTE else FILE_ROWS
        # Asked before a run is requested: the process of a run costs seconds, and mostly nothing is
        # due.
        is_due = needs_seal(settings, now.date(), least) or (
            now.minute == SEAL_MINUTE and needs_archive(settings, now.date())
        )
        if not is_due:
            return SkipReason("All that is to be sealed is sealed.")
        # It may wait for a build that takes hours. Further ones would take all slots of the queue.
        if has_unfinished_run(context.instance, "seal"):
            return SkipReason("A seal is under way.")
        return seal_request()

    return seal_schedule_


def _check_schedule(
    settings: Settings, name: str, cron: str, checks: tuple[str, ...], description: str
) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=f"{name}_check_schedule",
        cron_schedule=cron,
        job=define_asset_job(f"{name}_check", check_selection(settings, checks)),
        tags={REASON_TAG: name},
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description=description,
    )
