"""A lease on a file: held by at most one process of a host, freed by the kernel at its death.

What a lease stands for (a slot, a supervisor, a replay) is its holder's matter.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PID_BYTES: Final = 20


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

    def hand_to(self, pid: int) -> None:
        """Write the id of a child that inherited the descriptor, and holds the lease with it."""
        # Always as long, in its place: so a full disk does not keep a worker from starting again.
        os.pwrite(self.descriptor, b"%-*d\n" % (PID_BYTES - 1, pid), 0)

    def close(self) -> None:
        """Give the lease up."""
        os.close(self.descriptor)


def acquire(path: Path) -> Lease | None:
    """Take the lease at once, writing our process id into the file; None where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if not _lock(descriptor):
        os.close(descriptor)
        return None
    lease = Lease(path, descriptor)
    lease.hand_to(os.getpid())
    return lease


def holder(path: Path) -> int | None:
    """Give the process id that holds the lease, or None; 0 where it has not been written yet."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, PID_BYTES, 0).strip() or b"0")
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock, trying again for 50 ms: `holder` locks for an instant to look."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False
