"""Rows of tables that name users or orders, also of tables that somebody adds later.

Stored events are no such table, see `erasure`. Days of `.sql` tables are deleted instead: such a
table may show users under any name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streaming.store.connection import StoreConnection
from streaming.store.pseudonyms import KINDS, Pseudonyms
from streaming.store.sql_tables import is_sql_table
from streaming.store.table_builds import record_digests, unchanged_builds
from streaming.store.table_dialect import dialect_of

EVENTS: Final = "analytics_event"


@dataclass(frozen=True)
class NamedRows:
    """The rows of a table that have a name in a column, and what is to stand there."""

    table: str
    column: str
    name: str
    pseudonym: str


def find_named_rows(store: StoreConnection, pseudonyms: Pseudonyms) -> list[NamedRows]:
    """Return what names somebody who was erased."""
    return [
        NamedRows(table, column, name, pseudonym)
        for table, column, _ in dialect_of(store).list_columns(store)
        if column in KINDS and table != EVENTS and not is_sql_table(table)
        for name in list_names(store, table, column)
        if (pseudonym := pseudonyms.of_erased(KINDS[column], name)) is not None
    ]


def list_names(store: StoreConnection, table: str, column: str) -> Iterator[str]:
    """Return the names in a column of a table, each once."""
    rows = store.execute(f'SELECT DISTINCT "{column}" FROM "{table}"').fetchall()  # noqa: S608 - the schema's
    return (row[0] for row in rows if isinstance(row[0], str))


def rename_rows(store: StoreConnection, named: Sequence[NamedRows]) -> None:
    """Replace the names; a build that was unchanged before stays one."""
    unchanged = {table: unchanged_builds(store, table) for table in {x.table for x in named}}
    keys = _keys(store)
    for rows in named:
        if rows.column in keys.get(rows.table, ()):
            _delete_of_same_key(store, rows, keys)
        store.execute(
            f'UPDATE "{rows.table}" SET "{rows.column}" = ? WHERE "{rows.column}" = ?',  # noqa: S608 - the schema's
            (rows.pseudonym, rows.name),
        )
    for table, partitions in unchanged.items():
        record_digests(store, table, partitions)


def _delete_of_same_key(
    store: StoreConnection, rows: NamedRows, keys: Mapping[str, Sequence[str]]
) -> None:
    """Delete what has the pseudonym already where a renamed row is to stand."""
    same = [f'named."{key}" = old."{key}"' for key in keys[rows.table] if key != rows.column]
    condition = " AND ".join([*same, f'named."{rows.column}" = ?'])
    store.execute(
        f'DELETE FROM "{rows.table}" AS old WHERE "{rows.column}" = ?'  # noqa: S608 - the schema's
        f' AND EXISTS (SELECT 1 FROM "{rows.table}" named WHERE {condition})',
        (rows.pseudonym, rows.name),
    )


def _keys(store: StoreConnection) -> dict[str, list[str]]:
    """Return the columns of each table's key."""
    keys: dict[str, list[str]] = {}
    for table, column, key_position in dialect_of(store).list_columns(store):
        if key_position:
            keys.setdefault(table, []).append(column)
    return keys
