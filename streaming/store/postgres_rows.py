"""How PostgreSQL takes many rows at once: events by COPY, figures as arrays; for the writer alone.

Which rows these are is decided in `writer` and `figures`, for both databases.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

from streaming.store.models import Table as Model
from streaming.store.rows import EventRow

EVENT_COLUMNS: Final = ", ".join(
    f'"{column.name}"' for column in Model.metadata.tables["analytics_event"].columns
)
_MAKE_TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS new_event ON COMMIT DELETE ROWS AS"
    f" SELECT {EVENT_COLUMNS} FROM analytics_event WITH NO DATA"
)
_INSERT: Final = (
    f"INSERT INTO analytics_event ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM new_event"
    " ON CONFLICT (event_id) DO NOTHING"
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
    """Insert the copied events whose ids are new, in their order; return how many were.

    Of several of one id it is the first.
    """
    return connection.exec_driver_sql(_INSERT).rowcount


def insert_rows(
    connection: Connection, statement: str, table: Table, rows: Sequence[Sequence[object]]
) -> None:
    """Execute an insert of one row of `table` for all rows, by one statement."""
    columns = tuple(map(_array, zip(*rows, strict=True)))
    connection.exec_driver_sql(_of_arrays(statement, table), columns)


def _array(values: Sequence[object]) -> str:
    """Return PostgreSQL's text of an array, for which psycopg takes several times as long."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=16)
def _of_arrays(statement: str, table: Table) -> str:
    """Return an insert of one row as one of arrays, an array for each column."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    types = (column.type.compile(dialect) for column in table.columns)
    arrays = ", ".join(f"?::{one}[]" for one in types)
    return re.sub(r"VALUES \([?, ]+\)", f"SELECT * FROM unnest({arrays})", statement, count=1)
