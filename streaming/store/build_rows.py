"""What a build's transaction says in the words of its database: its locks, and many rows at once.

What is written, and when, is in `assets.builds`.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from streaming.store.engine import is_postgres


def lock_partitions(connection: Connection, partitions: Collection[str]) -> None:
    """Wait until nobody else writes these partitions, or changes what they are built from.

    Held to the end of the transaction. On SQLite a transaction has the whole file.
    """
    if not is_postgres(connection):
        return
    from streaming.store.postgres import BUILDS

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({BUILDS})")
    # In one order, so that two builds never wait for each other in a circle.
    for partition in sorted(set(partitions)):
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"builds of {partition}",)
        )


def insert_rows(
    connection: Connection, table: Table, statement: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows with values for all columns, by a `statement` for one on SQLite."""
    if not is_postgres(connection):
        connection.exec_driver_sql(statement, list(rows))
        return
    from streaming.store.postgres_rows import arrays, select_arrays

    # One statement, because triggers act once a statement. Names in quotes, as one is `user`.
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({names}) {select_arrays(table.columns)}', arrays(rows)
    )


def delete_rows(
    connection: Connection, table: Table, key: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Delete the rows of these values of a key."""
    if not is_postgres(connection):
        conditions = " AND ".join(f'"{name}" = ?' for name in key)
        connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {conditions}', list(rows))  # noqa: S608 - own names
        return
    from streaming.store.postgres_rows import arrays, select_arrays

    names = ", ".join(f'"{name}"' for name in key)
    selected = select_arrays(table.columns[name] for name in key)
    connection.exec_driver_sql(
        f'DELETE FROM "{table.name}" WHERE ({names}) IN ({selected})',  # noqa: S608 - own names
        arrays(rows),
    )
