"""Leases: locks on files, held by one process of a host each, freed by the kernel at its death.

What a lease protects (a slot, a supervisor, a replay) is its holder's matter.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streaming.system.deadline import POLL_SECONDS, Deadline

PID_BYTES: Final = 20
"""Always as long, whatever the number: see `acquire`."""
TAKE_OVER: Final = ("/bin/sh", "-c", f'printf "%-{PID_BYTES - 1}d\\n" $$ 1<>"$0"; exec "$@"')
"""Before a lease's path and a command: the process names itself as the holder of the lease that it
inherited, and becomes the command. If its parent did, a parent that is killed before leaves a
holder that nobody finds."""


class Lease:
    """An exclusive `flock`, released by `close` or by the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lease, unless a child inherited it."""
        os.close(self.descriptor)


def acquire(path: Path) -> Lease | None:
    """Take the lease at once, and write our process id into the file; None if it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not truncated: as long as it is held, the file names its holder. It is not removed either, or
    # two processes could each lock a file of this name. Who may read it may lock it, so others may
    # not.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _lock(descriptor):
        os.close(descriptor)
        return None
    # Overwritten in place with equal length, which needs no space: a worker must start again on a
    # full disk too.
    os.pwrite(descriptor, b"%-*d\n" % (PID_BYTES - 1, os.getpid()), 0)
    return Lease(path, descriptor)


def wait_to_acquire(path: Path, deadline: Deadline) -> Lease | None:
    """Take the lease as soon as its holder frees it; None if another has it at the deadline."""
    while (lease := acquire(path)) is None and not deadline.is_over():
        time.sleep(POLL_SECONDS)
    return lease


def holder(path: Path) -> int | None:
    """Return the process id of the holder; None if it is free, 0 if the id is not written yet."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Shared, so that two who ask at once do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, PID_BYTES, 0).strip() or b"0")
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Return whether the lock was taken; tried for 50 ms, because `holder` locks for an instant."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False
