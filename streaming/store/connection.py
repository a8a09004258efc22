"""The one way to open the SQLite file, on `sqlite3` alone, and what SQLite's errors mean.

Everything opens it here: SQLAlchemy's engine (`engine.py`), the readers that must start fast
(`figures.py`) and the upkeep (`maintenance.py`). Statements over the tables live with them.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from streaming.errors import Mismatch, PurchasesError, Unavailable
from streaming.settings import Settings

SCHEMA_VERSION: Final = 3
BUSY_TIMEOUT_SECONDS: Final = 5.0
CACHE_KIBIBYTES: Final = 8 * 1024
"""A full batch touches some thousands of pages; SQLite's 2 MB of cache would write many twice."""
CHECKPOINT_PAGES: Final = 16_000
"""64 MB of WAL; with SQLite's 1,000 pages each full batch would also be copied out at once."""
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024

_LOCKED = "{path} is locked by another process."
_READ_ONLY = "{path} or its directory may not be written by this user, or its disk is read-only."
_WAITING_HELPS: Final = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: "The disk of {path} is full; free some space.",
    sqlite3.SQLITE_IOERR: "The disk of {path} does not read or write; is it full or failing?",
}
_FINAL: Final = {
    sqlite3.SQLITE_NOTADB: (
        "{path} is not a SQLite database; move it away, or restore a backup with"
        " `purchases db restore`."
    ),
    sqlite3.SQLITE_CORRUPT: "{path} is damaged; restore a backup with `purchases db restore`.",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
}
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


def connect(path: Path, *, read_only: bool = False, create: bool = False) -> sqlite3.Connection:
    """Open the file: WAL, `synchronous=FULL`, foreign keys, 5 s of patience with other writers.

    Transactions are the caller's to begin (`BEGIN IMMEDIATE` to write, `BEGIN` to read). Without
    `create` the file must exist; its schema is not looked at. Raises what `store_errors` does.
    """
    mode = "ro" if read_only else "rwc" if create else "rw"
    with store_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _configure(connection, read_only=read_only)
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def connect_current(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file as `connect` does, and refuse it unless its schema is this version's.

    Raises `Mismatch` naming both schema versions and the remedy.
    """
    connection = connect(path, read_only=read_only)
    try:
        with store_errors(path):
            require_current_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Give the schema version of the file: 0 where it has no tables yet.

    Raises `PurchasesError` where its tables are not ours.
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


def require_current_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `Mismatch` unless the file has the schema version that this program writes."""
    found = schema_version(connection, path)
    if found > SCHEMA_VERSION:
        raise newer_schema(path, found)
    if found < SCHEMA_VERSION:
        raise Mismatch(
            f"{path} has schema version {found}, this program needs {SCHEMA_VERSION}:"
            " run `purchases db upgrade` (it makes a backup first)."
        )


def newer_schema(path: Path, found: int) -> Mismatch:
    """Give the refusal of a file that a newer version of this program wrote."""
    return Mismatch(
        f"{path} has schema version {found}, newer than this program's {SCHEMA_VERSION}:"
        " install the newer version of purchases, or restore an older backup with"
        " `purchases db restore`."
    )


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says (through `sqlite3` or SQLAlchemy) into a sentence about `path`.

    Raises `Unavailable` where waiting may help (locked, disk full or failing), `PurchasesError`
    where it will not (no file, no database, damaged, read-only). What else is raised passes
    through: a reader of our output that left, or a bug.
    """
    try:
        yield
    except (PurchasesError, BrokenPipeError):
        raise
    except OSError as error:
        raise _file_error(path, error) from error
    except Exception as error:
        cause = getattr(error, "orig", error)
        code = getattr(cause, "sqlite_errorcode", None)
        translated = None if code is None else _translated(path, code & 0xFF)
        if translated is None:
            raise
        raise translated from error


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    if read_only:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        return
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}").fetchall()


def _translated(path: Path, code: int) -> PurchasesError | None:
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    if code in _WAITING_HELPS:
        return Unavailable(_WAITING_HELPS[code].format(path=path))
    if code in _FINAL:
        return PurchasesError(_FINAL[code].format(path=path))
    return None


def _cannot_open(path: Path) -> PurchasesError:
    if path.is_dir():
        return PurchasesError(f"{path} is a directory, not a SQLite database.")
    try:
        exists = path.exists()
    except PermissionError:
        exists = True
    if exists:
        return PurchasesError(f"{path} or its directory may not be opened by this user.")
    return PurchasesError(
        f"There is no database at {path}; `purchases up` or `purchases db upgrade` makes one."
    )


def _file_error(path: Path, error: OSError) -> PurchasesError:
    if error.errno in _NO_SPACE:
        return Unavailable(f"The disk of {path} is full; free some space.")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return PurchasesError(f"{error.filename or path} cannot be used: {reason}.")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all statements inside see the store at one moment, while others write."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Read the store at one moment. Raises what `connect_current` does."""
    path = settings.database_path
    opened = closing(connect_current(path, read_only=True))
    with opened as store, store_errors(path), snapshot(store):
        yield store
