"""Consumers that copy at once on PostgreSQL, and are committed in the order of their tickets."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from threading import Event as Gate
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store import postgres_rows
from streaming.store.advances import Advance
from streaming.store.connection import read_store, store_errors, write_store
from streaming.store.engine import engine_over
from streaming.store.rows import EventRow
from streaming.store.writer import BatchRows, StoredBatch, write_batch, write_in_transaction
from tests.store.rows import Event, event
from tests.store.test_postgres_writer import DAY_OF, write
from tests.store.test_writer import SOURCE
from tests.support import wait_until

WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock' ORDER BY query_start DESC"
)
ORDER = "SELECT item FROM analytics_event ORDER BY rowid"
HOLDING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND mode = 'ShareRowExclusiveLock'"
    " AND relation = 'live_totals'::regclass"
)
TICKETS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
KEYS = 0x7075_7263
WRITERS = 8


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads, which are waited for in the end."""
    with ThreadPoolExecutor(WRITERS) as threads:
        yield threads


def purchases(item: str, numbers: Sequence[int]) -> list[Event]:
    """Make events of an item, whose numbers are their ids."""
    return [event(number, 1_700_000_000_000_000, item=item) for number in numbers]


def write_and_hold(engine: Engine, events: list[Event], gate: Gate) -> StoredBatch:
    """Write a batch of partition 0, whose transaction is not ended before the gate opens."""
    rows = [each.row() for each in events]
    batch = BatchRows(rows, [], {("analytics", 0): Advance(None, len(rows), 0, len(rows))})

    def hold(connection: Connection, *, alone: bool) -> StoredBatch:
        written = write_batch(connection, batch, SOURCE, DAY_OF, lambda: 0, alone=alone)
        assert gate.wait(60)
        return written

    return write_in_transaction(engine, hold, alone=False)


def wait_for_waiting(superuser: "psycopg.Connection[Any]", count: int) -> list[int]:
    """Wait until so many sessions wait for a lock; return them, the last one first."""
    wait_until(lambda: len(superuser.execute(WAITING).fetchall()) == count, 30, "they do not wait")
    return [pid for (pid,) in superuser.execute(WAITING)]


def start(
    pool: ThreadPoolExecutor, settings: Settings, engine: Engine, item: str, partition: int
) -> "Future[StoredBatch]":
    """Write five events of an item in a thread."""
    numbers = range(10 * partition, 10 * partition + 5)

    def write_five() -> StoredBatch:
        with store_errors(settings.database):
            return write(engine, purchases(item, numbers), None, partition)

    return pool.submit(write_five)


@pytest.mark.parametrize("numbered", [1, 2**31 - 6, 2**40])
def test_a_batch_waits_for_all_with_earlier_tickets(
    postgres_settings: Settings,
    engine: Engine,
    superuser: "psycopg.Connection[Any]",
    pool: ThreadPoolExecutor,
    numbered: int,
) -> None:
    """Also if the one just before it dies, and where the keys of tickets begin again."""
    superuser.execute("SELECT setval('analytics_event_rowid_seq', %s, false)", (numbered,))
    gate = Gate()
    first = pool.submit(write_and_hold, engine, purchases("first", range(5)), gate)
    wait_until(lambda: superuser.execute(HOLDING).fetchone() == (1,), 30, "the first has no ticket")
    dying = start(pool, postgres_settings, engine, "dying", 1)
    (pid,) = wait_for_waiting(superuser, 1)
    last = start(pool, postgres_settings, engine, "last", 2)
    wait_for_waiting(superuser, 2)
    superuser.execute("SELECT pg_terminate_backend(%s, 30000)", (pid,))
    with pytest.raises(Unavailable):
        dying.result(60)
    wait_for_waiting(superuser, 1)
    with read_store(postgres_settings) as reader:
        assert reader.execute(ORDER).fetchall() == []
    gate.set()
    assert len(first.result(60).new) == len(last.result(60).new) == 5
    with read_store(postgres_settings) as reader:
        items = [item for (item,) in reader.execute(ORDER)]
    assert items == ["first"] * 5 + ["last"] * 5


def test_others_that_write_wait_for_all_batches_that_are_under_way(
    postgres_settings: Settings,
    engine: Engine,
    superuser: "psycopg.Connection[Any]",
    pool: ThreadPoolExecutor,
) -> None:
    """An erasure must not miss rows that are copied already; nor is one copied meanwhile."""
    gate = Gate()
    first = pool.submit(write_and_hold, engine, purchases("first", range(5)), gate)
    wait_until(lambda: superuser.execute(HOLDING).fetchone() == (1,), 30, "the first has no ticket")
    second = start(pool, postgres_settings, engine, "second", 1)
    wait_for_waiting(superuser, 1)

    def count_alone() -> int:
        with write_store(postgres_settings) as store:
            return int(store.execute("SELECT count(*) FROM analytics_event").fetchone()[0])

    counted = pool.submit(count_alone)
    wait_for_waiting(superuser, 2)
    third = start(pool, postgres_settings, engine, "third", 2)
    wait_for_waiting(superuser, 3)
    gate.set()
    assert counted.result(60) == 10
    assert [len(each.result(60).new) for each in (first, second, third)] == [5, 5, 5]


def test_a_batch_in_a_circle_with_a_later_one_is_written_alone(
    engine: Engine,
    superuser: "psycopg.Connection[Any]",
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The earlier waits for an id of the later one, and that for the ticket of the earlier."""
    gate, copy = Gate(), postgres_rows._copy

    def copy_late(connection: Connection, table: str, rows: Sequence[EventRow], first: int) -> None:
        if rows[0][4] == "early":
            assert gate.wait(60)
        copy(connection, table, rows, first)

    monkeypatch.setattr(postgres_rows, "_copy", copy_late)
    early = pool.submit(write, engine, purchases("early", range(3, 8)), None, 0)
    wait_until(lambda: superuser.execute(TICKETS).fetchone() == (1,), 30, "it has no ticket")
    later = pool.submit(write, engine, purchases("later", range(5)), None, 1)
    wait_for_waiting(superuser, 1)
    gate.set()
    assert (len(later.result(60).new), later.result().duplicates) == (5, 0)
    assert (len(early.result(60).new), early.result().duplicates) == (3, 2)


def test_an_id_that_many_send_at_once_is_stored_once_and_no_batch_fails(
    postgres_settings: Settings, engine: Engine, pool: ThreadPoolExecutor
) -> None:
    """Whoever copies it first: no others wait for it for long, also not those behind them."""
    together = Barrier(WRITERS)

    def write_with_common(partition: int) -> StoredBatch:
        own = range(10 * partition, 10 * partition + 4)
        together.wait(60)
        with store_errors(postgres_settings.database):
            return write(engine, purchases("lamp", [*own, 999]), None, partition)

    written = list(pool.map(write_with_common, range(WRITERS)))
    assert sum(len(each.new) for each in written) == 4 * WRITERS + 1
    assert sum(each.duplicates for each in written) == WRITERS - 1


@pytest.mark.usefixtures("engine")
def test_who_gets_no_ticket_holds_up_nobody(
    postgres_settings: Settings, superuser: "psycopg.Connection[Any]"
) -> None:
    """Tickets are taken one at a time, under a lock that a rollback alone would not give back."""
    hasty = engine_over(postgres_settings.database, lock_seconds=0.1)
    superuser.execute("SELECT pg_advisory_lock(%s, 1)", (KEYS,))
    with pytest.raises(Unavailable, match="is locked"), store_errors(postgres_settings.database):
        write(hasty, purchases("lamp", range(5)), None)
    superuser.execute("SELECT pg_advisory_unlock_all()")
    # The server notices a moment later that the session is gone.
    wait_until(lambda: superuser.execute(ADVISORY).fetchone() == (0,), 30, "a lock is left behind")
    assert len(write(hasty, purchases("lamp", range(5)), None).new) == 5
    hasty.dispose()
