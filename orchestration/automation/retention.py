"""Retention of Dagster's instance: old finished runs are deleted with all that they left.

A run may hold the latest materialisation of a partition or table. Of such a run only the log is
deleted, so that nothing that is built shows as missing. Dagster's own retention purges ticks. The
statements on Dagster's storage are in `assets.queries.dagster_storage`.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    JobDefinition,
    OpExecutionContext,
    RunRecord,
    RunsFilter,
    in_process_executor,
    job,
    op,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

from assets.queries.dagster_storage import (
    delete_check_rows,
    delete_log_rows,
    delete_runless_events,
    read_needed_runs,
    vacuum,
)
from orchestration.automation.run_requests import REASON_TAG
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.logs import get_logger

DAY_SECONDS: Final = 86_400.0
RUN_DAYS: Final = 30
"""How long a finished run stays: long enough to look back over a month's closes."""
FREQUENT_DAYS: Final = 1
"""How long a successful run of a frequent reason stays."""
FREQUENT_RUNS: Final = 100
"""And how many of them at most, as of those that failed: one a minute, of 273 KB, would be 12 GB in
a month."""
FREQUENT_REASONS: Final = frozenset({"late", "current", "summary", "frequent", "upkeep", "seal"})
PAGE_RUNS: Final = 500
"""Records read at once; only memory depends on it."""


@dataclass(frozen=True)
class RetentionResult:
    """How many runs were deleted, and by how many bytes the files became smaller."""

    runs: int
    freed_bytes: int


def upkeep_job(settings: Settings) -> JobDefinition:
    """Return the job that applies the retention."""

    @op(name="delete_old_runs")
    def delete_old_runs(context: OpExecutionContext) -> None:
        result = apply_retention(settings, context.instance, time.time())
        context.log.info("%d runs deleted, %d bytes freed", result.runs, result.freed_bytes)

    # Dagster names a job after its function unless told; the Python name must differ from this one.
    @job(
        name="upkeep",
        executor_def=in_process_executor,
        description="Deletes old runs that hold nothing current, and returns their disk space.",
    )
    def upkeep_job_() -> None:
        delete_old_runs()

    return upkeep_job_


def apply_retention(settings: Settings, instance: DagsterInstance, now: float) -> RetentionResult:
    """Delete what is old at `now` (epoch s) and not needed, then vacuum files with free pages.

    Raises `PurchasesError` if Dagster's storage is one that has no SQL.
    """
    home, log, old = Home(settings.home).dagster, instance.event_log_storage, RUN_DAYS * DAY_SECONDS
    if not isinstance(log, SqlEventLogStorage):
        raise PurchasesError(
            f"Old runs in Dagster's {type(log).__name__} are its administrator's to delete."
        )
    bytes_before = _read_size(home)
    # All before the first is deleted, because the cursor of the reading is a run.
    finished = list(_read_finished_runs(instance))
    # Deleting a run deletes its materialisations: partitions would show as missing.
    deleted = _expired_runs(finished, now) - read_needed_runs(log)
    for run_id in deleted:
        instance.delete_run(run_id)
    for run_id in deleted | _list_runs_before(finished, now - old):
        # Of runs that stay for their materialisations the files go too.
        _delete_run_files(home, run_id)
    delete_check_rows(log, deleted)
    delete_runless_events(log, now - old)
    if not isinstance(log, SqliteEventLogStorage):
        delete_log_rows(log, now - old)
    for path in home.rglob("*.db"):
        # A deletion only leaves free pages in a file; the disk gets nothing back without this.
        vacuum(path)
    result = RetentionResult(len(deleted), max(bytes_before - _read_size(home), 0))
    get_logger().info("upkeep", runs=result.runs, freed_bytes=result.freed_bytes)
    return result


def _expired_runs(finished: Sequence[RunRecord], now: float) -> set[str]:
    """Return the ids of runs past their time, from all finished ones, newest first.

    Of runs that come all the time, such as a late purchase's, only the newest stay: of those that
    succeeded for a day, of the others as long as any run.
    """
    frequent = [run for run in finished if run.dagster_run.tags.get(REASON_TAG) in FREQUENT_REASONS]
    succeeded = [run for run in frequent if run.dagster_run.status is DagsterRunStatus.SUCCESS]
    others = [run for run in frequent if run.dagster_run.status is not DagsterRunStatus.SUCCESS]
    return {
        *_list_runs_before(finished, now - RUN_DAYS * DAY_SECONDS),
        *_list_runs_before(succeeded, now - FREQUENT_DAYS * DAY_SECONDS),
        *_list_runs_before(succeeded[FREQUENT_RUNS:], now),
        *_list_runs_before(others[FREQUENT_RUNS:], now),
    }


def _list_runs_before(finished: Iterable[RunRecord], moment: float) -> set[str]:
    return {
        record.dagster_run.run_id
        for record in finished
        if record.end_time is not None and record.end_time < moment
    }


def _read_finished_runs(instance: DagsterInstance) -> Iterator[RunRecord]:
    """Read the finished runs, newest first."""
    cursor = None
    finished = RunsFilter(statuses=list(FINISHED_STATUSES))
    while records := instance.get_run_records(finished, limit=PAGE_RUNS, cursor=cursor):
        yield from records
        cursor = records[-1].dagster_run.run_id


def _delete_run_files(home: Path, run_id: str) -> None:
    """Delete a run's own files, which `delete_run` leaves: its log, and its processes' output."""
    log = home / "history" / "runs" / f"{run_id}.db"
    # Runs that stay for their materialisation come here every hour, and have files only once.
    if not log.exists() and not (home / "storage" / run_id).exists():
        return
    for path in (log, log.with_suffix(".db-wal"), log.with_suffix(".db-shm")):
        path.unlink(missing_ok=True)
    shutil.rmtree(home / "storage" / run_id, ignore_errors=True)
    for suffix in ("out", "err", "complete"):
        for path in (home / "storage").glob(f"{run_id}*.{suffix}"):
            path.unlink(missing_ok=True)


def _read_size(home: Path) -> int:
    size = 0
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):  # SQLite's own files come and go
            size += path.stat().st_size
    return size
