"""Build failures of whole runs: the partitions that a dead run did not build, and a run's reasons.

A failure that the run itself could still record is in `builder`.
"""

import time
from dataclasses import dataclass
from datetime import date

from assets.builds.staleness import StalePartition, read_failures, read_stale_partitions
from assets.builds.writer import record_failure
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE, BuildFailure
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.engine import open_engine
from streaming.store.sql_tables import code_versions


@dataclass(frozen=True)
class DeadRun:
    """A run whose process ended before it did, with the tables and days that it was to build.

    `days` is None if it was for whole tables.
    """

    run_id: str
    reason: str
    tables: frozenset[str]
    days: DayRange | frozenset[date] | None = None


def record_dead_run(settings: Settings, run: DeadRun) -> int:
    """Record the stale partitions that a dead run did not build as failed; return how many."""
    with read_store(settings) as store:
        partitions = read_stale_partitions(store, code_versions(settings))
    # What this run failed at and recorded itself must not count as a second attempt, and what it
    # built may be stale again by events that came since.
    unbuilt = [
        stale
        for stale in partitions
        if stale.table in run.tables
        and _is_covered(stale.partition, run.days)
        and not (stale.failure and stale.failure.run_id == run.run_id)
        and stale.built_by != run.run_id
    ]
    if unbuilt:
        engine = open_engine(settings)
        try:
            with engine.begin() as connection:
                for stale in unbuilt:
                    record_failure(connection, _failure(stale, run))
        finally:
            engine.dispose()
    return len(unbuilt)


def _is_covered(partition: str, days: DayRange | frozenset[date] | None) -> bool:
    if days is None:
        return partition == WHOLE
    return partition != WHOLE and date.fromisoformat(partition) in days


def _failure(stale: StalePartition, run: DeadRun) -> BuildFailure:
    return BuildFailure(
        table_name=stale.table,
        partition=stale.partition,
        version=stale.version,
        attempts=1,
        reason=run.reason,
        run_id=run.run_id,
        failed_at=time.time_ns() // 1000,
    )


def read_run_failures(settings: Settings, run_id: str) -> dict[str, str]:
    """Read the reasons of a run's build failures, by table and partition."""
    with read_store(settings) as store:
        return {
            f"{table} of {partition}": failure.reason
            for (table, partition), failure in sorted(read_failures(store).items())
            if failure.run_id == run_id
        }
