"""The statements that retention runs on the event log of Dagster's own instance.

Dagster has no call for any of them: `delete_run` leaves the rows of checks and every free page
behind, and an event that no run reported is never pruned. They are the same for its files of SQLite
and for a database of PostgreSQL. The tables of the event store are not touched here, and which runs
are old is decided in `orchestration.automation.retention`.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dagster._core.storage.event_log import SqlEventLogStorage
from sqlalchemy import text

from streaming.system.logs import get_logger

BUSY_SECONDS: Final = 5.0
"""How long a statement waits for a lock of Dagster's; its own transactions take milliseconds."""
VACUUM_SHARE: Final = 0.25
"""A file is vacuumed if at least this share of its pages is free: vacuuming writes the rest."""
VACUUM_BYTES: Final = 8 * 1024 * 1024
"""And if at least this much is free; the file of one run never gets there."""


def read_needed_runs(log: SqlEventLogStorage) -> frozenset[str]:
    """Return the runs that hold the latest materialisation of a partition or of a whole table."""
    with log.index_connection() as connection:
        return frozenset(run_id for (run_id,) in connection.execute(text(_LATEST_RUNS)))


def delete_check_rows(log: SqlEventLogStorage, run_ids: Iterable[str]) -> None:
    """Delete the check evaluations of runs, which Dagster's `delete_run` leaves."""
    if rows := [{"run_id": run_id} for run_id in run_ids]:
        with log.index_connection() as connection:
            connection.execute(text(_DELETE_CHECKS), rows)


def delete_runless_events(log: SqlEventLogStorage, before: float) -> None:
    """Delete events that no run reported before a time (epoch s), except the latest of each kind.

    Dagster keeps sensors' observations forever. On SQLite it copies them into the log of a run
    whose id is empty: the file `.db` beside the index.
    """
    for connected in (log.index_connection, lambda: log.run_connection("")):
        with connected() as connection:
            connection.execute(text(_DELETE_RUNLESS), {"before": _timestamp(before)})


def delete_log_rows(log: SqlEventLogStorage, before: float) -> None:
    """Delete what runs logged before a time (epoch s), but for events of assets.

    For a log in one database: on SQLite the log of each run is a file, which is deleted whole.
    """
    with log.index_connection() as connection:
        connection.execute(text(_DELETE_LOGS), {"before": _timestamp(before)})


def _timestamp(moment: float) -> str:
    # As Dagster writes a timestamp, because SQLite compares it as text.
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


def vacuum(path: Path) -> None:
    """Return the free pages of a file to the disk if that is worth it, unless it is locked."""
    # VACUUM cannot run in a transaction, so this connection begins none by itself.
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        pages, free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if free * page_bytes < VACUUM_BYTES or free < pages * VACUUM_SHARE:
            return
        try:
            connection.execute("VACUUM")
            # The smaller file stands in the write-ahead log while another process holds it open.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            # A run writes its log now; the next hour's retention comes to this file again.
            get_logger().info("not_vacuumed", file=path.name, error=str(error))


# A whole table has a NULL partition, and GROUP BY takes all NULLs for one.
_LATEST_RUNS: Final = """
SELECT DISTINCT run_id FROM event_logs WHERE id IN (
  SELECT max(id) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'
  GROUP BY asset_key, partition)
"""
_DELETE_CHECKS: Final = "DELETE FROM asset_check_executions WHERE run_id = :run_id"
_DELETE_RUNLESS: Final = """
DELETE FROM event_logs WHERE run_id = '' AND timestamp < :before AND id NOT IN (
  SELECT max(id) FROM event_logs WHERE run_id = ''
  GROUP BY asset_key, partition, dagster_event_type)
"""
_DELETE_LOGS: Final = """
DELETE FROM event_logs WHERE run_id <> '' AND timestamp < :before AND asset_key IS NULL
"""
