"""The restore of a backup in place of the database, while no worker runs.

How a database is copied and checked is in `backup`, how its schema is brought up in `schema`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from streaming.apps import ANALYTICS
from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.archive import list_archive
from streaming.store.backup import Progress, backup_path, copy_database, require_integrity
from streaming.store.column_files import forget_missing
from streaming.store.column_store import ColumnStore, DirectoryStore, open_column_store
from streaming.store.connection import (
    SCHEMA_VERSION,
    newer_schema,
    schema_version,
    write_store,
)
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.erasure import apply_again
from streaming.store.kept_columns import ARCHIVE_VERSION, put_back
from streaming.store.pseudonyms import Erasure
from streaming.store.schema import migrate
from streaming.store.sqlite import connect, store_errors
from streaming.system.database import PostgresDatabase
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder


@dataclass(frozen=True)
class RestoreResult:
    """Where the replaced database is kept, None if there was none; and what was erased again."""

    kept: Path | None
    erasures: list[Erasure]


def restore(settings: Settings, source: Path, progress: Progress | None = None) -> RestoreResult:
    """Put the backup `source` in the place of the database, and migrate it if it is older.

    The content is replaced in one transaction, so that a reader sees the one or the other. Who was
    erased in this home is erased in the restored one too. Raises `PurchasesError` while a worker of
    this home runs or a run writes, if `source` is no backup of a deployment with these settings, or
    if a column file with the only copy of some of its events is not there.
    """
    path, column_store = settings.database_path, open_column_store(settings)
    with closing(_open_backup(source)) as content:
        _require_restorable(content, source, settings)
        with workers_stopped(settings):
            # Before anything is replaced: without these files the restored database would lack
            # events.
            _require_archive(content, source, column_store, Home(settings.home))
            kept = _set_aside(path, backup_path(settings, "before-restore"))
            if path.exists():
                # Not by a rename: who has the file open would go on reading the old one.
                _replace(content, source, path, progress)
            else:
                copy_database(content, source, path, progress)
            # The backup may be of an older release; what follows needs the present schema.
            migrate(path)
            with write_store(settings) as store:
                forget_missing(store, column_store)
            return RestoreResult(kept, apply_again(settings))


def _open_backup(source: Path) -> sqlite3.Connection:
    if not source.is_file():
        raise UsageError(f"There is no backup at {source}.")
    try:
        return connect(source, read_only=True)
    except Unavailable:
        raise
    except PurchasesError as error:
        raise UsageError(f"{source} cannot be restored: is it a backup? {error}") from error


def _require_restorable(content: sqlite3.Connection, source: Path, settings: Settings) -> None:
    path = settings.database_path
    if path.exists() and source.samefile(path):
        raise UsageError(f"{source} is the database itself; name a backup.")
    with store_errors(source):
        version = schema_version(content, source)
        recorded = recorded_deployment(content) if version else None
    if version > SCHEMA_VERSION:
        raise newer_schema(source, version)
    if version == 0:
        raise UsageError(f"{source} is an empty database; name a backup.")
    if recorded is not None:
        require_same_deployment(recorded, settings, source)
    require_integrity(content, source)


def _require_archive(
    content: sqlite3.Connection, source: Path, column_store: ColumnStore, home: Home
) -> None:
    """Put back the files that hold events which the backup does not.

    Raises `UsageError` if one of them is nowhere.
    """
    with store_errors(source):
        # An older schema has no archive.
        is_older = schema_version(content, source) < ARCHIVE_VERSION
        files = [] if is_older else list_archive(content)
    if not files:
        return
    there = column_store.sizes()
    # A bucket has no only copies, and none can be put back into it.
    is_local = isinstance(column_store, DirectoryStore)
    sizes = (DirectoryStore(home.kept_columns).sizes() if is_local else {}) | there
    lost = [file for file in files if sizes.get(file.name) != file.bytes]
    if lost:
        raise UsageError(
            f"{source} lacks {sum(file.archived or 0 for file in lost):,} events that are in"
            f" {len(lost):,} column files only, such as {lost[0].name}. These are not there: put"
            " them back from a copy of the directory columns, or name another backup."
        )
    put_back(home, [file.name for file in files if file.name not in there])


@contextmanager
def workers_stopped(settings: Settings) -> Iterator[None]:
    """Hold the leases of this home's workers and runs, so that none runs or starts.

    On a server the runs of all hosts are kept out. Raises `PurchasesError` naming one that runs.
    """
    home = Home(settings.home)
    # The configured slots too: as long as their leases are held, no supervisor starts a worker.
    slots = {home.worker_lease(ANALYTICS.name, slot) for slot in range(ANALYTICS.slots(settings))}
    with ExitStack() as leases:
        for lock in sorted(
            slots | set(home.list_supervisor_leases()) | set(home.list_worker_leases())
        ):
            lease = acquire(lock)
            if lease is None:
                raise PurchasesError(
                    f"The worker {lock.stem} of this home runs (process {holder(lock)}):"
                    " stop it first, with `purchases down` or Ctrl-C where it was started."
                )
            leases.enter_context(lease)
        leases.enter_context(_lease_of_runs(home.write_lease))
        if isinstance(settings.database, PostgresDatabase):
            from streaming.store.postgres_locks import keep_runs_out

            leases.enter_context(keep_runs_out(settings.database))
        yield


def _lease_of_runs(path: Path) -> Lease:
    """Hold the lease of the runs that write: theirs would be figures of the replaced database."""
    lease = acquire(path)
    if lease is None:
        raise PurchasesError(
            f"A run of Dagster writes to the database (process {holder(path)}): wait for its end,"
            " or stop it with `purchases down`."
        )
    return lease


def _set_aside(path: Path, kept: Path) -> Path | None:
    """Keep what is there: a copy of a sound database, which stays; a damaged one is moved away."""
    if not path.exists():
        _remove_side_files(path)
        return None
    try:
        with closing(connect(path)) as connection:
            copy_database(connection, path, kept)
    except Unavailable:
        raise
    except PurchasesError:
        with store_errors(path):
            kept.parent.mkdir(parents=True, exist_ok=True)
            # The database goes last: a crash in between must not leave a WAL without its database.
            for suffix in ("-wal", "-shm", ""):
                file = Path(f"{path}{suffix}")
                if file.exists():
                    file.rename(f"{kept}{suffix}")
    return kept


def _remove_side_files(path: Path) -> None:
    """Remove a WAL that was left without its database: SQLite would add it to the next one."""
    with store_errors(path):
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def _replace(
    content: sqlite3.Connection, source: Path, path: Path, progress: Progress | None
) -> None:
    """Write the content into the database as one transaction of SQLite's backup API."""

    def report(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(connect(path)) as connection, store_errors(path):
        # SQLite cannot change the page size of a database in WAL mode, and calls it read-only.
        sizes = [c.execute("PRAGMA page_size").fetchone()[0] for c in (content, connection)]
        if sizes[0] != sizes[1]:
            raise PurchasesError(
                f"{source} has pages of {sizes[0]} bytes, {path} of {sizes[1]}:"
                " move that file away, and restore again."
            )
        content.backup(connection, progress=report)
