"""The upkeep of Dagster's instance: old finished runs are deleted with all that they left on disk.

Kept is whatever holds a partition's or a table's latest materialisation, so that nothing built ever
shows as missing. Ticks are purged by Dagster's own retention.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    JobDefinition,
    OpExecutionContext,
    RunsFilter,
    in_process_executor,
    job,
    op,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from orchestration.instance import dagster_home
from orchestration.requests import REASON_TAG
from streaming.logs import get_logger
from streaming.settings import Settings

DAY_SECONDS: Final = 86_400.0
KEPT_DAYS: Final = 30
PASSING_DAYS: Final = 1
PASSING: Final = frozenset({"current", "summary", "frequent"})
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
    needed = _needed(instance)
    runs = [run_id for run_id in _old(instance, now) if run_id not in needed]
    for run_id in runs:
        _delete(instance, home, run_id)
    _forget_checks(home, runs)
    for path in home.rglob("*.db"):
        _vacuum(path)
    done = Upkept(len(runs), max(before - _size(home), 0))
    get_logger().info("upkeep", runs=done.runs, freed_bytes=done.freed_bytes)
    return done


def _old(instance: DagsterInstance, now: float) -> Iterator[str]:
    """Give the finished runs that are older than they are kept."""
    cursor = None
    finished = RunsFilter(statuses=list(FINISHED_STATUSES))
    while records := instance.get_run_records(finished, limit=AT_ONCE, cursor=cursor):
        for record in records:
            run = record.dagster_run
            days = PASSING_DAYS if run.tags.get(REASON_TAG) in PASSING else KEPT_DAYS
            if record.end_time is not None and now - record.end_time > days * DAY_SECONDS:
                yield run.run_id
        cursor = records[-1].dagster_run.run_id


def _needed(instance: DagsterInstance) -> frozenset[str]:
    """Give the runs that hold the latest materialisation of a partition, or of a whole table."""
    runs: set[str] = set()
    for key in instance.get_asset_keys():
        latest = instance.fetch_materializations(key, limit=1).records
        runs.update(record.run_id for record in latest)
        found = instance.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION
        )
        runs.update(_runs_of(instance, key, sorted(found.values())))
    return frozenset(runs)


def _runs_of(instance: DagsterInstance, key: AssetKey, storage_ids: list[int]) -> Iterator[str]:
    for start in range(0, len(storage_ids), AT_ONCE):
        some = storage_ids[start : start + AT_ONCE]
        wanted = AssetRecordsFilter(key, storage_ids=some)
        for record in instance.fetch_materializations(wanted, limit=len(some)).records:
            yield record.run_id


def _delete(instance: DagsterInstance, home: Path, run_id: str) -> None:
    """Delete a run and what Dagster's own deletion leaves behind."""
    instance.delete_run(run_id)
    for path in (home / "history" / "runs").glob(f"{run_id}.db*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(home / "storage" / run_id, ignore_errors=True)
    for name in ("out", "err", "complete"):
        for path in (home / "storage").glob(f"{run_id}*.{name}"):
            path.unlink(missing_ok=True)


def _forget_checks(home: Path, run_ids: Iterable[str]) -> None:
    """Delete the rows of checks, which `delete_run` leaves."""
    index = home / "history" / "runs" / "index.db"
    if not index.exists():
        return
    with closing(sqlite3.connect(index, timeout=LOCK_SECONDS)) as connection, connection:
        connection.executemany(
            "DELETE FROM asset_check_executions WHERE run_id = ?",
            [(run_id,) for run_id in run_ids],
        )


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


def _size(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
