"""Backups: a database copied whole by SQLite's backup API, and checked.

A copied file without its WAL would not be a backup. When a copy is made besides `purchases db
backup` is decided by `schema`, `rebuild` and `restore`; putting one back is in `restore`.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.kept_columns import prune_kept
from streaming.store.sqlite import connect, snapshot, store_errors
from streaming.system.disk_space import LEAST_FREE_BYTES, free_bytes
from streaming.system.files import sync_directory
from streaming.system.home import Home

PAGES_PER_STEP: Final = 4096
"""16 MB between two calls of `progress`, which is often enough for a person."""
SCHEDULED: Final = "scheduled"
ROOM: Final = 2
"""How many times the database must be free before a scheduled copy: for it, and for what comes."""
Progress = Callable[[int, int], None]


def copy_database(
    source: sqlite3.Connection, path: Path, target: Path, progress: Progress | None = None
) -> None:
    """Copy the database of `source` (at `path`) as one moment saw it, while others may write.

    `target` appears only when it is whole and passed SQLite's integrity check; it is one file,
    without a WAL. `progress` gets pages done and pages in all. Raises `UsageError` if the
    target exists or its directory does not, `PurchasesError` if the copy is damaged, and what
    `store_errors` does.
    """
    if target.exists():
        raise UsageError(f"{target} exists already; name another file for the backup.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target} is in a directory that does not exist; create it first.")
    part = target.with_name(f"{target.name}.part")
    with store_errors(target):
        part.unlink(missing_ok=True)
        part.touch()
    try:
        _copy(source, path, part, progress)
        with store_errors(target):
            # The name appears with the whole content only; without the sync a power failure may
            # undo it.
            part.rename(target)
            sync_directory(target.parent)
    finally:
        for leftover in (part, Path(f"{part}-wal"), Path(f"{part}-shm")):
            leftover.unlink(missing_ok=True)


def require_integrity(connection: StoreConnection, path: Path) -> None:
    """Raise `PurchasesError` with SQLite's first finding if the database is damaged."""
    with store_errors(path):
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
    if findings != ["ok"]:
        finding = " ".join(str(findings[0]).split())
        raise PurchasesError(
            f"{path} is damaged ({finding}); restore a backup with `purchases db restore`."
        )


def _copy(source: sqlite3.Connection, path: Path, part: Path, progress: Progress | None) -> None:
    def report(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(connect(part, create=True)) as copy:
        # An open read transaction pins the moment: otherwise every commit of another process
        # starts the copy again.
        with store_errors(path), snapshot(source):
            source.backup(copy, pages=PAGES_PER_STEP, progress=report)
        with store_errors(part):
            # Opened in WAL mode, the copy would need a second file, which nobody copies along.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        require_integrity(copy, path)


def backup_path(settings: Settings, why: str) -> Path:
    """Return a new path in `<home>/backups/`; its name begins with the time in UTC, so it sorts.

    The directory is created if it is missing.
    """
    now, folder = datetime.now(UTC), Home(settings.home).backups
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"purchases-{now:%Y%m%dT%H%M%S.%f}Z-{why}.db"


def backup(
    settings: Settings, target: Path | None = None, progress: Progress | None = None
) -> Path:
    """Copy the database, also while it is written to; return the path of the copy.

    `target` may be a new file or a directory; without it, it is `<home>/backups/`. Raises what
    `copy_database` does.
    """
    path = settings.database_path
    chosen = backup_path(settings, "backup")
    if target is not None:
        chosen = target / chosen.name if target.is_dir() else target
    with closing(connect(path)) as connection:
        copy_database(connection, path, chosen, progress)
    return chosen


def scheduled_backup(settings: Settings) -> Path | None:
    """Make a backup, then delete the oldest scheduled ones beyond those that are kept.

    Other backups stay, and column files that one of them needs. Returns the path of the copy, None
    if none is to be kept. Raises `Unavailable` if it would leave too little of the disk, and what
    `copy_database` does.
    """
    if not settings.backup_keep:
        return None
    folder, size = Home(settings.home).backups, settings.database_path.stat().st_size
    if free_bytes(folder) < needed_bytes(size):
        raise Unavailable(
            f"The disk of {folder} has less than {ROOM} times the {size // 2**20} MiB of the"
            " database left; free some, or set PURCHASES_BACKUP_KEEP=0"
        )
    made = backup(settings, backup_path(settings, SCHEDULED))
    # Their names begin with their time.
    for old in sorted(folder.glob(f"*-{SCHEDULED}.db"))[: -settings.backup_keep]:
        old.unlink(missing_ok=True)
    prune_kept(Home(settings.home))
    return made


def needed_bytes(size: int) -> int:
    """Return how many bytes must be free before a copy of a database of `size` bytes is made.

    For copies that nobody asked for: the stream needs the disk too.
    """
    return ROOM * size + LEAST_FREE_BYTES


def newest_backup(settings: Settings) -> Path | None:
    """Return the newest backup of this database, scheduled or made by hand; None without one."""
    folder = Home(settings.home).backups
    backups = [*folder.glob(f"*-{SCHEDULED}.db"), *folder.glob("*-backup.db")]
    return max(backups, key=lambda path: path.name, default=None)
