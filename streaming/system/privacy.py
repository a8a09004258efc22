"""The permissions of a home: no other user of the machine reads its files, or holds its locks."""

import os
import stat
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError

UMASK: Final = 0o077
"""New files are their owner's alone, also those that SQLite, Kafka and Dagster make."""


def keep_private(home: Path) -> None:
    """Make the directory of a home if it is missing, and close it to all other users.

    A directory that belongs to another user stays as it is. Raises `PurchasesError` for one that
    all users share, such as `/tmp`.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_mode & stat.S_ISVTX:
        raise PurchasesError(
            f"{home} is shared by all users of this machine; name a directory of its own in"
            " PURCHASES_HOME."
        )
    close_to_others(home)


def close_to_others(path: Path) -> None:
    """Take all permissions from other users, unless the file or directory is another user's."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & UMASK and found.st_uid == os.geteuid():
        path.chmod(mode & ~UMASK)
