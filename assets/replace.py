"""The one way in which a table is written: a partition is replaced, audited, and then visible.

Never patched, and never over a build of a higher version. What its rows are is in `transforms`.
"""

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import polars as pl
import polars.selectors as cs
from sqlalchemy import Connection, case, delete, insert, select
from sqlalchemy.dialects import sqlite

from assets.audit import Audit, audit
from assets.history import Counted
from assets.tables import WHOLE, BuildFailure, TableBuild
from assets.transforms import Transform
from streaming.errors import PurchasesError
from streaming.store.models import Table

_BUILD = Table.metadata.tables[TableBuild.__tablename__]
_FAILURE = Table.metadata.tables[BuildFailure.__tablename__]


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
    savepoint undoes it. Raises `AuditFailed`, and whatever SQLAlchemy does; errors of SQLite go
    through `store_errors`.
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
    statement = sqlite.insert(_FAILURE).values(**failure.model_dump())
    new, old = statement.excluded, _FAILURE.c
    attempts = new.attempts + case((old.version == new.version, old.attempts), else_=0)
    latest = {name: new[name] for name in ("version", "reason", "run_id", "failed_at")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["table_name", "partition"], set_={"attempts": attempts, **latest}
        )
    )


def read_builds(connection: sqlite3.Connection, partition: str) -> dict[str, TableBuild]:
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
    row = connection.execute(
        select(_BUILD).where(_BUILD.c.table_name == table, _BUILD.c.partition == partition)
    )
    found = row.mappings().one_or_none()
    return None if found is None else TableBuild(**found)


def _replace_rows(
    connection: Connection, transform: Transform, partition: str, values: list[tuple[Any, ...]]
) -> None:
    table = Table.metadata.tables[transform.table]
    deletion = delete(table)
    if partition != WHOLE:
        deletion = deletion.where(table.c.day == date.fromisoformat(partition))
    connection.execute(deletion)
    if values:
        connection.exec_driver_sql(str(insert(table).compile(dialect=sqlite.dialect())), values)


def _record_build(connection: Connection, build: TableBuild) -> None:
    values = build.model_dump()
    connection.execute(
        sqlite.insert(_BUILD)
        .values(**values)
        .on_conflict_do_update(index_elements=["table_name", "partition"], set_=values)
    )
    connection.execute(
        delete(_FAILURE).where(
            _FAILURE.c.table_name == build.table_name, _FAILURE.c.partition == build.partition
        )
    )
