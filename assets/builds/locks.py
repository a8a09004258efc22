"""The file locks of runs that write: who still lives, and one that writes at a time.

The kernel frees a lock when its process dies, so a started run whose lock is free is dead.
What is done about a dead run is the sensors' matter.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.system.home import Home
from streaming.system.lease import acquire, holder

WRITE_POOL: Final = "purchases_writer"
"""The pool of the runs that write; its limit of 1 is set when the home is made."""
LOOK_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 3_600.0


def run_lives(home: Path, run_id: str) -> bool:
    """Say whether a process of this host holds the run's lock."""
    return holder(Home(home).run_lease(run_id)) is not None


@contextmanager
def writing(home: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock, and wait until no other run of this home writes.

    Raises `PurchasesError` where the run writes already, and `Unavailable` where another one does
    so for over an hour.
    """
    own = Home(home).run_lease(run_id)
    lease = acquire(own)
    if lease is None:
        raise PurchasesError(f"The run {run_id} writes already, in process {holder(own)}.")
    with lease:
        try:
            with _turn(Home(home).write_lease):
                yield
        finally:
            own.unlink(missing_ok=True)


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (lease := acquire(path)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"Process {holder(path)} writes for over an hour ({path}).")
        time.sleep(LOOK_SECONDS)
    with lease:
        yield
