"""How SQLite makes, fills and lists tables: see `table_dialect`, which imports this."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

ROWS_TOGETHER: Final = 400
"""Rows in one statement: 400 of 20 columns are 8,000 of SQLite's 32,766 parameters."""
_TYPES: Final = {int: "INTEGER", str: "TEXT", bytes: "BLOB"}


def create_temporary(
    connection: sqlite3.Connection, name: str, columns: Mapping[str, type], key: Sequence[str]
) -> None:
    """Create a temporary table; its rows lie in the order of the key, if it has one."""
    # They have a file of their own, so that a read transaction of the database may fill them.
    parts = [f'"{column}" {_TYPES[kind]}' for column, kind in columns.items()]
    if key:
        parts.append(f"PRIMARY KEY ({', '.join(map(_quote_name, key))})")
    # Otherwise each key would be stored twice: in the table, and in an index beside it.
    options = " WITHOUT ROWID" if key else ""
    connection.execute(f"CREATE TEMP TABLE {name} ({', '.join(parts)}){options}")


def fill_table(
    connection: sqlite3.Connection, name: str, columns: Iterable[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows, whose values are in the order of the columns."""
    names = ", ".join(map(_quote_name, columns))
    for text, values in values_together(rows):
        connection.execute(f"INSERT INTO {name} ({names}) {text}", values)


def values_together(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the VALUES of hundreds of rows for one statement, and their values.

    A statement for each row takes half as long again.
    """
    for start in range(0, len(rows), ROWS_TOGETHER):
        part = rows[start : start + ROWS_TOGETHER]
        row = f"({', '.join('?' * len(part[0]))})"
        yield f"VALUES {', '.join([row] * len(part))}", tuple(chain.from_iterable(part))


def finish_load(_: sqlite3.Connection) -> None:
    """Do nothing: the next row follows the last by itself."""


def content_of_rows(columns: Mapping[str, type], rows: str, key: str, *, is_view: bool) -> str:
    """Return the SELECT of bytes that differ if a value of the columns does."""
    # JSON, so that no two rows give the same. It holds no bytes, but text that need not be UTF-8,
    # which takes a tenth less than their digits. So the whole is bytes, and nothing decodes it.
    values = [
        f"CAST({_quote_name(name)} AS TEXT)" if kind is bytes else _quote_name(name)
        for name, kind in columns.items()
    ]
    # A range of its key is read from a table in that order. To ask for it takes a quarter longer.
    source = f"FROM (SELECT * {rows} ORDER BY {key})" if is_view else rows
    return f"SELECT CAST(json_group_array(json_array({', '.join(values)})) AS BLOB) {source}"


def list_columns(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Return table, name and place in the key (0 if not of it) of all columns, in their order."""
    return connection.execute(
        "SELECT m.name, c.name, c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c"
        " WHERE m.type = 'table' ORDER BY m.name, c.cid"
    ).fetchall()


def has_view(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether there is a view of this name."""
    statement = "SELECT 1 FROM sqlite_master WHERE type = 'view' AND name = ?"
    return connection.execute(statement, (name,)).fetchone() is not None


def _quote_name(name: str) -> str:
    return f'"{name}"'
