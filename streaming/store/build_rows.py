"""What a build's transaction says in the words of its database: its locks, and many rows at once.

What is written, and when, is in `assets.builds`.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Date, Integer
from sqlalchemy import Table as SqlTable


def lock_partitions(connection: Connection, partitions: Collection[str]) -> None:
    """Wait until nobody else writes these partitions, or changes what they are built from.

    Held to the end of the transaction. On SQLite a transaction has the whole file.
    """
    if not _is_postgres(connection):
        return
    from streaming.store.postgres import BUILDS

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({BUILDS})")
    # In one order, so that two builds never wait for each other in a circle.
    for partition in sorted(set(partitions)):
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"builds of {partition}",)
        )


def insert_rows(
    connection: Connection, table: SqlTable, statement: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows with values for all columns, by a `statement` for one on SQLite."""
    if not _is_postgres(connection):
        connection.exec_driver_sql(statement, list(rows))
        return
    # One statement, because triggers act once a statement.
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    arrays = _arrays(table, [column.name for column in table.columns])
    connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays})',  # noqa: S608 - own names
        _columns(rows),
    )


def delete_rows(
    connection: Connection, table: SqlTable, key: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Delete the rows of these values of a key."""
    if not _is_postgres(connection):
        conditions = " AND ".join(f'"{name}" = ?' for name in key)
        connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {conditions}', list(rows))  # noqa: S608 - own names
        return
    names = ", ".join(f'"{name}"' for name in key)
    connection.exec_driver_sql(
        f'DELETE FROM "{table.name}" WHERE ({names}) IN'  # noqa: S608 - own names
        f" (SELECT * FROM unnest({_arrays(table, key)}))",
        _columns(rows),
    )


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def _arrays(table: SqlTable, names: Sequence[str]) -> str:
    """Return a parameter for each column, as an array of its type."""
    return ", ".join(f"?::{_type_of(table, name)}[]" for name in names)


def _type_of(table: SqlTable, name: str) -> str:
    kind = table.columns[name].type
    if isinstance(kind, Date):
        return "date"
    return "bigint" if isinstance(kind, Integer) else "text"
