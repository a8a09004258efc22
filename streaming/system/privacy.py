"""The permissions of a home: no other user of the machine reads its files, or holds its locks."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, UsageError

UMASK: Final = 0o077
"""New files are their owner's alone, also those that SQLite, Kafka and Dagster make."""


def require_own(home: Path) -> None:
    """Raise `UsageError` if a home, or the link to it, belongs to another user.

    Its settings and Dagster's configuration choose what runs: whoever made `.purchases` in a
    directory that many use would run it as us. What root made, such as a volume, is trusted.
    """
    # What is missing or cannot be reached fails later, or is made.
    with suppress(FileNotFoundError, PermissionError):
        for owner in (home.lstat().st_uid, home.stat().st_uid):
            if owner not in {os.geteuid(), 0}:
                raise UsageError(
                    f"{home} belongs to the user {_name(owner)}, not to {_name(os.geteuid())}: run"
                    " this as that user, or name a directory of your own in PURCHASES_HOME."
                )


def keep_private(home: Path) -> None:
    """Make the directory of a home if it is missing, and close it to all other users.

    A directory of root stays as it is to others. Raises `UsageError` for one of another user, and
    `PurchasesError` for one that all users share, such as `/tmp`.
    """
    require_own(home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_mode & stat.S_ISVTX:
        raise PurchasesError(
            f"{home} is shared by all users of this machine; name a directory of its own in"
            " PURCHASES_HOME."
        )
    close_to_others(home)


def close_to_others(path: Path) -> None:
    """Take all permissions from other users, unless the file or directory is another user's."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & UMASK and status.st_uid == os.geteuid():
        path.chmod(mode & ~UMASK)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
