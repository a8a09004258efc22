"""Temporary tables of a snapshot, which end with its connection.

What is compared with stored rows goes there, so that the comparing is the database's and memory
stays small. No statement over a table of the store belongs here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from streaming.store.connection import StoreConnection
from streaming.store.table_dialect import dialect_of

FLUSH_ROWS: Final = 20_000
"""Rows kept in memory before they are inserted together."""


class TemporaryTable:
    """A temporary table that is filled by many rows; `flush` before it is read.

    `columns` are types (`int`, `str`, `bytes`) by name, any of which may be missing in a row unless
    it is of the `key`.
    """

    def __init__(
        self,
        store: StoreConnection,
        name: str,
        columns: Mapping[str, type],
        key: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._name = name
        self._columns = list(columns)
        self._rows: list[Sequence[Any]] = []
        dialect_of(store).create_temporary(store, name, columns, key)

    def add(self, row: Sequence[Any]) -> None:
        """Take a row: values in the order of the columns."""
        self._rows.append(row)
        if len(self._rows) >= FLUSH_ROWS:
            self.flush()

    def add_all(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take rows."""
        for row in rows:
            self.add(row)

    def flush(self) -> None:
        """Insert what was taken."""
        dialect_of(self._store).fill_table(self._store, self._name, self._columns, self._rows)
        self._rows.clear()
