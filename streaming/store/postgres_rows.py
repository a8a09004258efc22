"""Many rows at once on PostgreSQL: events by COPY, others as arrays, and out in pieces.

Which rows these are is decided in `writer`, `figures` and `build_rows`, for both databases.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from psycopg.errors import UniqueViolation
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql

from streaming.store.models import Table as Model
from streaming.store.postgres import PostgresConnection, translate
from streaming.store.rows import EventRow, event_id_of


def _type_of(column: Column[Any]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    return column.type.compile(dialect)


_EVENT: Final = Model.metadata.tables["analytics_event"].columns
EVENT_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in _EVENT)
# Binary takes the client two thirds of the CPU time that texts take, and needs their types.
_COPIED: Final = f"({EVENT_COLUMNS}) FROM STDIN (FORMAT BINARY)"
# Without key or index, so that COPY is quick: which ids are new is decided by the insert.
_MAKE_TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS new_event ON COMMIT DELETE ROWS AS"
    f" SELECT {EVENT_COLUMNS} FROM analytics_event WITH NO DATA"
)
# `ctid` is the order of the COPY: by id, and of one id the row that was read first.
_INSERT: Final = (
    f"INSERT INTO analytics_event ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM new_event"
    " ORDER BY ctid ON CONFLICT (event_id) DO NOTHING"
)
_TYPES: Final = tuple(_type_of(column).lower() for column in _EVENT)
_REPEATS: Final = "the last batch of this session had ids that were stored"


def insert_events(connection: Connection, rows: Sequence[EventRow]) -> int:
    """Insert the events whose ids are new, under the lock of the writers; return how many were.

    Of several of one id it is the first. Raises errors of the driver, which are for `store_errors`.
    """
    # A COPY that fails leaves dead rows, so a stream that repeats itself must not try each time.
    if not connection.info.get(_REPEATS) and len(set(map(event_id_of, rows))) == len(rows):
        # Nearly always all are new. No other way takes rows as fast.
        with suppress(UniqueViolation), connection.begin_nested():
            _copy(connection, "analytics_event", rows)
            return len(rows)
    connection.exec_driver_sql(_MAKE_TABLE)
    _copy(connection, "new_event", rows)
    inserted = connection.exec_driver_sql(_INSERT).rowcount
    connection.info[_REPEATS] = inserted < len(rows)
    return inserted


def _copy(connection: Connection, table: str, rows: Sequence[EventRow]) -> None:
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {table} {_COPIED}") as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)


def arrays(rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """Return the columns of rows as texts of arrays: the parameters of what is below."""
    return tuple(map(_array, zip(*rows, strict=True)))


def select_arrays(columns: Iterable[Column[Any]]) -> str:
    """Return the SELECT of rows from arrays, a parameter for each of a table's columns."""
    return f"SELECT * FROM unnest({', '.join(f'?::{_type_of(column)}[]' for column in columns)})"


@lru_cache(maxsize=16)
def of_arrays(statement: str, table: Table) -> str:
    """Return an insert of one row of `table` as one of arrays, an array for each column."""
    return re.sub(r"VALUES \([?, ]+\)", select_arrays(table.columns), statement, count=1)


def _array(values: Sequence[object]) -> str:
    """Return PostgreSQL's text of an array, for which psycopg takes several times as long."""
    if set(map(type, values)) == {int}:
        return "{" + str(list(values))[1:-1] + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_in_pieces(
    connection: PostgresConnection, statement: str, values: Sequence[Any], rows: int
) -> Iterator[list[Any]]:
    """Yield the rows of a statement so many at a time, while the server keeps the others."""
    # Several may be open in one snapshot.
    name = f"pieces_{uuid.uuid4().hex}"
    with connection.raw.cursor(name=name, scrollable=False) as cursor:
        cursor.execute(translate(statement).encode(), values)
        while piece := cursor.fetchmany(rows):
            yield piece
