"""The room on the disk under a home: how much there is, and how little is too little."""

import shutil
from pathlib import Path
from typing import Final

from streaming.errors import Unavailable

LEAST_FREE_BYTES: Final = 256 * 1024 * 1024


def free_bytes(path: Path) -> int:
    """Give the free bytes of the disk under a path, which may not be there yet."""
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free


def require_space(path: Path) -> None:
    """Raise `Unavailable` where so little is free that SQLite or Kafka may break in the middle."""
    free = free_bytes(path)
    if free < LEAST_FREE_BYTES:
        raise Unavailable(
            f"The disk of {path} has only {free // 2**20} MiB left; below"
            f" {LEAST_FREE_BYTES // 2**20} nothing is written. Free some"
        )
