"""The one way to open the event store: to read it, to write it, or to read it again and again.

Everybody outside `store` opens it here or, for a writer that runs long, in `engine`. What is read
is of one moment, what is written is whole. How the two databases do that is in `sqlite` and
`postgres`; here is chosen between them. No statement over a table belongs here.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from streaming.errors import Mismatch, PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.store import sqlite
from streaming.store.sqlite import LOCK_SECONDS
from streaming.system.database import Database, PostgresDatabase

if TYPE_CHECKING:
    from streaming.store.postgres import PostgresConnection

SCHEMA_VERSION: Final = 17
"""The number of the last migration; each release can read its own schema only."""
MOVE_TABLE: Final = "purchases_move"
"""A table that is there only while `store.move` fills the database."""


class StoreRows(Protocol):
    """The rows of a statement, each a tuple; `rowcount` is how many it changed."""

    @property
    def rowcount(self) -> int: ...  # noqa: D102 - the driver's
    @property
    def description(self) -> Any: ...  # noqa: ANN401, D102 - the driver's

    def fetchone(self) -> Any: ...  # noqa: ANN401, D102 - the driver's
    def fetchmany(self, size: int = ..., /) -> list[Any]: ...  # noqa: D102
    def fetchall(self) -> list[Any]: ...  # noqa: D102
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...  # noqa: ANN401


class StoreConnection(Protocol):
    """A connection inside a snapshot or a transaction, which ends with the block that opened it.

    Its statements have `?` or `:name` for parameters.
    """

    def execute(  # noqa: D102 - the driver's
        self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ..., /
    ) -> StoreRows: ...
    def executemany(  # noqa: D102 - the driver's
        self, statement: str, rows: Iterable[Sequence[Any]] | Iterable[Mapping[str, Any]], /
    ) -> StoreRows: ...
    def create_function(  # noqa: D102 - the driver's
        self, name: str, narg: int, func: Callable[..., Any], /, *, deterministic: bool = ...
    ) -> None: ...
    def interrupt(self) -> None: ...  # noqa: D102 - the driver's
    def close(self) -> None: ...  # noqa: D102 - the driver's


class StoreReader:
    """The store, open for a series of snapshots; close it at the end.

    After an `Unavailable` the next snapshot connects again: a server that was away has ended the
    session.
    """

    def __init__(self, database: Database, lock_seconds: float) -> None:
        self._database, self._lock_seconds = database, lock_seconds
        self._connection: StoreConnection | None = self._connect()

    @contextmanager
    def snapshot(self, *, temporary: bool = False) -> Iterator[StoreConnection]:
        """Read the store at one moment; with `temporary` into temporary tables too.

        Raises what `store_errors` does.
        """
        connection = self._connection = self._connection or self._connect()
        try:
            with store_errors(self._database), snapshot(connection, temporary=temporary):
                yield connection
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> StoreConnection:
        lock_seconds = self._lock_seconds
        return connect_current(self._database, read_only=True, lock_seconds=lock_seconds)


def store_errors(database: Database) -> AbstractContextManager[None]:
    """Turn the errors of the database inside into a sentence about it.

    Raises `Unavailable` if waiting may help, `PurchasesError` if it will not.
    """
    if isinstance(database, Path):
        return sqlite.store_errors(database)
    from streaming.store import postgres

    return postgres.store_errors(database)


def open_reader(settings: Settings, lock_seconds: float = LOCK_SECONDS) -> StoreReader:
    """Open the store for reading, and refuse it unless its schema is this version's.

    Raises `Mismatch` naming both schema versions and the remedy, and what `store_errors` does.
    """
    return StoreReader(settings.database, lock_seconds)


@contextmanager
def read_store(
    settings: Settings, lock_seconds: float = LOCK_SECONDS, *, temporary: bool = False
) -> Iterator[StoreConnection]:
    """Read the store at one moment; with `temporary` into temporary tables too.

    Raises what `open_reader` does.
    """
    with (
        closing(open_reader(settings, lock_seconds)) as reader,
        reader.snapshot(temporary=temporary) as store,
    ):
        yield store


@contextmanager
def read_store_together(
    settings: Settings,
    number: int,
    begin: Callable[[StoreConnection], None] = lambda _: None,
) -> Iterator[list[StoreConnection]]:
    """Read the store at one moment by several connections, for a thread each.

    They may make temporary tables. `begin` gets the first of them, while nobody writes: other
    processes that begin a snapshot before it returns see the same moment. Raises what `open_reader`
    does.
    """
    database = settings.database
    with store_errors(database), ExitStack() as opened:
        stores = [
            opened.enter_context(closing(connect_current(database, read_only=True)))
            for _ in range(number)
        ]
        # A snapshot is of the last commit before it, and nobody else commits meanwhile.
        with write_store(settings):
            for store in stores:
                opened.enter_context(snapshot(store, temporary=True))
            begin(stores[0])
        yield stores


@contextmanager
def write_store(settings: Settings) -> Iterator[StoreConnection]:
    """Write to the store in one transaction: all of the block, or nothing if an error leaves it.

    No other process writes events or figures meanwhile. Raises what `open_reader` does.
    """
    database = settings.database
    with (
        closing(connect_current(database, read_only=False)) as store,
        store_errors(database),
        transaction(store),
    ):
        yield store


def store_exists(settings: Settings) -> bool:
    """Return whether the database is there, with tables in it: nothing is stored before.

    Raises what `store_errors` does if a server does not answer.
    """
    database = settings.database
    if isinstance(database, Path):
        return database.exists()
    with closing(connect(database)) as connection, store_errors(database):
        return schema_version(connection, database) > 0


def require_current_store(database: Database) -> None:
    """Raise what `open_reader` does, unless the database can be written and has this schema."""
    connect_current(database, read_only=False).close()


def connect(
    database: Database, *, read_only: bool = False, lock_seconds: float = LOCK_SECONDS
) -> StoreConnection:
    """Connect to a database of any schema; outside `store` nobody does.

    Raises what `store_errors` does.
    """
    if isinstance(database, Path):
        return sqlite.connect(database, read_only=read_only, lock_seconds=lock_seconds)
    from streaming.store import postgres

    return postgres.connect(database, lock_seconds=lock_seconds)


def connect_current(
    database: Database, *, read_only: bool, lock_seconds: float = LOCK_SECONDS
) -> StoreConnection:
    """Connect to a database of this version's schema. Raises what `open_reader` does."""
    connection = connect(database, read_only=read_only, lock_seconds=lock_seconds)
    try:
        with store_errors(database):
            _require_current_schema(connection, database)
    # Also after Ctrl-C, or the file would stay open as long as the process lives.
    except BaseException:
        connection.close()
        raise
    return connection


def snapshot(
    connection: StoreConnection, *, temporary: bool = False
) -> AbstractContextManager[None]:
    """Let all statements inside see the database at one moment; see `StoreReader.snapshot`."""
    if isinstance(connection, sqlite3.Connection):
        return sqlite.snapshot(connection)
    from streaming.store import postgres

    return postgres.snapshot(cast("PostgresConnection", connection), temporary=temporary)


def transaction(connection: StoreConnection) -> AbstractContextManager[None]:
    """Write what happens inside as a whole, or nothing of it; see `write_store`."""
    if isinstance(connection, sqlite3.Connection):
        return sqlite.transaction(connection)
    from streaming.store import postgres

    return postgres.transaction(cast("PostgresConnection", connection))


def schema_version(connection: StoreConnection, database: Database) -> int:
    """Return the schema version of the database, 0 if it has no tables yet.

    Raises `PurchasesError` if its tables are not ours.
    """
    tables = table_names(connection)
    if not tables:
        return 0
    if MOVE_TABLE in tables:
        raise Mismatch(
            f"{sentence_start(database)} is the target of a move that is not done: run the same"
            " `purchases db move` again, or name the database that it was begun from."
        )
    if "alembic_version" in tables and ("deployment" in tables or tables == {"alembic_version"}):
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None or str(row[0]).isdecimal():
            return int(row[0]) if row else 0
    named = "a SQLite database" if isinstance(database, Path) else "a database with tables"
    raise PurchasesError(
        f"{sentence_start(database)} is {named}, but not one of purchases; name another one in"
        " PURCHASES_DATABASE_URL, or move this one away."
    )


def table_names(connection: StoreConnection) -> set[str]:
    """Return the names of the tables."""
    if isinstance(connection, sqlite3.Connection):
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    from streaming.store import postgres

    return postgres.table_names(cast("PostgresConnection", connection))


def used_bytes(connection: StoreConnection) -> int:
    """Return how many bytes the database takes, without the pages of a file that are free."""
    if not isinstance(connection, sqlite3.Connection):
        from streaming.store import postgres

        return postgres.used_bytes(cast("PostgresConnection", connection))
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def sentence_start(database: Database) -> str:
    """Return the database's name as a sentence begins with it."""
    name = str(database)
    return name[0].upper() + name[1:] if isinstance(database, PostgresDatabase) else name


def newer_schema(database: Database, version: int) -> Mismatch:
    """Return the refusal of a database that a newer version of this program wrote."""
    return Mismatch(
        f"{sentence_start(database)} has schema version {version}, newer than this program's"
        f" {SCHEMA_VERSION}: install the newer version of purchases, or restore an older backup"
        f" with `{_restore(database)}`."
    )


def _require_current_schema(connection: StoreConnection, database: Database) -> None:
    version = schema_version(connection, database)
    if version > SCHEMA_VERSION:
        raise newer_schema(database, version)
    if version < SCHEMA_VERSION:
        raise Mismatch(_older_schema(database, version))


def _restore(database: Database) -> str:
    return "purchases db restore" if isinstance(database, Path) else "pg_restore"


def _older_schema(database: Database, version: int) -> str:
    if isinstance(database, PostgresDatabase):
        if not version:
            return (
                f"{sentence_start(database)} has no tables yet; `purchases up` or"
                " `purchases db upgrade` makes them."
            )
        backup = "make a backup with pg_dump first"
    else:
        backup = "it makes a backup first"
    return (
        f"{sentence_start(database)} has schema version {version}, this program needs"
        f" {SCHEMA_VERSION}: run `purchases db upgrade` ({backup})."
    )
