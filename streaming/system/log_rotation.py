"""Rotation of a process's own log by size, while it writes.

Who starts a process with a log is in `child_process`; what is logged, and how, is in `logs`.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

LOG_BYTES: Final = 10 * 1024 * 1024
"""Days of warnings, and soon read. With the file before it a log takes twice as much."""
CHECK_SECONDS: Final = 1.0
"""Even a process that logs as fast as it can adds only some tens of MiB in between."""
LOG_FILE: Final = "LOG_FILE_OF_PURCHASES"
"""The variable by which a process learns which file its output goes to. It is no setting."""


def rotate_own_log() -> None:
    """Keep the file of this process's output small from now on, if `start_child` gave it one."""
    # Not for its own children: one process rotates a file.
    log = os.environ.pop(LOG_FILE, None)
    if log is not None:
        Thread(
            target=_rotate_repeatedly, args=(Path(log),), name="log-rotation", daemon=True
        ).start()


def rotate(log: Path, most: int = LOG_BYTES) -> None:
    """Move the content of a log of over `most` bytes to `<name>.1`.

    The file itself stays, because children and libraries hold it open; all append, and go on at its
    new end. What is written between copy and cut is lost: a few lines at most.
    """
    if log.stat().st_size > most:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def _rotate_repeatedly(log: Path) -> None:
    while True:
        # A full disk, or a file that somebody has taken away, ends no process.
        with suppress(OSError):
            rotate(log)
        time.sleep(CHECK_SECONDS)
