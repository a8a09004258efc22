"""SQLite as the store uses it: how a file is opened, its two transactions, and its errors.

Only modules of `store` that handle a file as such (backup, restore, migration) import this; all
others open the store by `connection` or `engine`. No statement over a table belongs here.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.system.file_errors import file_errors

LOCK_SECONDS: Final = 5.0
"""How long a statement waits for another writer. A batch takes well under a second; behind a longer
transaction, such as a rebuild, the consumer pauses and tries again."""
CACHE_KIBIBYTES: Final = 32 * 1024
"""A full batch, or a day of thousands of items, touches up to 6,000 pages; a smaller cache would
write many of them twice."""
CHECKPOINT_PAGES: Final = 16_000
"""64 MB of WAL; with SQLite's 1,000 pages each full batch would also be copied out at once."""
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
"""Of `CHECKPOINT_PAGES`. A longer WAL, as behind a long reader, is cut to it when it begins
again."""

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


def connect(
    path: Path,
    *,
    read_only: bool = False,
    create: bool = False,
    lock_seconds: float = LOCK_SECONDS,
) -> sqlite3.Connection:
    """Open the file with WAL, `synchronous=FULL` and foreign keys; its schema is not checked.

    A statement waits `lock_seconds` for another process's lock. Transactions are begun by
    `transaction` and `snapshot`, never by Python. Without `create` the file must exist. Raises
    what `store_errors` does.
    """
    mode = "ro" if read_only else "rwc" if create else "rw"
    with store_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=lock_seconds,
            # Python's own mode begins a transaction before some statements only.
            isolation_level=None,
            # The dashboard samples from whichever thread asks, and holds a lock meanwhile.
            check_same_thread=False,
        )
        try:
            _configure(connection, read_only=read_only)
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def require_sqlite(connection: object) -> sqlite3.Connection:
    """Return the connection, if it is one of SQLite. Raises `PurchasesError`."""
    if isinstance(connection, sqlite3.Connection):
        return connection
    raise PurchasesError("This works on SQLite only, and not on PostgreSQL yet.")


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of files inside into a sentence about `path`.

    Raises `Unavailable` if waiting may help (locked, disk full or failing), `PurchasesError` if it
    will not (no file, no database, damaged, read-only). Any other error passes through: a reader
    of our output that left, or a bug.
    """
    with file_errors(path):
        try:
            yield
        except sqlite3.Error as error:
            translated = store_error(path, error)
            if translated is None:
                raise
            raise translated from error


def store_error(path: Path, error: BaseException) -> PurchasesError | None:
    """Return the sentence about an error of SQLite; None if no person can mend it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF  # the other bits say more than a person can use
    if primary == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    if primary in _WAITING_HELPS:
        return Unavailable(_WAITING_HELPS[primary].format(path=path))
    if primary in _FINAL:
        return PurchasesError(_FINAL[primary].format(path=path))
    return None


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    if read_only:
        # Opening reads nothing: only a first read finds that the file is locked, or no database.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        return
    # Readers and the one writer do not wait for each other in WAL mode.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # Kafka may delete what was stored, so a power failure must not undo a commit.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}").fetchall()


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


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write what happens inside as a whole, or nothing of it if an error leaves the block.

    The write lock is taken first: a transaction that begins by reading and writes later fails
    at once with SQLITE_BUSY_SNAPSHOT if another writer was quicker.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # After an error such as a full disk SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all statements inside see the database at one moment, while others write."""
    connection.execute("BEGIN")
    try:
        # SQLite fixes the moment at the first read, not at the beginning.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
