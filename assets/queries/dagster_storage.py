"""The statements that retention runs on the SQLite files of Dagster's own instance.

Dagster has no call for any of them: `delete_run` leaves the rows of checks and every free page
behind, and an event that no run reported is never pruned. The tables of the event store are not
touched here, and which runs are old is decided in `orchestration.automation.retention`.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streaming.system.logs import get_logger

BUSY_SECONDS: Final = 5.0
"""How long a statement waits for a lock of Dagster's; its own transactions take milliseconds."""
VACUUM_SHARE: Final = 0.25
"""A file is vacuumed if at least this share of its pages is free: vacuuming writes the rest."""
VACUUM_BYTES: Final = 8 * 1024 * 1024
"""And if at least this much is free; the file of one run never gets there."""


def event_index(dagster_home: Path) -> Path:
    """Return the file with the asset events of all runs."""
    return dagster_home / "history" / "runs" / "index.db"


def read_needed_runs(dagster_home: Path) -> frozenset[str]:
    """Return the runs that hold the latest materialisation of a partition or of a whole table."""
    with closing(sqlite3.connect(event_index(dagster_home), timeout=BUSY_SECONDS)) as connection:
        return frozenset(run_id for (run_id,) in connection.execute(_LATEST_RUNS))


def delete_check_rows(dagster_home: Path, run_ids: Iterable[str]) -> None:
    """Delete the check evaluations of runs, which Dagster's `delete_run` leaves."""
    _execute(event_index(dagster_home), _DELETE_CHECKS, [(run_id,) for run_id in run_ids])


def delete_runless_events(dagster_home: Path, before: float) -> None:
    """Delete events that no run reported before a time (epoch s), except the latest of each kind.

    Dagster keeps sensors' observations forever, and copies them into the log of a run whose id is
    empty: the file `.db` beside the index.
    """
    # As Dagster writes a timestamp, because SQLite compares it as text.
    text = f"{datetime.fromtimestamp(before, UTC):%Y-%m-%d %H:%M:%S}"
    index = event_index(dagster_home)
    for path in (index, index.with_name(".db")):
        if path.exists():
            _execute(path, _DELETE_RUNLESS, [(text,)])


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


def _execute(path: Path, statement: str, parameters: list[tuple[str]]) -> None:
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection, connection:
        connection.executemany(statement, parameters)


# A whole table has a NULL partition, and GROUP BY takes all NULLs for one.
_LATEST_RUNS: Final = """
SELECT DISTINCT run_id FROM event_logs WHERE id IN (
  SELECT max(id) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'
  GROUP BY asset_key, partition)
"""
_DELETE_CHECKS: Final = "DELETE FROM asset_check_executions WHERE run_id = ?"
_DELETE_RUNLESS: Final = """
DELETE FROM event_logs WHERE run_id = '' AND timestamp < ? AND id NOT IN (
  SELECT max(id) FROM event_logs WHERE run_id = ''
  GROUP BY asset_key, partition, dagster_event_type)
"""
