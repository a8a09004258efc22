"""The one writer of aggregate tables: a partition is replaced, audited, and then visible.

All rows of a partition are computed, also those that stay because they are equal. None replaces a
build of a higher version. How rows are computed is in `assets.tables.transforms`.
"""

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, case
from sqlalchemy.dialects.postgresql import Insert, insert

from assets.builds.audit import Audit, audit
from assets.builds.event_reader import StreamFigures
from assets.builds.sql_days import create_sql_table
from assets.tables.models import BuildFailure, TableBuild
from assets.tables.sql_transform import AnyTransform, SqlTransform
from assets.tables.transforms import Transform
from streaming.errors import PurchasesError
from streaming.store.build_rows import delete_rows, insert_rows
from streaming.store.connection import StoreConnection
from streaming.store.models import Table
from streaming.store.sql_tables import sort_rows
from streaming.store.table_builds import rows_digest
from streaming.units import MICROS, split_sum

_BUILD = Table.metadata.tables[TableBuild.__tablename__]
_FAILURE = Table.metadata.tables[BuildFailure.__tablename__]
Rows = pl.DataFrame | list[tuple[Any, ...]]
"""The rows of a partition: a frame of a transform, or what a statement of a file gave."""
KEY: Final = ["table_name", "partition"]


@dataclass(frozen=True)
class BuildBasis:
    """What a partition is built from: the stream's figures of it, and the stream's positions.

    `expected` are the sums that the table must have: the same, except for a table that leaves
    events out. `run_id` is the run that builds, and began at `started` (CPU s). `erasures` is
    how many there were, `last_row` and `last_correction` where the store ended. `added_to` is the
    build that `new_events` were added to; None if the rows were computed from all events, which
    then have a `difference` to what had been added.
    """

    partition: str
    figures: StreamFigures
    expected: StreamFigures
    stream_offsets: str
    run_id: str
    started: float
    erasures: int
    last_row: int
    last_correction: int
    added_to: TableBuild | None = None
    new_events: int = 0
    difference: str | None = None


@dataclass(frozen=True)
class Replacement:
    """A partition's build, the one before it (None: the first), and its audit.

    `audit` is None if nothing was written, because there is a build of a higher version.
    """

    build: TableBuild
    before: TableBuild | None
    audit: Audit | None


class AuditFailure(PurchasesError):
    """The rows contradict the stream's figures; the build before stays."""

    def __init__(self, table: str, partition: str, audit: Audit) -> None:
        super().__init__(f"{table} of {partition} failed its audit: {'; '.join(audit.problems)}.")
        self.audit = audit


class ChangedMeanwhile(PurchasesError):
    """What the rows come from was changed after it was read: compute them again."""


def replace_partition(
    connection: Connection, transform: AnyTransform, rows: Rows, basis: BuildBasis
) -> Replacement:
    """Replace a partition by `rows`: all of it, audited, or nothing.

    The transaction is the caller's, who records the build at its end; nothing is visible before.
    Raises `AuditFailure`, `ChangedMeanwhile`, and what the engine of `open_engine` does.
    """
    partition, values = basis.partition, database_rows(rows)
    build = _describe(transform, values, basis)
    before = _read_build(connection, transform.table, partition)
    # A run that waited long for the write lock may hold an older snapshot than this build.
    if before is not None and before.version > build.version:
        return Replacement(before, before, None)
    if basis.added_to is not None and before != basis.added_to:
        raise ChangedMeanwhile("The build that events were added to was replaced or forgotten.")
    # The savepoint undoes this table alone if it fails; the day's other tables stay in the
    # transaction.
    with connection.begin_nested():
        _replace_rows(connection, transform, partition, values)
        result = audit(connection, transform, partition, basis.expected, len(values))
        if result.problems:
            raise AuditFailure(transform.table, partition, result)
    return Replacement(build, before, result)


def _describe(
    transform: AnyTransform, values: Sequence[tuple[Any, ...]], basis: BuildBasis
) -> TableBuild:
    """Return the build of rows, which is made now."""
    trillions, micros = split_sum(basis.figures.net_revenue_micros)
    added_before, difference = 0, basis.difference
    if basis.added_to is not None:
        # It is known until the day is computed again.
        added_before, difference = basis.added_to.added_events, basis.added_to.difference
    return TableBuild(
        table_name=transform.table,
        partition=basis.partition,
        version=basis.figures.version,
        events=basis.figures.events,
        items_sold=basis.figures.items_sold,
        net_revenue_micros=micros,
        rows=len(values),
        stream_offsets=basis.stream_offsets,
        digest=digest(transform, values),
        code_version=transform.code_version,
        run_id=basis.run_id,
        built_at=time.time_ns() // 1000,
        net_revenue_trillions=trillions,
        last_row=basis.last_row,
        last_correction=basis.last_correction,
        added_events=added_before + basis.new_events,
        cpu_time=round((time.process_time() - basis.started) * MICROS),
        difference=difference,
    )


def require_same_erasures(connection: Connection, erasures: AbstractSet[int]) -> None:
    """Raise `ChangedMeanwhile` if anybody was erased since rows were computed at that number."""
    if erasures - {connection.exec_driver_sql(_COUNT_ERASURES).scalar_one()}:
        # Who was erased may be in the rows.
        raise ChangedMeanwhile("A customer was erased while the rows were computed.")


def record_builds(connection: Connection, builds: Sequence[TableBuild]) -> None:
    """Record builds in place of those before, and of failures; all of them at once."""
    if builds:
        connection.execute(_UPSERT_BUILD, [build.model_dump() for build in builds])
        keys = [(build.table_name, build.partition) for build in builds]
        connection.exec_driver_sql(_DELETE_FAILURE, keys)


def record_failure(connection: Connection, failure: BuildFailure) -> None:
    """Record a failed build; attempts at the same version add up."""
    connection.execute(_UPSERT_FAILURE, failure.model_dump())


def read_builds(
    connection: StoreConnection, partition: str, transforms: Sequence[AnyTransform]
) -> dict[str, TableBuild]:
    """Read the builds of a partition of these tables, by table."""
    # By their key: without the tables, SQLite would read through all builds there are.
    marks = ", ".join("?" * len(transforms))
    statement = f"SELECT * FROM table_build WHERE table_name IN ({marks}) AND partition = ?"  # noqa: S608
    cursor = connection.execute(statement, (*(one.table for one in transforms), partition))
    names = [column[0] for column in cursor.description]
    builds = [TableBuild(**dict(zip(names, row, strict=True))) for row in cursor]
    return {build.table_name: build for build in builds}


def database_rows(rows: Rows) -> list[tuple[Any, ...]]:
    """Return the rows as the database stores them: days are ISO texts."""
    if isinstance(rows, list):
        return rows
    # Not by an expression, whose plan takes longer than a day's rows.
    columns = (column.cast(pl.String) if column.dtype == pl.Date else column for column in rows)
    return pl.DataFrame(columns).rows()


def digest(transform: AnyTransform, rows: Sequence[tuple[Any, ...]]) -> str:
    """Return the digest of a table's rows in the order of their key; without one, in any order."""
    ordered = sort_rows(rows) if isinstance(transform, SqlTransform) else rows
    return rows_digest(transform.columns, ordered)


def _read_build(connection: Connection, table: str, partition: str) -> TableBuild | None:
    row = connection.exec_driver_sql(_SELECT_BUILD, (table, partition)).mappings().one_or_none()
    return None if row is None else TableBuild(**row)


def _replace_rows(
    connection: Connection, transform: AnyTransform, partition: str, values: list[tuple[Any, ...]]
) -> None:
    if isinstance(transform, SqlTransform):
        create_sql_table(connection, transform)
    elif transform.by_day:
        _replace_changed(connection, transform, partition, values)
        return
    # Rows of a file have no key, and a whole table may not fit into memory twice: all rows go
    # (docs/decisions/0067).
    where, parameters = (" WHERE day = ?", (partition,)) if transform.by_day else ("", ())
    connection.exec_driver_sql(f"DELETE FROM {transform.table}{where}", parameters)  # noqa: S608
    _insert(connection, transform, values)


def _replace_changed(
    connection: Connection, transform: Transform, day: str, values: list[tuple[Any, ...]]
) -> None:
    """Replace the rows of a day; those that are equal stay, because most are in a build again.

    Each row that is written costs two indexes, and the trigger that keeps the months of items.
    """
    names = ", ".join(f'"{name}"' for name in transform.columns)
    stored = connection.exec_driver_sql(
        f"SELECT {names} FROM {transform.table} WHERE day = ?",  # noqa: S608 - own names
        (day,),
    )
    # As plain tuples: SQLAlchemy's rows compare four times as slowly.
    before = set(map(tuple, stored.all()))
    key = [transform.columns.index(name) for name in transform.key]
    gone = [tuple(row[index] for index in key) for row in before.difference(values)]
    if gone:
        delete_rows(connection, Table.metadata.tables[transform.table], transform.key, gone)
    _insert(connection, transform, [row for row in values if row not in before])


def _insert(connection: Connection, transform: AnyTransform, values: list[tuple[Any, ...]]) -> None:
    # An empty list would be executed once, without parameters.
    if not values:
        return
    if isinstance(transform, SqlTransform):
        marks = ", ".join("?" * len(transform.columns))
        statement = f'INSERT INTO "{transform.table}" VALUES ({marks})'  # noqa: S608 - checked name
        connection.exec_driver_sql(statement, values)
    else:
        insert_rows(connection, Table.metadata.tables[transform.table], values)


def _upsert_build() -> Insert:
    statement = insert(_BUILD)
    replaced = {column.name: statement.excluded[column.name] for column in _BUILD.columns}
    return statement.on_conflict_do_update(index_elements=KEY, set_=replaced)


def _upsert_failure() -> Insert:
    """Build the upsert of a failure, which adds attempts to those of the same version."""
    statement = insert(_FAILURE)
    new, old = statement.excluded, _FAILURE.c
    before = case((old.version == new.version, old.attempts), else_=0)
    latest = {name: new[name] for name in ("version", "reason", "run_id", "failed_at")}
    return statement.on_conflict_do_update(
        index_elements=KEY, set_={"attempts": new.attempts + before, **latest}
    )


_COUNT_ERASURES: Final = "SELECT count(*) FROM erasure"
_SELECT_BUILD: Final = "SELECT * FROM table_build WHERE table_name = ? AND partition = ?"
_DELETE_FAILURE: Final = "DELETE FROM build_failure WHERE table_name = ? AND partition = ?"
_UPSERT_BUILD: Final = _upsert_build()
_UPSERT_FAILURE: Final = _upsert_failure()
