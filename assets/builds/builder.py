"""Build partitions: read the events once, compute each table, replace each, record failures.

Nothing of Dagster is here: assets, benchmarks and tests call this alike.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Connection, Engine

from assets.builds.audit import Audit
from assets.builds.column_proof import find_problems
from assets.builds.event_reader import (
    NO_FIGURES,
    EventRange,
    StreamFigures,
    count_customers,
    read_events,
)
from assets.builds.spool import spool
from assets.builds.sql_days import compute_sql_day
from assets.builds.writer import (
    AuditFailure,
    BuildBasis,
    ErasedMeanwhile,
    Rows,
    read_builds,
    record_failure,
    replace_partition,
)
from assets.tables.models import WHOLE, BuildFailure, TableBuild
from assets.tables.sql_transform import AnyTransform, SqlTransform
from assets.tables.transforms import Transform, compute, select_partition
from streaming.errors import PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.store.column_files import MARK_FILE, read_column_files
from streaming.store.column_store import ColumnStore, open_column_store
from streaming.store.connection import StoreConnection, StoreReader, open_reader
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.engine import open_engine
from streaming.store.erasure import erasure_ids
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.logs import get_logger

RETRY_SECONDS: Final = 90.0
"""How long a write is tried: longer than a consumer's transaction or a person's cleaning up."""
PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Outcome:
    """The result of building one partition of a table.

    `build` is the current one, None if there never was one; `before` is the one before it.
    `computed` says whether rows were computed now, `failure` why that failed. `seconds` is the
    duration, including the reading that it shares with the other tables of the partition.
    """

    transform: AnyTransform
    partition: str
    version: int
    build: TableBuild | None
    before: TableBuild | None = None
    computed: bool = False
    audit: Audit | None = None
    failure: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class _Computation:
    """The rows of the tables that were not current, or the error of their computation."""

    rows: Mapping[str, Rows | Exception]
    bases: Mapping[str, BuildBasis]
    builds: Mapping[str, TableBuild]
    figures: StreamFigures
    is_from_columns: bool


class _ColumnsDiffer(Exception):
    """Column files that were read are damaged or contradict the ledger; their problems by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class _ColumnsUnavailable(Exception):
    """The bucket of the column files does not answer."""


@dataclass(frozen=True)
class PartitionBuilder:
    """The database, opened by one run for reading and for writing.

    `spool` is the directory of the frames of a large partition. `column_store` has the column
    files; None reads the rows.
    """

    source: StoreReader
    engine: Engine
    zone: ZoneInfo
    run_id: str
    spool: Path
    column_store: ColumnStore | None

    def build(
        self, partition: str, transforms: Sequence[AnyTransform], *, force: bool = False
    ) -> list[Outcome]:
        """Build a partition of each table; return an outcome for each, in their order.

        Only what is not current is computed, unless `force`: from one reading of the events, in
        one snapshot, and written in one transaction. A table that fails keeps its figures, and the
        others are replaced. If the column files are wrong, they are marked, and the rows are read.
        If they cannot be read now, the rows are read. Raises `Unavailable` if the database does not
        answer for 90 s.
        """
        started = time.monotonic()
        while True:
            try:
                outcomes = self._build(partition, transforms, force=force)
            except ErasedMeanwhile:
                continue
            except _ColumnsDiffer as error:
                self._mark(error.problems)
                continue
            except _ColumnsUnavailable:
                return replace(self, column_store=None).build(partition, transforms, force=force)
            seconds = time.monotonic() - started
            return [replace(outcome, seconds=seconds) for outcome in outcomes]

    def _build(
        self, partition: str, transforms: Sequence[AnyTransform], *, force: bool
    ) -> list[Outcome]:
        computation = self._compute(partition, transforms, force=force)
        outcomes = [
            Outcome(transform, partition, computation.figures.version, build, build)
            for transform in transforms
            for build in [computation.builds.get(transform.table)]
        ]
        return self._write(outcomes, computation) if computation.rows else outcomes

    def _compute(
        self, partition: str, transforms: Sequence[AnyTransform], *, force: bool
    ) -> _Computation:
        day = None if partition == WHOLE else date.fromisoformat(partition)
        # Version, builds and events come from one snapshot: the rows stand for exactly this
        # version, and a purchase that is stored meanwhile leaves the partition stale.
        with self.source.snapshot() as store:
            events = read_events(store, day, day, self.zone, self.column_store)
            figures = events.total if day is None else events.days.get(day, NO_FIGURES)
            builds = read_builds(store, partition)
            erasures = len(erasure_ids(store))
            chosen = [t for t in transforms if force or not _is_current(t, figures, builds)]
            rows = self._compute_all(store, events, chosen, partition)
            bases = {
                transform.table: BuildBasis(
                    partition,
                    figures,
                    # The stream has no sums without guests: they are counted here, in the same
                    # snapshot.
                    figures if transform.guests else count_customers(store),
                    events.stream_offsets,
                    self.run_id,
                    erasures,
                )
                for transform in chosen
            }
        return _Computation(rows, bases, builds, figures, bool(events.files))

    def _compute_all(
        self,
        store: StoreConnection,
        events: EventRange,
        transforms: Sequence[AnyTransform],
        partition: str,
    ) -> dict[str, Rows | Exception]:
        """Compute the tables of the program together, and each table of a file by itself."""
        own = [each for each in transforms if isinstance(each, Transform)]
        rows: dict[str, Rows | Exception] = {}
        if own:
            rows |= self._compute_rows(store, events, own, partition)
        for each in transforms:
            if isinstance(each, SqlTransform):
                try:
                    rows[each.table] = compute_sql_day(store, each, partition, events, self.zone)
                except PurchasesError as error:
                    rows[each.table] = error
        return rows

    def _compute_rows(
        self,
        store: StoreConnection,
        events: EventRange,
        transforms: Sequence[Transform],
        partition: str,
    ) -> dict[str, pl.DataFrame | Exception]:
        tables = [transform.table for transform in transforms]
        try:
            selected = (select_partition(frame, partition, self.zone) for frame in events.frames)
            sealed = events.sealed
            if len(sealed) == 1:
                # One frame is in memory at a time anyway, and so its file is read only once.
                sealed = [sealed[0].collect().lazy()]
            with spool(selected, self.spool) as parts:
                frames = compute([*sealed, *parts], transforms, partition)
        except Exception as error:
            if events.files:
                self._require_sound_files(store, partition)
            # Whatever a transform raises is this partition's failure, not the run's.
            return dict.fromkeys(tables, error)
        return dict(zip(tables, frames, strict=True))

    def _write(self, outcomes: Sequence[Outcome], computation: _Computation) -> list[Outcome]:
        """Write in one transaction; retry while the database is locked or its disk is full."""
        deadline = Deadline.after(RETRY_SECONDS)
        while True:
            try:
                with self.engine.begin() as connection:
                    return [
                        self._write_table(connection, outcome, computation) for outcome in outcomes
                    ]
            except Unavailable:
                if deadline.is_over():
                    raise
                time.sleep(PAUSE_SECONDS)

    def _write_table(
        self, connection: Connection, outcome: Outcome, computation: _Computation
    ) -> Outcome:
        rows = computation.rows.get(outcome.transform.table)
        if rows is None:
            return outcome
        if isinstance(rows, Exception):
            return self._fail(connection, outcome, rows)
        basis = computation.bases[outcome.transform.table]
        try:
            replacement = replace_partition(connection, outcome.transform, rows, basis)
        except (Unavailable, ErasedMeanwhile):
            # The whole transaction is retried: no table of the partition is at fault.
            raise
        except Exception as error:
            if computation.is_from_columns:
                with self.source.snapshot() as store:
                    self._require_sound_files(store, outcome.partition)
            return self._fail(connection, outcome, error)
        return replace(
            outcome,
            build=replacement.build,
            before=replacement.before,
            computed=replacement.audit is not None,
            audit=replacement.audit,
        )

    def _require_sound_files(self, store: StoreConnection, partition: str) -> None:
        """Raise `_Columns…` if column files may be why a partition failed."""
        if self.column_store is None:
            return
        day = None if partition == WHOLE else date.fromisoformat(partition)
        days = (day, day)
        try:
            problems = find_problems(store, self.column_store, self.zone, days, contents=True)
        except Unavailable as error:
            raise _ColumnsUnavailable from error
        listed = read_column_files(store, day, day)
        known = {file.name for files in listed.values() for file in files if file.problem}
        if problems.keys() - known:
            raise _ColumnsDiffer(problems)

    def _mark(self, problems: Mapping[str, str]) -> None:
        with self.engine.begin() as connection:
            for name, problem in problems.items():
                connection.exec_driver_sql(MARK_FILE, (problem, name))

    def _fail(self, connection: Connection, outcome: Outcome, error: Exception) -> Outcome:
        """Record a failure; return the outcome with it."""
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
        audit = error.audit if isinstance(error, AuditFailure) else None
        return replace(outcome, computed=True, audit=audit, failure=reason)


@contextmanager
def open_builder(settings: Settings, run_id: str) -> Iterator[PartitionBuilder]:
    """Open the database for one run that builds.

    Raises what `open_reader` does, and `Mismatch` if the deployment has other settings.
    """
    with closing(open_reader(settings)) as source:
        with source.snapshot() as store:
            recorded = recorded_deployment(store)
        if recorded is not None:
            require_same_deployment(recorded, settings, settings.database_path)
        engine = open_engine(settings)
        try:
            spool_directory = Home(settings.home).spool
            column_store = _open_answering(settings)
            yield PartitionBuilder(
                source, engine, settings.zone, run_id, spool_directory, column_store
            )
        finally:
            engine.dispose()


def _open_answering(settings: Settings) -> ColumnStore | None:
    """Return the store of column files, or None if a bucket does not answer: rows are read then."""
    column_store = open_column_store(settings)
    try:
        column_store.has("answers")
    except Unavailable as error:
        # Asked once, because a year has hundreds of partitions, and each would wait.
        get_logger().warning("columns_unavailable", reason=str(error))
        return None
    return column_store


def _is_current(
    transform: AnyTransform, figures: StreamFigures, builds: Mapping[str, TableBuild]
) -> bool:
    build = builds.get(transform.table)
    if build is None:
        return False
    return (build.version, build.code_version) == (figures.version, transform.code_version)
