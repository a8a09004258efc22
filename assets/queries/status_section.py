"""The section `tables` of the status: days behind the stream, and failed builds.

Plain SQL without the tables' models: importing SQLModel takes longer than a status may. What is
stale for a run is in `builds.staleness`.
"""

from collections.abc import Sequence
from typing import Final

from streaming.settings import Settings
from streaming.status.collect import LOCK_SECONDS
from streaming.status.model import Problem, Section
from streaming.store.connection import StoreConnection, read_store
from streaming.store.sql_tables import PREFIX, read_sql_tables

MAX_PROBLEMS: Final = 3
"""Failed builds that are named; all of them are counted."""
ARCHIVED: Final = "SELECT CAST(day AS TEXT) FROM column_file WHERE archived > 0"
"""Days of which rows are in the archive: they are not built again of a `.sql` table."""
DAYS_BEHIND: Final = (
    # Grouped first: the key begins with the table, so each day would read through all builds.
    "SELECT count(*) FROM day_ledger l LEFT JOIN (SELECT b.partition, min(b.version) AS lowest,"
    " max(b.version) AS highest FROM table_build b WHERE {is_current} GROUP BY b.partition) d"
    " ON d.partition = CAST(l.day AS TEXT) WHERE d.partition IS NULL OR d.lowest <> l.version"
    " OR d.highest <> l.version"
)
FAILED: Final = (
    "SELECT table_name, partition, attempts, reason FROM build_failure b WHERE {is_current}"
    " ORDER BY failed_at DESC"
)


def read_tables_section(settings: Settings) -> Section:
    """Read how many days are behind and how many builds failed, with the last failures as problems.

    Raises what `read_store` does.
    """
    files = read_sql_tables(settings)
    wrong = [
        Problem(
            "sql_table_wrong",
            problem,
            "Its days are not built, and all else goes on. Correct the file, or remove it.",
        )
        for problem in files.problems.values()
    ]
    with read_store(settings, LOCK_SECONDS) as store:
        return _section(store, wrong, [table.name for table in files.tables])


def _section(store: StoreConnection, wrong: Sequence[Problem], files: Sequence[str]) -> Section:
    # What is left of a table whose file was removed is never built again.
    names = {f"file{number}": name for number, name in enumerate(files)}
    own = f"substr(b.table_name, 1, {len(PREFIX)}) <> '{PREFIX}'"
    of_files = " OR ".join(["1 = 0", *(f"b.table_name = :{name}" for name in names)])
    is_current = f"({own} OR ({of_files}) AND b.partition NOT IN ({ARCHIVED}))"
    behind = int(store.execute(DAYS_BEHIND.format(is_current=is_current), names).fetchone()[0])
    failed = store.execute(FAILED.format(is_current=is_current), names).fetchall()
    problems = [
        Problem(
            "build_failed",
            f"{table} of {partition} failed to build, after {attempts} attempts: {reason}",
            "Its old figures stay. It is tried again; see its run and its audit in Dagster.",
        )
        for table, partition, attempts, reason in failed[:MAX_PROBLEMS]
    ]
    return Section(
        {"days_behind": behind, "failed_builds": len(failed), "wrong_sql_tables": len(wrong)},
        (*wrong[:MAX_PROBLEMS], *problems),
    )
