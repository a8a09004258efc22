"""Free space of the database file, which still holds what was deleted; nothing else is here."""

from contextlib import closing
from pathlib import Path
from typing import Final

from streaming.errors import Unavailable
from streaming.store.sqlite import connect, store_errors
from streaming.system.database import Database

VACUUM_LOCK_SECONDS: Final = 30.0
"""For the transactions of other writers, of which only a rebuild takes so long."""


def overwrite_free_space(path: Database) -> bool:
    """Write the file again without what was deleted, and empty its WAL; return whether it is done.

    That holds the write lock for about as long as a backup takes; readers go on. On a server it is
    never done: its log and its backups would hold the rest.
    """
    if not isinstance(path, Path):
        return False
    try:
        with closing(connect(path, lock_seconds=VACUUM_LOCK_SECONDS)) as store, store_errors(path):
            # Deleted content stays in free pages of the file, and in the WAL until that is emptied.
            store.execute("VACUUM")
            is_busy, _, _ = store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except Unavailable:
        return False
    return not is_busy
