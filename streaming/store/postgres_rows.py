"""Many rows at once on PostgreSQL: events by COPY, others as arrays, and out in pieces.

Which rows these are is decided in `writer`, `figures` and `build_rows`, for both databases.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from psycopg.errors import LockNotAvailable, UniqueViolation
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql

from streaming.store.engine import RepeatedIds
from streaming.store.models import Table as Model
from streaming.store.postgres import PostgresConnection, translate
from streaming.store.postgres_write_lock import await_ticket, take_ticket
from streaming.store.rows import EventRow, event_id_of


def _type_of(column: Column[Any]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    return column.type.compile(dialect)


_EVENT: Final = Model.metadata.tables["analytics_event"].columns
EVENT_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in _EVENT)
# Binary takes the client two thirds of the CPU time that texts take, and needs their types.
_COPIED: Final = f"({EVENT_COLUMNS}, rowid) FROM STDIN (FORMAT BINARY)"
# Without key or index, so that COPY is quick: which ids are new is decided by the insert.
_MAKE_TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS new_event ON COMMIT DELETE ROWS AS"
    f" SELECT {EVENT_COLUMNS}, rowid FROM analytics_event WITH NO DATA"
)
# They are numbered in the order of the COPY: by id, and of one id as they were read.
_INSERT: Final = (
    f"INSERT INTO analytics_event ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM new_event"
    " ORDER BY rowid ON CONFLICT (event_id) DO NOTHING"
)
_TYPES: Final = (*(_type_of(column).lower() for column in _EVENT), "int8")


def copy_events(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Insert events while other consumers do, and wait for their turn to be committed.

    Raises `RepeatedIds` if an id is not new, which leaves dead rows, so a stream that repeats
    itself must not try each time; and errors of the driver, which are for `store_errors`.
    """
    if len(set(map(event_id_of, rows))) < len(rows):
        raise RepeatedIds
    first = _take_ticket(connection, len(rows))
    try:
        _copy(connection, "analytics_event", rows, first)
    # Or another batch has copied one of the ids, and is not committed. It may wait for this one.
    except (UniqueViolation, LockNotAvailable) as error:
        raise RepeatedIds from error
    _raw(connection).execute(await_ticket(first))


def insert_events(connection: Connection, rows: Sequence[EventRow]) -> int:
    """Insert the events whose ids are new, within `lock_store`; return how many were.

    Of several of one id it is the first. Raises errors of the driver, which are for `store_errors`.
    """
    connection.exec_driver_sql(_MAKE_TABLE)
    _copy(connection, "new_event", rows, 0)
    return connection.exec_driver_sql(_INSERT).rowcount


def _take_ticket(connection: Connection, rows: int) -> int:
    """Take numbers for the rows, which are the batch's ticket, and return the first one."""
    try:
        cursor = _raw(connection).execute(take_ticket(rows))
        cursor.nextset()
        return int(cursor.fetchone()[0])
    # The lock of who takes a ticket is the session's, and would outlive the transaction.
    except BaseException:
        connection.invalidate()
        raise


def _copy(connection: Connection, table: str, rows: Sequence[EventRow], first: int) -> None:
    with _raw(connection).cursor() as cursor, cursor.copy(f"COPY {table} {_COPIED}") as copy:
        copy.set_types(_TYPES)
        for number, row in enumerate(rows, first):
            copy.write_row((*row, number))


def _raw(connection: Connection) -> Any:  # noqa: ANN401 - the driver's own
    # Its errors are those of the driver, and not translated.
    return connection.connection.driver_connection


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
