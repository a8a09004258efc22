"""Build partitions: compute each table, replace each, record failures.

How rows are computed is in `computation`. Nothing of Dagster is here: assets, benchmarks and tests
call this alike.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

from assets.builds.audit import Audit
from assets.builds.computation import (
    BuildContext,
    BuildRequest,
    ColumnsDiffer,
    ColumnsUnavailable,
    Computation,
    NotAdded,
    compute_piece,
    require_sound_files,
)
from assets.builds.event_reader import read_ledger
from assets.builds.locks import is_run_alive
from assets.builds.pieces import group_days
from assets.builds.writer import (
    AuditFailure,
    ChangedMeanwhile,
    record_builds,
    record_failure,
    replace_partition,
    require_same_erasures,
)
from assets.tables.models import BuildFailure, TableBuild
from assets.tables.sql_transform import AnyTransform
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.build_rows import lock_partitions
from streaming.store.column_files import MARK_FILE, require_column_files
from streaming.store.column_store import ColumnStore, has_column_files, open_column_store
from streaming.store.connection import StoreConnection, StoreReader, open_reader
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.engine import lock_figures, open_engine
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.logs import get_logger

RETRY_SECONDS: Final = 90.0
"""How long reading and writing are tried: longer than a consumer's transaction, the restart of a
server, or a person's cleaning up."""
PAUSE_SECONDS: Final = 0.5
"""Between two tries. A try waits for the lock itself, so this is for errors that come at once."""
T = TypeVar("T")


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

    @property
    def is_written(self) -> bool:
        """Whether rows were written, and are sound."""
        return self.audit is not None and self.failure is None


class _ProofNeeded(Exception):
    """A table from column files cannot be written: these may be why, so they are to be proven."""


@dataclass(frozen=True)
class PartitionBuilder:
    """The database, opened by one run for reading and for writing."""

    source: StoreReader
    engine: Engine
    context: BuildContext

    def build(
        self, partition: str, transforms: Sequence[AnyTransform], *, force: bool = False
    ) -> list[Outcome]:
        """Build a partition of each table; return an outcome for each, in their order.

        Only what is not current is computed, unless `force`: from one reading of the events, in
        one snapshot, and written in one transaction. New events are added to the last build,
        if that is certain to be right; with `force` all are computed, and compared with rows that
        were added to. A table that fails keeps its figures, and the others are replaced. If the
        column files are wrong, they are marked, and the rows are read. If they cannot be read now,
        the rows are read. Raises `Unavailable` if the database does not answer for 90 s.
        """
        return self.build_days([partition], transforms, force=force)

    def build_days(
        self, days: Sequence[str], transforms: Sequence[AnyTransform], *, force: bool = False
    ) -> list[Outcome]:
        """Build a piece of `group_days`: each day as `build` does, and all in one transaction.

        Return the outcomes of the first day in the order of the tables, then of the second, and so
        on.
        """
        started, not_added = time.monotonic(), None
        # Each repetition is of another cause: what changed is read again, a marked file is read no
        # more, and nothing is added twice.
        while True:
            try:
                outcomes = self._build(
                    [
                        BuildRequest(day, transforms, force, time.process_time(), not_added)
                        for day in days
                    ]
                )
            except ChangedMeanwhile:
                continue
            except ColumnsDiffer as error:
                self._mark(error.problems)
                continue
            except ColumnsUnavailable:
                context = replace(self.context, column_store=None)
                return replace(self, context=context).build_days(days, transforms, force=force)
            except NotAdded as error:
                # Of one day: those of a longer piece are too small to be added to.
                not_added = str(error)
                continue
            seconds = (time.monotonic() - started) / len(days)
            return [replace(outcome, seconds=seconds) for outcome in outcomes]

    def group_days(self, days: Sequence[str]) -> list[list[str]]:
        """Cut partitions, in their order, into pieces for `build_days`."""
        with self.source.snapshot() as store:
            return group_days(days, read_ledger(store))

    def _build(self, requests: Sequence[BuildRequest]) -> list[Outcome]:
        begun = time.process_time()
        computations = self._compute(requests)
        if len(requests) > 1:
            computations = _share_time(computations, begun)
        pairs = [
            (
                Outcome(transform, request.partition, computation.figures.version, build, build),
                computation,
            )
            for request, computation in zip(requests, computations, strict=True)
            for transform in request.transforms
            for build in [computation.builds.get(transform.table)]
        ]
        if any(computation.rows for computation in computations):
            return self._write(pairs)
        return [outcome for outcome, _ in pairs]

    def _compute(self, requests: Sequence[BuildRequest]) -> list[Computation]:
        """Compute in one snapshot; again, if the server of the database ended it."""

        def compute() -> list[Computation]:
            with self.source.snapshot() as store:
                return compute_piece(store, self.context, requests)

        return _retry(compute)

    def _write(
        self, pairs: Sequence[tuple[Outcome, Computation]], *, are_files_proven: bool = False
    ) -> list[Outcome]:
        """Write in one transaction; retry while the database is locked or its disk is full.

        Before the failure of a table from column files is recorded, they are proven.
        """
        bases = chain.from_iterable(computation.bases.values() for _, computation in pairs)
        erasures = {basis.erasures for basis in bases}

        def write() -> list[Outcome]:
            with self.engine.begin() as connection:
                lock_partitions(connection, {outcome.partition for outcome, _ in pairs})
                require_same_erasures(connection, erasures)
                outcomes = [
                    self._write_table(connection, *pair, are_files_proven=are_files_proven)
                    for pair in pairs
                ]
                written = [each.build for each in outcomes if each.build and each.is_written]
                record_builds(connection, written)
                return outcomes

        try:
            return _retry(write)
        except _ProofNeeded:
            # Outside the transaction, for which others wait: to read a whole history takes minutes.
            self._prove_files([computation for _, computation in pairs])
            return self._write(pairs, are_files_proven=True)

    def _prove_files(self, computations: Sequence[Computation]) -> None:
        """Raise `Columns…` if files that were read are wrong: rows are read instead then."""
        days = dict.fromkeys(each.day for each in computations if each.is_from_columns)

        def prove() -> None:
            with self.source.snapshot() as store:
                for day in days:
                    require_sound_files(store, self.context, day)

        _retry(prove)

    def _write_table(
        self,
        connection: Connection,
        outcome: Outcome,
        computation: Computation,
        *,
        are_files_proven: bool,
    ) -> Outcome:
        rows = computation.rows.get(outcome.transform.table)
        if rows is None:
            return outcome
        if isinstance(rows, Exception):
            return self._fail(connection, outcome, rows)
        basis = computation.bases[outcome.transform.table]
        try:
            replacement = replace_partition(connection, outcome.transform, rows, basis)
        except (Unavailable, ChangedMeanwhile):
            # The whole transaction is retried: no table of the partition is at fault.
            raise
        except Exception as error:
            if basis.added_to is not None:
                raise NotAdded(f"The added rows could not be written: {error}") from error
            if computation.is_from_columns and not are_files_proven:
                raise _ProofNeeded from error
            return self._fail(connection, outcome, error)
        return replace(
            outcome,
            build=replacement.build,
            before=replacement.before,
            computed=replacement.audit is not None,
            audit=replacement.audit,
        )

    def _mark(self, problems: Mapping[str, str]) -> None:
        with self.engine.begin() as connection:
            # The consumer forgets days of files under this lock: neither waits for the other then.
            lock_figures(connection)
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
                run_id=self.context.run_id,
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
            column_store = _open_answering(settings, store)
        if recorded is not None:
            require_same_deployment(recorded, settings, settings.database)
        engine = open_engine(settings)
        try:
            context = BuildContext(run_id, settings.zone, _spool(settings, run_id), column_store)
            yield PartitionBuilder(source, engine, context)
        finally:
            engine.dispose()


def _retry(action: Callable[[], T]) -> T:
    """Return what an action returns, tried again for `RETRY_SECONDS` while it is `Unavailable`."""
    deadline = Deadline.after(RETRY_SECONDS)
    while True:
        try:
            return action()
        except Unavailable:
            if deadline.is_over():
                raise
            time.sleep(PAUSE_SECONDS)


def _share_time(computations: Sequence[Computation], begun: float) -> list[Computation]:
    """Return computations that each took the mean of the CPU time since `begun`."""
    now = time.process_time()
    started = now - (now - begun) / len(computations)
    return [
        replace(
            each, bases={name: replace(one, started=started) for name, one in each.bases.items()}
        )
        for each in computations
    ]


def _spool(settings: Settings, run_id: str) -> Path:
    """Return the run's own directory of frames, and remove those of runs that were killed."""
    spool = Home(settings.home).spool
    for left in spool.glob("*"):
        if left.name != run_id and not is_run_alive(settings, left.name):
            # An earlier release had files in their place; another run may remove them as well.
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return spool / run_id


def _open_answering(settings: Settings, store: StoreConnection) -> ColumnStore | None:
    """Return the store of column files, None if there is none, it is not ours or does not answer.

    Then rows are read.
    """
    if not has_column_files(settings):
        return None
    column_store = open_column_store(settings)
    try:
        column_store.has("answers")
        require_column_files(store, column_store)
    except Unavailable as error:
        # Asked once, because a year has hundreds of partitions, and each would wait.
        get_logger().warning("columns_unavailable", reason=str(error))
        return None
    return column_store
