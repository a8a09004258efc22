"""Many rows at once on PostgreSQL: events by COPY, others as arrays, and out in pieces.

Which rows these are is decided in `writer`, `figures` and `build_rows`, for both databases.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql

from streaming.store.models import Table as Model
from streaming.store.postgres import PostgresConnection, translate
from streaming.store.rows import EventRow

EVENT_COLUMNS: Final = ", ".join(
    f'"{column.name}"' for column in Model.metadata.tables["analytics_event"].columns
)
# Without key or index, so that COPY is quick: which ids are new is found out by the insert.
_MAKE_TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS new_event ON COMMIT DELETE ROWS AS"
    f" SELECT {EVENT_COLUMNS} FROM analytics_event WITH NO DATA"
)
_INSERT: Final = (
    # Sorted here, in the order of the index: a client that copies rows in the order of their ids
    # takes twice the CPU time, because they lie scattered in its memory.
    f"INSERT INTO analytics_event ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM new_event"
    " ORDER BY event_id, ctid ON CONFLICT (event_id) DO NOTHING"
)


def copy_events(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Copy events to the server, from where `insert_copied` takes them in the same transaction.

    Nobody waits for it: the table is the session's own. What was copied before is replaced. Raises
    errors of the driver, which are for `store_errors`.
    """
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor:
        cursor.execute(_MAKE_TABLE)
        cursor.execute("TRUNCATE new_event")
        with cursor.copy("COPY new_event FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def insert_copied(connection: Connection) -> int:
    """Insert the copied events whose ids are new, in the order of their ids; return how many were.

    Of several of one id it is the first that was copied.
    """
    return connection.exec_driver_sql(_INSERT).rowcount


def insert_rows(
    connection: Connection, statement: str, table: Table, rows: Sequence[Sequence[object]]
) -> None:
    """Execute an insert of one row of `table` for all rows, by one statement."""
    connection.exec_driver_sql(_of_arrays(statement, table), arrays(rows))


def arrays(rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """Return the columns of rows as texts of arrays, for the parameters of `select_arrays`."""
    return tuple(map(_array, zip(*rows, strict=True)))


def select_arrays(columns: Iterable[Column[Any]]) -> str:
    """Return the SELECT of rows from arrays, a parameter for each of a table's columns."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    types = (column.type.compile(dialect) for column in columns)
    return f"SELECT * FROM unnest({', '.join(f'?::{one}[]' for one in types)})"


def _array(values: Sequence[object]) -> str:
    """Return PostgreSQL's text of an array, for which psycopg takes several times as long."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=16)
def _of_arrays(statement: str, table: Table) -> str:
    """Return an insert of one row as one of arrays, an array for each column."""
    return re.sub(r"VALUES \([?, ]+\)", select_arrays(table.columns), statement, count=1)


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
