"""What a run that died leaves behind: the partitions that it did not build, recorded as failed.

A failure that the run could still record itself is in `build`.
"""

import time
from dataclasses import dataclass
from datetime import date

from assets.builds.staleness import Difference, read_differences, read_failures
from assets.builds.writer import record_failure
from assets.tables.models import WHOLE, BuildFailure
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.engine import open_engine


@dataclass(frozen=True)
class DiedRun:
    """A run that ended without an end, for which tables, and from which day to which.

    The days are None where it was for whole tables.
    """

    run_id: str
    reason: str
    tables: frozenset[str]
    first: date | None = None
    last: date | None = None


def record_died(settings: Settings, run: DiedRun) -> int:
    """Record that a run died before it built what differs; give how many partitions that are."""
    with read_store(settings) as store:
        found = read_differences(store)
    left = [
        difference
        for difference in found
        if difference.table in run.tables
        and _within(difference.partition, run.first, run.last)
        and not (difference.failure and difference.failure.run_id == run.run_id)
    ]
    if left:
        engine = open_engine(settings)
        try:
            with engine.begin() as connection:
                for difference in left:
                    record_failure(connection, _failure(difference, run))
        finally:
            engine.dispose()
    return len(left)


def _within(partition: str, first: date | None, last: date | None) -> bool:
    if first is None or last is None:
        return partition == WHOLE
    return partition != WHOLE and first <= date.fromisoformat(partition) <= last


def _failure(difference: Difference, run: DiedRun) -> BuildFailure:
    return BuildFailure(
        table_name=difference.table,
        partition=difference.partition,
        version=difference.version,
        attempts=1,
        reason=run.reason,
        run_id=run.run_id,
        failed_at=time.time_ns() // 1000,
    )


def failures_of(settings: Settings, run_id: str) -> dict[str, str]:
    """Give the reasons of what a run failed at, by table and partition."""
    with read_store(settings) as store:
        return {
            f"{table} of {partition}": failure.reason
            for (table, partition), failure in sorted(read_failures(store).items())
            if failure.run_id == run_id
        }
