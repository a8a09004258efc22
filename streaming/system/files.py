"""Atomic replacement of files: a reader sees the old content or the new, never a half one.

What is in a file, and what a failed write means, is the caller's matter.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replace_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file, which takes the place of `path` when the block ends without an error.

    With `durable` the content survives a power failure from then on, at the cost of two `fsync`s.
    Nobody but its owner may read it, because it may hold a password or what customers bought.
    Raises `OSError` if the disk is full or read-only; `path` then stays as it was.
    """
    draft = draft_path(path)
    try:
        with open(draft, "wb", opener=_open_private) as file:
            yield file
            if durable:
                # The content before the name: after a power failure the name must not stand for an
                # empty file.
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:
            sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def draft_path(path: Path) -> Path:
    """Return the file that this process writes before it takes the place of `path`.

    It lies in the same directory, because a rename is atomic only within one file system.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: `fsync` of a file does not cover its name."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
