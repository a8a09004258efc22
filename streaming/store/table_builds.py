"""The aggregate tables' builds, where the store changes what they were built from.

An erasure changes names in their rows, and so the digests; a rebuild forgets all builds.

What a build is, and when it takes place, is `assets.builds`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streaming.store.connection import StoreConnection
from streaming.store.table_dialect import dialect_of


def rows_digest(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    """Return the SHA-256 of rows in the order of their key, which `table_build` keeps.

    The last columns of a table, whole trillions, are left out if all are 0: so a build of before
    they existed has its digest still.
    """
    apart = sum(name.endswith("_trillions") for name in columns)
    if apart and not any(any(row[-apart:]) for row in rows):
        rows = [row[:-apart] for row in rows]
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


def unchanged_builds(store: StoreConnection, table: str) -> list[str]:
    """Return the partitions of a table whose rows are as they were built."""
    builds = store.execute(
        "SELECT partition, digest FROM table_build WHERE table_name = ?", (table,)
    ).fetchall()
    return [partition for partition, built in builds if _digest(store, table, partition) == built]


def record_digests(store: StoreConnection, table: str, partitions: Iterable[str]) -> None:
    """Record the digests of partitions in which names were replaced; their versions stay."""
    store.executemany(
        "UPDATE table_build SET digest = ? WHERE table_name = ? AND partition = ?",
        [(_digest(store, table, partition), table, partition) for partition in partitions],
    )


def forget_builds(store: StoreConnection) -> int:
    """Forget each build with its rows, and each failure; return how many builds there were.

    Rows without a build would be counted beside what the ledger has of their day.
    """
    tables = store.execute("SELECT DISTINCT table_name FROM table_build").fetchall()
    for (table,) in tables:
        store.execute(f'DELETE FROM "{table}"')  # noqa: S608 - the schema's
    store.execute("DELETE FROM build_failure")
    return store.execute("DELETE FROM table_build").rowcount


def _digest(store: StoreConnection, table: str, partition: str) -> str:
    columns = [
        (key_position, name)
        for of, name, key_position in dialect_of(store).list_columns(store)
        if of == table
    ]
    names = [name for _, name in columns]
    key = ", ".join(f'"{name}"' for key_position, name in sorted(columns) if key_position)
    where, values = ("WHERE day = ?", [partition]) if "day" in names else ("", [])
    rows = store.execute(f'SELECT * FROM "{table}" {where} ORDER BY {key}', values)  # noqa: S608 - the schema's
    return rows_digest(names, rows.fetchall())
