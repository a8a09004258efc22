"""Building partitions: read once, compute each table, replace each; what failed is recorded.

No Dagster here: the assets, the benchmarks and the tests call this alike.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Connection, Engine

from assets.builds.audit import Audit
from assets.builds.event_reader import NOTHING, Counted, History, count_customers, read_history
from assets.builds.writer import AuditFailed, Basis, read_builds, record_failure, replace_partition
from assets.tables.models import WHOLE, BuildFailure, TableBuild
from assets.tables.transforms import Transform, compute
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.connection import StoreReader, open_reader
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.engine import open_engine

PATIENCE_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Outcome:
    """What became of a partition of a table.

    `build` is the one that stands now, None where it never was built; `before` the one that stood
    before it. `worked` says whether it was computed, `failure` why it failed; `seconds` is how long
    it took, with the reading that it shares with the other tables.
    """

    transform: Transform
    partition: str
    version: int
    build: TableBuild | None
    before: TableBuild | None = None
    worked: bool = False
    audit: Audit | None = None
    failure: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class _Computed:
    """The rows of the tables that were not current, or the error that stood in their way."""

    rows: Mapping[str, pl.DataFrame | Exception]
    bases: Mapping[str, Basis]
    standing: Mapping[str, TableBuild]
    counted: Counted


@dataclass(frozen=True)
class Workshop:
    """The database, opened by one run for reading and for writing."""

    source: StoreReader
    engine: Engine
    zone: ZoneInfo
    run_id: str

    def build(
        self, partition: str, transforms: Sequence[Transform], *, force: bool = False
    ) -> list[Outcome]:
        """Build a partition of each table; give what became of each.

        Only what is not current is computed, unless `force`: from one reading of the events, in
        one snapshot, and written in one transaction. A table that fails keeps its figures, and the
        others are replaced. Raises `Unavailable` where the database does not answer for 90 s.
        """
        started = time.monotonic()
        computed = self._compute(partition, transforms, force=force)
        outcomes = [
            Outcome(transform, partition, computed.counted.version, standing, standing)
            for transform in transforms
            for standing in [computed.standing.get(transform.table)]
        ]
        if computed.rows:
            outcomes = self._write(outcomes, computed)
        seconds = time.monotonic() - started
        return [replace(outcome, seconds=seconds) for outcome in outcomes]

    def _compute(
        self, partition: str, transforms: Sequence[Transform], *, force: bool
    ) -> _Computed:
        day = None if partition == WHOLE else date.fromisoformat(partition)
        with self.source.snapshot() as store:
            history = read_history(store, day, day, self.zone)
            counted = history.total if day is None else history.days.get(day, NOTHING)
            standing = read_builds(store, partition)
            stale = [t for t in transforms if force or not _current(t, counted, standing)]
            rows = self._rows(history, stale, partition) if stale else {}
            bases = {
                transform.table: Basis(
                    partition,
                    counted,
                    counted if transform.guests else count_customers(store),
                    history.stream_offsets,
                    self.run_id,
                )
                for transform in stale
            }
        return _Computed(rows, bases, standing, counted)

    def _rows(
        self, history: History, stale: Sequence[Transform], partition: str
    ) -> dict[str, pl.DataFrame | Exception]:
        tables = [transform.table for transform in stale]
        try:
            frames = compute(history.frames, stale, partition, self.zone)
        except Exception as error:
            return dict.fromkeys(tables, error)
        return dict(zip(tables, frames, strict=True))

    def _write(self, outcomes: Sequence[Outcome], computed: _Computed) -> list[Outcome]:
        """Write in one transaction, again while the database is locked or its disk full."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self.engine.begin() as connection:
                    return [self._written(connection, outcome, computed) for outcome in outcomes]
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)

    def _written(self, connection: Connection, outcome: Outcome, computed: _Computed) -> Outcome:
        rows = computed.rows.get(outcome.transform.table)
        if rows is None:
            return outcome
        if isinstance(rows, Exception):
            return self._failed(connection, outcome, rows)
        basis = computed.bases[outcome.transform.table]
        try:
            done = replace_partition(connection, outcome.transform, rows, basis)
        except Unavailable:
            raise
        except Exception as error:
            return self._failed(connection, outcome, error)
        worked = done.audit is not None
        return replace(
            outcome, build=done.build, before=done.before, worked=worked, audit=done.audit
        )

    def _failed(self, connection: Connection, outcome: Outcome, error: Exception) -> Outcome:
        """Record the failure."""
        reason = str(error) or type(error).__name__
        record_failure(
            connection,
            BuildFailure(
                table_name=outcome.transform.table,
                partition=outcome.partition,
                version=outcome.version,
                attempts=1,
                reason=reason,
                run_id=self.run_id,
                failed_at=time.time_ns() // 1000,
            ),
        )
        found = error.audit if isinstance(error, AuditFailed) else None
        return replace(outcome, worked=True, audit=found, failure=reason)


@contextmanager
def workshop(settings: Settings, run_id: str) -> Iterator[Workshop]:
    """Open the database for one run that builds.

    Raises what `open_reader` does, and `Mismatch` where it was started with other settings.
    """
    with closing(open_reader(settings)) as source:
        with source.snapshot() as store:
            recorded = recorded_deployment(store)
        if recorded is not None:
            require_same_deployment(recorded, settings, settings.database_path)
        engine = open_engine(settings)
        try:
            yield Workshop(source, engine, settings.zone, run_id)
        finally:
            engine.dispose()


def _current(transform: Transform, counted: Counted, standing: Mapping[str, TableBuild]) -> bool:
    build = standing.get(transform.table)
    if build is None:
        return False
    return (build.version, build.code_version) == (counted.version, transform.code_version)
