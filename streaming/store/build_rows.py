"""What a build's transaction says in the words of its database: its locks, and many rows at once.

What is written, and when, is in `assets.builds`.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from streaming.store.engine import is_postgres
from streaming.store.sqlite_tables import values_together


def lock_partitions(connection: Connection, partitions: Collection[str]) -> None:
    """Wait until nobody else writes these partitions, or changes what they are built from.

    Held to the end of the transaction. On SQLite a transaction has the whole file.
    """
    if not is_postgres(connection):
        return
    from streaming.store.postgres_write_lock import BUILDS

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({BUILDS})")
    # In one order, so that two builds never wait for each other in a circle.
    for partition in sorted(set(partitions)):
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"builds of {partition}",)
        )


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with values for all columns; if that fails, the caller's savepoint undoes it."""
    # Names in quotes, as one is `user`.
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    into = f'INTO "{table.name}" ({names})'
    if not is_postgres(connection):
        # What a failed statement did is left to the savepoint: `ABORT` would copy pages for it.
        _execute_together(connection, f"INSERT OR FAIL {into}", rows)
        return
    from streaming.store.postgres_rows import arrays, select_arrays

    # One statement, because triggers act once a statement.
    connection.exec_driver_sql(f"INSERT {into} {select_arrays(table.columns)}", arrays(rows))


def delete_rows(
    connection: Connection, table: Table, key: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Delete the rows of these values of a key."""
    names = ", ".join(f'"{name}"' for name in key)
    delete = f'DELETE FROM "{table.name}" WHERE ({names}) IN'  # noqa: S608 - own names
    if not is_postgres(connection):
        _execute_together(connection, f"{delete} (", rows, ")")
        return
    from streaming.store.postgres_rows import arrays, select_arrays

    selected = select_arrays(table.columns[name] for name in key)
    connection.exec_driver_sql(f"{delete} ({selected})", arrays(rows))


def _execute_together(
    connection: Connection, head: str, rows: Sequence[tuple[Any, ...]], tail: str = ""
) -> None:
    """Execute a statement of SQLite with hundreds of rows as its VALUES, between head and tail.

    If triggers act, SQLite copies each page that a statement changes into a file, to undo that
    statement alone. With a statement for each row, these copies were most of a build's writes.
    """
    for text, values in values_together(rows):
        connection.exec_driver_sql(f"{head} {text}{tail}", values)
