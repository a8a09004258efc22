"""The one way to open the event store: to read it, to write it, or to read it again and again.

Everybody outside `store` opens it here or, for a writer that runs long, in `engine`. What is read
is of one moment, what is written is whole. How SQLite does that is in `sqlite`, so that another
database can take its place. No statement over a table belongs here.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from streaming.errors import Mismatch, PurchasesError
from streaming.settings import Settings
from streaming.store.sqlite import LOCK_SECONDS, connect, snapshot, store_errors, transaction

SCHEMA_VERSION: Final = 15
"""The number of the last migration; each release can read its own schema only."""

StoreConnection = sqlite3.Connection
"""A connection inside a snapshot or a transaction, which ends with the block that opened it."""


class StoreReader:
    """The store, open for a series of snapshots; close it at the end."""

    def __init__(self, path: Path, connection: StoreConnection) -> None:
        self._path = path
        self._connection = connection

    @contextmanager
    def snapshot(self) -> Iterator[StoreConnection]:
        """Read the store at one moment. Raises what `store_errors` does."""
        with store_errors(self._path), snapshot(self._connection):
            yield self._connection

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_reader(settings: Settings, lock_seconds: float = LOCK_SECONDS) -> StoreReader:
    """Open the store for reading, and refuse it unless its schema is this version's.

    Raises `Mismatch` naming both schema versions and the remedy, and what `store_errors` does.
    """
    path = settings.database_path
    return StoreReader(path, _connect_current(path, read_only=True, lock_seconds=lock_seconds))


@contextmanager
def read_store(settings: Settings, lock_seconds: float = LOCK_SECONDS) -> Iterator[StoreConnection]:
    """Read the store at one moment. Raises what `open_reader` does."""
    with closing(open_reader(settings, lock_seconds)) as reader, reader.snapshot() as store:
        yield store


@contextmanager
def read_store_together(
    settings: Settings,
    number: int,
    begin: Callable[[StoreConnection], None] = lambda _: None,
) -> Iterator[list[StoreConnection]]:
    """Read the store at one moment by several connections, for a thread each.

    `begin` gets the first of them, while nobody writes: other processes that begin a snapshot
    before it returns see the same moment. Raises what `open_reader` does.
    """
    path = settings.database_path
    with ExitStack() as opened, store_errors(path):
        stores = [
            opened.enter_context(closing(_connect_current(path, read_only=True)))
            for _ in range(number)
        ]
        # A snapshot is of the last commit before it, and nobody else commits meanwhile.
        with write_store(settings):
            for store in stores:
                opened.enter_context(snapshot(store))
            begin(stores[0])
        yield stores


@contextmanager
def write_store(settings: Settings) -> Iterator[StoreConnection]:
    """Write to the store in one transaction: all of the block, or nothing if an error leaves it.

    No other process writes meanwhile. Raises what `open_reader` does.
    """
    path = settings.database_path
    with (
        closing(_connect_current(path, read_only=False)) as store,
        store_errors(path),
        transaction(store),
    ):
        yield store


def require_current_store(path: Path) -> None:
    """Raise what `open_reader` does, unless `path` can be written and has this schema."""
    _connect_current(path, read_only=False).close()


def _connect_current(
    path: Path, *, read_only: bool, lock_seconds: float = LOCK_SECONDS
) -> StoreConnection:
    connection = connect(path, read_only=read_only, lock_seconds=lock_seconds)
    try:
        with store_errors(path):
            _require_current_schema(connection, path)
    # Also after Ctrl-C, or the file would stay open as long as the process lives.
    except BaseException:
        connection.close()
        raise
    return connection


def schema_version(connection: StoreConnection, path: Path) -> int:
    """Return the schema version of the file, 0 if it has no tables yet.

    Raises `PurchasesError` if its tables are not ours.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    if "alembic_version" in tables and ("deployment" in tables or tables == {"alembic_version"}):
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None or str(row[0]).isdecimal():
            return int(row[0]) if row else 0
    raise PurchasesError(
        f"{path} is a SQLite database, but not one of purchases; name another file in"
        " PURCHASES_DATABASE_URL, or move this one away."
    )


def used_bytes(connection: StoreConnection) -> int:
    """Return how many bytes the pages in use take, as this transaction sees them."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def newer_schema(path: Path, version: int) -> Mismatch:
    """Return the refusal of a file that a newer version of this program wrote."""
    return Mismatch(
        f"{path} has schema version {version}, newer than this program's {SCHEMA_VERSION}:"
        " install the newer version of purchases, or restore an older backup with"
        " `purchases db restore`."
    )


def _require_current_schema(connection: StoreConnection, path: Path) -> None:
    version = schema_version(connection, path)
    if version > SCHEMA_VERSION:
        raise newer_schema(path, version)
    if version < SCHEMA_VERSION:
        raise Mismatch(
            f"{path} has schema version {version}, this program needs {SCHEMA_VERSION}:"
            " run `purchases db upgrade` (it makes a backup first)."
        )
