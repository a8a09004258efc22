"""The locks of runs that write: which run is alive, and what may be written at a time.

That of Dagster's one daemon is here too.

With a SQLite file they are file locks of the home, and one run writes at a time. With a PostgreSQL
database they are its advisory locks, on whatever host a run is: builds write side by side, and a
seal alone. Either lock is freed when its process dies, so a started run whose lock is free is dead.
What follows for a dead run is in `orchestration.automation.run_sensors`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.system.database import PostgresDatabase
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder, wait_to_acquire

WRITE_POOL: Final = "purchases_writer"
"""Dagster's pool of the runs that write; its limit of 1 is set when the home is prepared.

Runs outside the queue, as the command line's, do not know pools: for those there is the lock.
"""
DEADLINE_SECONDS: Final = 3_600.0
"""Longer than any backfill of a whole history that was measured; a waiting run costs nothing."""


def takes_several_writers(settings: Settings) -> bool:
    """Return whether several runs may build at a time."""
    return isinstance(settings.database, PostgresDatabase)


def is_run_alive(settings: Settings, run_id: str) -> bool:
    """Return whether a process holds a run's lock: of this host, or of any with PostgreSQL.

    With the id of a task, whether a worker executes that. Raises what `store_errors` does.
    """
    database = settings.database
    if isinstance(database, PostgresDatabase):
        from streaming.store.postgres_locks import is_run_held

        return is_run_held(database, run_id)
    return holder(Home(settings.home).run_lease(run_id)) is not None


def is_writing(settings: Settings) -> bool:
    """Return whether a run writes now, or waits for its turn. Raises what `store_errors` does."""
    database = settings.database
    if isinstance(database, PostgresDatabase):
        from streaming.store.postgres_locks import is_history_held

        return is_history_held(database)
    return holder(Home(settings.home).write_lease) is not None


def hold_daemon_lock(settings: Settings) -> AbstractContextManager[None]:
    """Hold the lock of the one daemon of all hosts; in a home of its own a daemon is alone.

    Raises `PurchasesError` if another host's daemon has it, and what `store_errors` does.
    """
    database = settings.database
    if isinstance(database, PostgresDatabase) and settings.dagster_database is not None:
        from streaming.store.postgres_locks import hold_daemon

        return hold_daemon(database)
    return nullcontext()


def hold_task_lock(settings: Settings, task_id: str) -> AbstractContextManager[None]:
    """Hold the lock of a task by which a worker executes a run, of any kind.

    Raises `PurchasesError` if another process has it, and what `store_errors` does.
    """
    database = settings.database
    if isinstance(database, PostgresDatabase):
        from streaming.store.postgres_locks import hold_task

        return hold_task(database, task_id)
    # With a file no worker executes runs: the settings refuse Redis beside it.
    return nullcontext()


def hold_write_lock(
    settings: Settings, run_id: str, *, alone: bool = False
) -> AbstractContextManager[None]:
    """Hold the run's lock and the right to write, which may first wait for another run.

    It is shared with other builds if the store takes several writers, but not if `alone`. Raises
    `PurchasesError` if the run writes already, and `Unavailable` if another run does not end for
    over an hour.
    """
    database = settings.database
    if isinstance(database, PostgresDatabase):
        from streaming.store.postgres_locks import hold_run

        return hold_run(database, run_id, alone=alone, wait_seconds=DEADLINE_SECONDS)
    return _hold_files(settings.home, run_id)


@contextmanager
def _hold_files(home: Path, run_id: str) -> Iterator[None]:
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
