"""How tables are made, filled and listed, where the two databases have nothing in common.

What they only say in other words is in `dialect`.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from streaming.store import sqlite_tables
from streaming.store.connection import StoreConnection


class Dialect(Protocol):
    """The functions of `sqlite_tables` and `postgres_tables`; a connection is one of its own."""

    def create_temporary(
        self,
        connection: Any,  # noqa: ANN401
        name: str,
        columns: Mapping[str, type],
        key: Sequence[str],
        /,
    ) -> None:
        """Create a temporary table of columns by name and type: `int`, `str` or `bytes`."""

    def fill_table(
        self,
        connection: Any,  # noqa: ANN401
        name: str,
        columns: Iterable[str],
        rows: Sequence[Sequence[Any]],
        /,
    ) -> None:
        """Insert rows, whose values are in the order of the columns."""

    def finish_load(self, connection: Any, /) -> None:  # noqa: ANN401
        """Let rows that are inserted from now on follow those that were loaded."""

    def content_of_rows(
        self, columns: Mapping[str, type], rows: str, key: str, /, *, is_view: bool
    ) -> str:
        """Return the SELECT of bytes that differ if any value of the columns does; NULL is none.

        `columns` are types by name. `rows` is the statement from its FROM on: a range of `key`, in
        whose order the rows are read. `is_view` says that they are of a view.
        """

    def list_columns(self, connection: Any, /) -> list[tuple[str, str, int]]:  # noqa: ANN401
        """Return the columns of all tables: table, name, and place in the key, 0 if not of it."""

    def has_view(self, connection: Any, name: str, /) -> bool:  # noqa: ANN401
        """Return whether there is a view of this name."""


def dialect_of(store: StoreConnection) -> Dialect:
    """Return the functions of the database that is connected to."""
    if isinstance(store, sqlite3.Connection):
        return sqlite_tables
    from streaming.store import postgres_tables

    return postgres_tables
