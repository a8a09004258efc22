"""The free space of the disk under a home, and how little is too little."""

import shutil
from pathlib import Path
from typing import Final

from streaming.errors import Unavailable

LEAST_FREE_BYTES: Final = 256 * 1024 * 1024
"""More than a write-ahead log and a segment of Kafka grow until the next look."""


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk under a path, which need not exist yet."""
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free


def require_space(path: Path) -> None:
    """Raise `Unavailable` if less than `LEAST_FREE_BYTES` are free."""
    # On a full disk SQLite or Kafka may fail in the middle of a write; this pauses before it.
    free = free_bytes(path)
    if free < LEAST_FREE_BYTES:
        raise Unavailable(
            f"The disk of {path} has only {free // 2**20} MiB left; below"
            f" {LEAST_FREE_BYTES // 2**20} nothing is written. Free some"
        )
