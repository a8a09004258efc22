"""Where the tests' homes have their store: each in a file, or each in a database of a server.

The suite chooses by `PURCHASES_TEST_DATABASE=postgres`, for this process and all that it starts.
How the server is started is in `postgres`; a test of one database only needs nothing of this.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import psycopg

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, connect, store_errors, transaction
from streaming.store.dialect import list_tables
from streaming.store.sqlite import LOCK_SECONDS
from tests.postgres import PostgresServer, running_postgres

CHOICE: Final = "PURCHASES_TEST_DATABASE"
CHOSEN: Final = "TESTS_DATABASE"
"""The same, under a name that no command takes for a setting."""
SERVER: Final = "TESTS_POSTGRES"
"""The variable with the directory of the server that homes have their databases on, if one does."""
NOT_YET: Final = (PurchasesError, sqlite3.OperationalError, psycopg.errors.UndefinedTable)
DATABASES: Final[dict[Path, str]] = {}
"""The databases that this process has created, by their homes; each costs 0.1 s and 8 MB."""


def chosen_server() -> PostgresServer | None:
    """Return the server that homes have their databases on; None if these are files."""
    directory = os.environ.get(SERVER)
    return None if directory is None else running_postgres(Path(directory))


def store_variables(home: Path, template: str = "template0") -> dict[str, str]:
    """Return the variables that name a home's database, which is created at first; else none."""
    server = chosen_server()
    if server is None:
        return {}
    # Any process knows it by the home.
    name = f"h{sha256(bytes(home.absolute())).hexdigest()[:16]}"
    if home not in DATABASES:
        server.ensure_database(name, template)
        DATABASES[home] = name
    return {"PURCHASES_DATABASE_URL": server.url(name)}


def home_settings(home: Path, *, template: str = "template0", **more: object) -> Settings:
    """Return settings of a home, whose database is empty if it is new."""
    url = store_variables(home, template).get("PURCHASES_DATABASE_URL")
    return validated_settings({"home": home, "database_url": url, **more})


def validated_settings(values: Mapping[str, object]) -> Settings:
    """Return the settings of values, which are validated once.

    What waits asks for them every 50 ms, and to validate them costs more than to query the store.
    """
    read = [(name, v) for name, v in os.environ.items() if name.startswith("PURCHASES_")]
    return _validate(tuple(values.items()), tuple(read))


@lru_cache
def _validate(values: tuple[tuple[str, object], ...], _read: object) -> Settings:
    return Settings.model_validate(dict(values))


def drop_databases(directory: Path) -> None:
    """Drop the databases of all homes in a directory."""
    for home in [home for home in DATABASES if home.is_relative_to(directory)]:
        server = chosen_server()
        assert server is not None
        server.drop_database(DATABASES.pop(home))


def copy_store(source: Settings, target: Settings) -> None:
    """Put a copy of a store, which nobody has open, in the place of another."""
    if isinstance(source.database, Path):
        with closing(connect(source.database)) as store:
            # What is committed may be in the WAL still.
            assert store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert not Path(f"{target.database_path}-wal").exists()
        target.database_path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.database, target.database_path)
        return
    server = chosen_server()
    assert server is not None
    server.drop_database(DATABASES[target.home])
    # An engine that nobody uses any longer keeps its session until it is collected.
    server.end_sessions(DATABASES[source.home])
    server.create_database(DATABASES[source.home], DATABASES[target.home])


def forget_store(settings: Settings) -> None:
    """Let a home have no store, as before its first start."""
    if isinstance(path := settings.database, Path):
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        return
    server = chosen_server()
    assert server is not None
    server.drop_database(DATABASES[settings.home])
    server.create_database(name=DATABASES[settings.home])


@contextmanager
def look(settings: Settings, lock_seconds: float = LOCK_SECONDS) -> Iterator[StoreConnection]:
    """Look into a home's store by hand; each statement is by itself."""
    with closing(connect(settings.database, lock_seconds=lock_seconds)) as store:
        yield store


@contextmanager
def change(settings: Settings, lock_seconds: float = LOCK_SECONDS) -> Iterator[StoreConnection]:
    """Change a home's store by hand, in a transaction for which all writers wait."""
    with look(settings, lock_seconds) as store:
        if not isinstance(settings.database, Path):
            # A test may hold it for as long as it likes.
            store.execute("SET idle_in_transaction_session_timeout = 0")
        with transaction(store):
            yield store


def parts_with(settings: Settings, *names: str) -> list[str]:
    """Return the files of a home's store that hold one of the names, or its tables on a server."""
    if isinstance(path := settings.database, Path):
        return [
            file.name
            for file in path.parent.glob(f"{path.name}*")
            if any(name.encode() in file.read_bytes() for name in names)
        ]
    with look(settings) as store:
        return [
            table
            for table in list_tables(store)
            for rows in [store.execute(f'SELECT t::text FROM "{table}" t').fetchall()]
            if any(name in row for (row,) in rows for name in names)
        ]


def refuse_updates(store: StoreConnection, table: str) -> None:
    """Let each update of a table fail, saying `stop`, until `allow_updates`."""
    if isinstance(store, sqlite3.Connection):
        body = "BEGIN SELECT raise(ABORT, 'stop'); END"
    else:
        function = "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
        store.execute(f"{function} $$ BEGIN RAISE EXCEPTION 'stop'; END $$")
        body = "FOR EACH ROW EXECUTE FUNCTION stop()"
    store.execute(f"CREATE TRIGGER stop BEFORE UPDATE ON {table} {body}")


def allow_updates(store: StoreConnection, table: str) -> None:
    """Take back what `refuse_updates` did."""
    of_table = "" if isinstance(store, sqlite3.Connection) else f" ON {table}"
    store.execute(f"DROP TRIGGER stop{of_table}")


def on_insert(store: StoreConnection, table: str, statement: str) -> None:
    """Let each insert of a row into a table execute a statement, in which the row is `new`."""
    if isinstance(store, sqlite3.Connection):
        body = f"BEGIN {statement} END"
    else:
        function = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        store.execute(f"{function} $$ BEGIN {statement} RETURN new; END $$")
        body = "FOR EACH ROW EXECUTE FUNCTION note()"
    store.execute(f"CREATE TRIGGER note AFTER INSERT ON {table} {body}")


def read_named(store: StoreConnection, statement: str, *values: object) -> list[dict[str, Any]]:
    """Return the rows of a statement, each by the names of its columns."""
    rows = store.execute(statement, values)
    names = [column[0] for column in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_rows(settings: Settings, statement: str, *values: Any) -> list[Any]:  # noqa: ANN401
    """Return the rows of a statement; raises one of `NOT_YET` before there are such tables."""
    database = settings.database
    with closing(connect(database, read_only=True)) as store, store_errors(database):
        return store.execute(statement, values).fetchall()
