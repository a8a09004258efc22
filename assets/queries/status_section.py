"""How the tables stand against the stream, for `status`: days behind, and builds that failed.

Plain SQL over the few rows that say it, without the tables' models: a status must not wait for
those. What is built when is decided in `staleness`.
"""

from typing import Final

from streaming.settings import Settings
from streaming.status.model import Problem, Section
from streaming.store.connection import StoreConnection, read_store

NAMED: Final = 3
DAYS_BEHIND: Final = (
    "SELECT count(*) FROM day_ledger l WHERE NOT EXISTS (SELECT 1 FROM table_build b"
    " WHERE b.partition = CAST(l.day AS TEXT)) OR EXISTS (SELECT 1 FROM table_build b"
    " WHERE b.partition = CAST(l.day AS TEXT) AND b.version <> l.version)"
)
FAILED: Final = (
    "SELECT table_name, partition, attempts, reason FROM build_failure ORDER BY failed_at DESC"
)


def standing(settings: Settings) -> Section:
    """Give how many days are behind and how many builds failed, and the last of these in words.

    Raises what `read_store` does.
    """
    with read_store(settings) as store:
        return _section(store)


def _section(store: StoreConnection) -> Section:
    behind = int(store.execute(DAYS_BEHIND).fetchone()[0])
    failed = store.execute(FAILED).fetchall()
    problems = [
        Problem(
            "build_failed",
            f"{table} of {partition} was not built, after {attempts} attempts: {reason}",
            "Its old figures stand. It is tried again; see its run and its audit in Dagster.",
        )
        for table, partition, attempts, reason in failed[:NAMED]
    ]
    return Section({"days_behind": behind, "failed_builds": len(failed)}, tuple(problems))
