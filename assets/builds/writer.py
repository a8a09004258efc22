"""The one way in which a table is written: a partition is replaced, audited, and then visible.

Never patched, and never over a build of a higher version. What its rows are is in `transforms`.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
import polars as pl
import polars.selectors as cs
from sqlalchemy import Connection, case
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert

from assets.builds.audit import Audit, audit
from assets.builds.event_reader import Counted
from assets.tables.models import BuildFailure, TableBuild
from assets.tables.transforms import Transform
from streaming.errors import PurchasesError
from streaming.store.connection import StoreConnection
from streaming.store.models import Table

_BUILD = Table.metadata.tables[TableBuild.__tablename__]
_FAILURE = Table.metadata.tables[BuildFailure.__tablename__]
KEY: Final = ["table_name", "partition"]


@dataclass(frozen=True)
class Basis:
    """What a partition is built from: what the stream counted of it, and up to where it had read.

    `expected` is what the table's sums must be: the same, but for a table that leaves events out.
    `run_id` is the run that builds.
    """

    partition: str
    counted: Counted
    expected: Counted
    stream_offsets: str
    run_id: str


@dataclass(frozen=True)
class Replaced:
    """A partition's build, the one before it (None: the first), and its audit.

    `audit` is None where nothing was written, as a build of a higher version stood there.
    """

    build: TableBuild
    before: TableBuild | None
    audit: Audit | None


class AuditFailed(PurchasesError):
    """The rows contradict what the stream counted; the figures of before are left standing."""

    def __init__(self, table: str, partition: str, found: Audit) -> None:
        super().__init__(f"{table} of {partition} failed its audit: {'; '.join(found.problems)}.")
        self.audit = found


def replace_partition(
    connection: Connection, transform: Transform, rows: pl.DataFrame, basis: Basis
) -> Replaced:
    """Replace a partition by `rows`: all of it, audited and recorded, or nothing.

    The transaction is the caller's, and nothing is visible before its end; where this fails, a
    savepoint undoes it. Raises `AuditFailed`, and what the engine of `open_engine` does.
    """
    partition, values = basis.partition, database_rows(rows)
    build = TableBuild(
        table_name=transform.table,
        partition=partition,
        version=basis.counted.version,
        events=basis.counted.events,
        items_sold=basis.counted.items_sold,
        net_revenue_micros=basis.counted.net_revenue_micros,
        rows=len(values),
        stream_offsets=basis.stream_offsets,
        digest=digest(values),
        code_version=transform.code_version,
        run_id=basis.run_id,
        built_at=time.time_ns() // 1000,
    )
    with connection.begin_nested():
        before = _standing(connection, transform.table, partition)
        if before is not None and before.version > build.version:
            return Replaced(before, before, None)
        _replace_rows(connection, transform, partition, values)
        found = audit(connection, transform, partition, basis.expected, len(values))
        if found.problems:
            raise AuditFailed(transform.table, partition, found)
        _record_build(connection, build)
    return Replaced(build, before, found)


def record_failure(connection: Connection, failure: BuildFailure) -> None:
    """Record that a build failed; where its version failed before, its `attempts` are added."""
    connection.execute(_UPSERT_FAILURE, failure.model_dump())


def read_builds(connection: StoreConnection, partition: str) -> dict[str, TableBuild]:
    """Read from what a partition of each table was built, where it was."""
    cursor = connection.execute("SELECT * FROM table_build WHERE partition = ?", (partition,))
    names = [column[0] for column in cursor.description]
    builds = [TableBuild(**dict(zip(names, row, strict=True))) for row in cursor]
    return {build.table_name: build for build in builds}


def database_rows(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Give the rows as the database holds them: days are ISO texts."""
    return rows.with_columns(cs.date().dt.to_string("%Y-%m-%d")).rows()


def digest(rows: Sequence[tuple[Any, ...]]) -> str:
    """Give the SHA-256 of rows in the order of their key, which `table_build` keeps."""
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


def _standing(connection: Connection, table: str, partition: str) -> TableBuild | None:
    found = connection.exec_driver_sql(_SELECT_BUILD, (table, partition)).mappings().one_or_none()
    return None if found is None else TableBuild(**found)


def _replace_rows(
    connection: Connection, transform: Transform, partition: str, values: list[tuple[Any, ...]]
) -> None:
    where, parameters = (" WHERE day = ?", (partition,)) if transform.by_day else ("", ())
    connection.exec_driver_sql(f"DELETE FROM {transform.table}{where}", parameters)  # noqa: S608
    if values:
        connection.exec_driver_sql(_insertion(transform.table), values)


def _record_build(connection: Connection, build: TableBuild) -> None:
    connection.execute(_UPSERT_BUILD, build.model_dump())
    connection.exec_driver_sql(_DELETE_FAILURE, (build.table_name, build.partition))


@cache
def _insertion(table: str) -> str:
    """Give the text of the statement, for rows as tuples in the order of the table's columns."""
    statement = sqlite.insert(Table.metadata.tables[table])
    return str(statement.compile(dialect=sqlite.dialect()))


def _upsert_build() -> Insert:
    statement = sqlite.insert(_BUILD)
    replaced = {column.name: statement.excluded[column.name] for column in _BUILD.columns}
    return statement.on_conflict_do_update(index_elements=KEY, set_=replaced)


def _upsert_failure() -> Insert:
    """Build the upsert of a failure, which adds attempts to those of the same version."""
    statement = sqlite.insert(_FAILURE)
    new, old = statement.excluded, _FAILURE.c
    before = case((old.version == new.version, old.attempts), else_=0)
    latest = {name: new[name] for name in ("version", "reason", "run_id", "failed_at")}
    return statement.on_conflict_do_update(
        index_elements=KEY, set_={"attempts": new.attempts + before, **latest}
    )


_SELECT_BUILD: Final = "SELECT * FROM table_build WHERE table_name = ? AND partition = ?"
_DELETE_FAILURE: Final = "DELETE FROM build_failure WHERE table_name = ? AND partition = ?"
_UPSERT_BUILD: Final = _upsert_build()
_UPSERT_FAILURE: Final = _upsert_failure()
