"""PostgreSQL's advisory locks of all hosts: which run lives, who writes alone, whose daemon runs.

A run holds them by a session of its own, so the server frees them when the run's process or host
dies: see `postgres`, which also has what a transaction locks.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.store.postgres import LOCK_SECONDS, PostgresConnection, connect, store_errors
from streaming.system.database import PostgresDatabase
from streaming.system.deadline import Deadline, wait_until

RETRY_SECONDS: Final = 1.0
"""Between two looks at the history's lock, for up to an hour: each is a statement of the server."""
HISTORY: Final = "purchases history"
"""Builds share it, because they read column files; a seal, which removes such, has it alone."""
MOVE: Final = "purchases move"
"""Of two homes that move into one database, the second is refused."""
DAEMON: Final = "purchases dagster daemon"
IS_HELD: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(?, 0))"
)
"""A lock by one number of 64 bits has `objsubid` 1, and its halves are in `classid` and `objid`. A
lock by two numbers of 32 bits has 2."""


@contextmanager
def hold_run(
    database: PostgresDatabase, run_id: str, *, alone: bool, wait_seconds: float
) -> Iterator[None]:
    """Hold the run's lock, and the history's: `alone`, or shared with others that are not alone.

    Raises `PurchasesError` if the run's lock is held, `Unavailable` if the history's is not free
    within `wait_seconds`, and what `connect` does.
    """
    # Not in a transaction, which would keep the server from vacuuming as long as the run lives.
    with _open_session(database, wait_seconds) as session:
        with store_errors(database):
            # The run's own lock comes first: a run that waits for its turn must count as alive.
            if not _take(session, run_id):
                raise PurchasesError(f"The run {run_id} writes already, in another process.")
            if not alone:
                session.execute("SELECT pg_advisory_lock_shared(hashtextextended(?, 0))", [HISTORY])
            # Not in the server's queue, in which each new build would wait behind this run.
            elif not wait_until(
                lambda: _take(session, HISTORY), Deadline.after(wait_seconds), RETRY_SECONDS
            ):
                raise Unavailable(
                    f"Builds keep a run that writes alone out of {database}: wait for their end,"
                    " and start it again."
                )
        yield


@contextmanager
def _open_session(
    database: PostgresDatabase, lock_seconds: float = LOCK_SECONDS
) -> Iterator[PostgresConnection]:
    with closing(connect(database, lock_seconds=lock_seconds)) as session:
        try:
            yield session
        finally:
            # A busy server frees the locks of a session some time after its end: who comes next
            # would find them held.
            with suppress(PurchasesError), store_errors(database):
                session.execute("SELECT pg_advisory_unlock_all()")


def _take(session: PostgresConnection, name: str) -> bool:
    """Take a lock alone, and return whether it was free."""
    taken = session.execute("SELECT pg_try_advisory_lock(hashtextextended(?, 0))", [name])
    # Truth values come as integers, as from SQLite.
    return taken.fetchone() == (1,)


def keep_runs_out(database: PostgresDatabase) -> AbstractContextManager[None]:
    """Hold the history's lock alone, so that runs of all hosts wait.

    Raises `PurchasesError` if one has it, and what `connect` does.
    """
    return _hold_alone(
        database,
        HISTORY,
        f"A run of Dagster writes to {database}: wait for its end, or stop it with `purchases down`"
        " on its host.",
    )


def keep_moves_out(database: PostgresDatabase) -> AbstractContextManager[None]:
    """Hold the lock of moves into a database. Raises as `keep_runs_out` does."""
    return _hold_alone(
        database, MOVE, f"Another `purchases db move` fills {database}: wait for its end."
    )


def hold_daemon(database: PostgresDatabase) -> AbstractContextManager[None]:
    """Hold the lock of Dagster's one daemon.

    Raises `PurchasesError` if another host's daemon has it, and what `connect` does.
    """
    return _hold_alone(
        database,
        DAEMON,
        f"Dagster's daemon runs on another host already, by a lock in {database}. There can be one"
        " only: on all other hosts leave `dagster` out of PURCHASES_SERVICES.",
    )


def hold_task(database: PostgresDatabase, task_id: str) -> AbstractContextManager[None]:
    """Hold the lock of a task that executes a run.

    Raises `PurchasesError` if another process has it, and what `connect` does.
    """
    refusal = f"The task {task_id} is executed already, in another process."
    return _hold_alone(database, task_id, refusal)


@contextmanager
def _hold_alone(database: PostgresDatabase, name: str, refusal: str) -> Iterator[None]:
    with _open_session(database) as session:
        with store_errors(database):
            if not _take(session, name):
                raise PurchasesError(refusal)
        yield


def is_run_held(database: PostgresDatabase, run_id: str) -> bool:
    """Return whether a session of any host holds the run's lock."""
    return _is_held(database, run_id)


def is_history_held(database: PostgresDatabase) -> bool:
    """Return whether a session of any host holds the history's lock, or waits to share it."""
    return _is_held(database, HISTORY)


def _is_held(database: PostgresDatabase, name: str) -> bool:
    with closing(connect(database)) as session, store_errors(database):
        return session.execute(IS_HELD, [name]).fetchone() == (1,)
