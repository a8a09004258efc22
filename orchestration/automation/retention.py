"""The upkeep of Dagster's instance: old finished runs are deleted with all that they left on disk.

Of a run that holds a partition's or a table's latest materialisation only the log goes, so that
nothing built ever shows as missing. Ticks are purged by Dagster's own retention.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dagster import (
    DagsterInstance,
    DagsterRun,
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

from orchestration.automation.run_requests import REASON_TAG
from orchestration.instance import dagster_home
from orchestration.local.dagster_processes import LOG_BYTES_KEPT
from streaming.settings import Settings
from streaming.system.logs import get_logger

DAY_SECONDS: Final = 86_400.0
KEPT_DAYS: Final = 30
PASSING_DAYS: Final = 1
MOST_PASSING: Final = 100
PASSING: Final = frozenset({"late", "current", "summary", "frequent", "upkeep"})
AT_ONCE: Final = 500
FREE_SHARE: Final = 0.25
FREE_BYTES: Final = 8 * 1024 * 1024
LOCK_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Upkept:
    """How many runs were deleted, and how many bytes the files became smaller."""

    runs: int
    freed_bytes: int


def upkeep_job(settings: Settings) -> JobDefinition:
    """Give the job that does the upkeep."""

    @op(name="delete_old_runs")
    def delete_old_runs(context: OpExecutionContext) -> None:
        done = upkeep(settings, context.instance, time.time())
        context.log.info("%d runs deleted, %d bytes freed", done.runs, done.freed_bytes)

    @job(
        name="upkeep",
        executor_def=in_process_executor,
        description="Deletes old runs that hold nothing current, and gives their space back.",
    )
    def upkeep_job_() -> None:
        delete_old_runs()

    return upkeep_job_


def upkeep(settings: Settings, instance: DagsterInstance, now: float) -> Upkept:
    """Delete what is old at `now` (epoch s) and not needed, and vacuum what became hollow."""
    home = dagster_home(settings.home)
    before = _size(home)
    finished = list(_finished(instance))
    runs = _passed(finished, now) - _needed(home)
    for run_id in runs:
        instance.delete_run(run_id)
    for run_id in runs | _ended(finished, now - KEPT_DAYS * DAY_SECONDS):
        _forget_log(home, run_id)
    _forget_checks(home, runs)
    _forget_reports(home, now - KEPT_DAYS * DAY_SECONDS)
    for path in home.rglob("*.db"):
        _vacuum(path)
    for path in home.glob("*.log"):
        _turn_over(path)
    done = Upkept(len(runs), max(before - _size(home), 0))
    get_logger().info("upkeep", runs=done.runs, freed_bytes=done.freed_bytes)
    return done


def _passed(finished: Sequence[RunRecord], now: float) -> set[str]:
    """Give the runs that are kept no longer, from all that are finished, newest first.

    Of runs that come all the time, such as a late event's, only the newest are kept if they
    succeeded: where one comes every minute, a month of them would be gigabytes.
    """
    passing = [record for record in finished if _passes(record.dagster_run)]
    return {
        *_ended(finished, now - KEPT_DAYS * DAY_SECONDS),
        *_ended(passing, now - PASSING_DAYS * DAY_SECONDS),
        *_ended(passing[MOST_PASSING:], now),
    }


def _passes(run: DagsterRun) -> bool:
    return run.status is DagsterRunStatus.SUCCESS and run.tags.get(REASON_TAG) in PASSING


def _ended(finished: Iterable[RunRecord], before: float) -> set[str]:
    return {
        r.dagster_run.run_id for r in finished if r.end_time is not None and r.end_time < before
    }


def _finished(instance: DagsterInstance) -> Iterator[RunRecord]:
    """Give the finished runs, newest first."""
    cursor = None
    finished = RunsFilter(statuses=list(FINISHED_STATUSES))
    while records := instance.get_run_records(finished, limit=AT_ONCE, cursor=cursor):
        yield from records
        cursor = records[-1].dagster_run.run_id


def _needed(home: Path) -> frozenset[str]:
    """Give the runs that hold the latest materialisation of a partition, or of a whole table."""
    with closing(sqlite3.connect(_index(home), timeout=LOCK_SECONDS)) as connection:
        return frozenset(run_id for (run_id,) in connection.execute(_LATEST))


def _forget_log(home: Path, run_id: str) -> None:
    """Delete a run's own files: its log, and what its processes printed."""
    log = home / "history" / "runs" / f"{run_id}.db"
    if not log.exists():
        return
    for path in (log, log.with_suffix(".db-wal"), log.with_suffix(".db-shm")):
        path.unlink(missing_ok=True)
    shutil.rmtree(home / "storage" / run_id, ignore_errors=True)
    for name in ("out", "err", "complete"):
        for path in (home / "storage").glob(f"{run_id}*.{name}"):
            path.unlink(missing_ok=True)


def _forget_checks(home: Path, run_ids: Iterable[str]) -> None:
    """Delete the rows of checks, which `delete_run` leaves."""
    rows = [(run_id,) for run_id in run_ids]
    _change(_index(home), "DELETE FROM asset_check_executions WHERE run_id = ?", rows)


def _forget_reports(home: Path, before: float) -> None:
    """Delete what no run reported, such as a sensor's observations, but for the latest of each.

    Dagster keeps them for ever, and a copy in the log of a run without a name.
    """
    text = f"{datetime.fromtimestamp(before, UTC):%Y-%m-%d %H:%M:%S}"
    for path in (_index(home), _index(home).with_name(".db")):
        if path.exists():
            _change(path, _DELETE_REPORTS, [(text,)])


def _index(home: Path) -> Path:
    """Give the file of the events of all tables."""
    return home / "history" / "runs" / "index.db"


def _change(path: Path, statement: str, parameters: list[tuple[str]]) -> None:
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection, connection:
        connection.executemany(statement, parameters)


def _vacuum(path: Path) -> None:
    """Give free pages back to the disk where that is worth it, and nobody has the file locked."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if free * size < FREE_BYTES or free < pages * FREE_SHARE:
            return
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            get_logger().info("not_vacuumed", file=path.name, error=str(error))


def _turn_over(log: Path) -> None:
    """Let a long log begin anew; the process that writes it appends, so its file must stay."""
    if log.stat().st_size > LOG_BYTES_KEPT:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def _size(home: Path) -> int:
    size = 0
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):  # SQLite's own files come and go
            size += path.stat().st_size
    return size


_LATEST: Final = """
SELECT DISTINCT run_id FROM event_logs WHERE id IN (
  SELECT max(id) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'
  GROUP BY asset_key, partition)
"""
_DELETE_REPORTS: Final = """
DELETE FROM event_logs WHERE run_id = '' AND timestamp < ? AND id NOT IN (
  SELECT max(id) FROM event_logs WHERE run_id = ''
  GROUP BY asset_key, partition, dagster_event_type)
"""
