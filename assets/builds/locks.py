"""The file locks of runs that write: which run is alive, and one writer at a time.

The kernel frees a lock when its process dies, so a started run whose lock is free is dead. What
follows for a dead run is in `orchestration.automation.run_sensors`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder, wait_to_acquire

WRITE_POOL: Final = "purchases_writer"
"""Dagster's pool of the runs that write; its limit of 1 is set when the home is prepared.

Runs outside the queue, as the command line's, do not know pools: for those there is the lock.
"""
DEADLINE_SECONDS: Final = 3_600.0
"""Longer than any backfill of a whole history that was measured; a waiting run costs nothing."""


def is_run_alive(home: Path, run_id: str) -> bool:
    """Return whether a process of this host holds the run's lock."""
    return holder(Home(home).run_lease(run_id)) is not None


@contextmanager
def hold_write_lock(home: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock and the home's write lock, which may first wait for another run.

    Raises `PurchasesError` if the run writes already, and `Unavailable` if another run holds the
    write lock for over an hour.
    """
    # The run's own lock comes first: a run that waits for its turn must count as alive.
    own = Home(home).run_lease(run_id)
    lease = acquire(own)
    if lease is None:
        raise PurchasesError(f"The run {run_id} writes already, in process {holder(own)}.")
    with lease:
        try:
            with _wait_for_turn(Home(home).write_lease):
                yield
        finally:
            # Removed while it is held: a file that nobody holds then means that its process was
            # killed.
            own.unlink(missing_ok=True)


def _wait_for_turn(path: Path) -> Lease:
    lease = wait_to_acquire(path, Deadline.after(DEADLINE_SECONDS))
    if lease is None:
        raise Unavailable(
            f"Process {holder(path)} holds {path} for over an hour; end it, and start again."
        )
    return lease
