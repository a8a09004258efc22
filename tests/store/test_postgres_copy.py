"""Batches that go straight into the table by COPY: who repeats ids, dies or hangs in the middle."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.advances import stored_positions
from streaming.store.connection import read_store, store_errors
from streaming.store.postgres import PostgresConnection, connect
from streaming.store.postgres_write_lock import (
    BATCHES_LOCK,
    IDLE_SECONDS,
    WRITE_LOCK,
    await_ticket,
    take_ticket,
)
from streaming.system.database import PostgresDatabase
from tests.store.rows import GROUP, Event, event
from tests.store.test_postgres_writer import SUMS, watch, write
from tests.support import wait_until

IDS = 2_000
BATCH = 50
KILLED = 6
IN_COPY = (
    "datname = current_database() AND state = 'active'"
    " AND starts_with(query, 'COPY analytics_event')"
)


def purchases(count: int) -> list[Event]:
    """Make events of ids of their own, over some days."""
    return [
        event(number, 1_700_000_000_000_000 + number * 90_000_000, item=f"item {number % 7}")
        for number in range(count)
    ]


def test_two_writers_in_opposite_orders_of_which_sessions_die(
    postgres_settings: Settings,
    engine: Engine,
    superuser: "psycopg.Connection[Any]",
) -> None:
    """The same ids from two partitions: each stored once, no deadlock, versions in commit order."""
    events, done = purchases(IDS), False
    with ThreadPoolExecutor(4) as pool:
        watched = pool.submit(lambda: watch(postgres_settings, lambda: done))
        writers = [
            pool.submit(write_until_stored, postgres_settings, engine, order, number)
            for number, order in enumerate((events, events[::-1]))
        ]
        killed = kill_in_copy(superuser, writers)
        wait(writers)
        done = True
        assert watched.result() > 0
    refusals = [text for writer in writers for text in writer.result()]
    assert killed > 0
    # What a deadlock says.
    assert not [text for text in refusals if "in favour of another" in text]
    with read_store(postgres_settings) as reader:
        for table in ("live_totals", "live_item_totals", "day_ledger"):
            summed = reader.execute(f"SELECT {SUMS} FROM {table}").fetchall()
            assert summed == [(IDS, IDS, IDS * 2_500_000)]
        counted = "SELECT sum(records), sum(stored), sum(duplicates) FROM stream_offset"
        assert reader.execute(counted).fetchall() == [(2 * IDS, IDS, IDS)]
        ids = "SELECT count(*), count(DISTINCT event_id) FROM analytics_event"
        assert reader.execute(ids).fetchall() == [(IDS, IDS)]


def write_until_stored(
    settings: Settings, engine: Engine, events: list[Event], partition: int
) -> list[str]:
    """Write all events; after an error go on where the database is. Return the errors."""
    done, refusals = 0, []
    while done < len(events):
        try:
            with store_errors(settings.database):
                write(engine, events[done : done + BATCH], done or None, partition)
        except Unavailable as error:
            refusals.append(str(error))
            with engine.begin() as connection:
                stored = stored_positions(connection, GROUP).get(("analytics", partition))
            done = stored.next_offset if stored else 0
        else:
            done += BATCH
    return refusals


def kill_in_copy(superuser: "psycopg.Connection[Any]", writers: list["Future[list[str]]"]) -> int:
    """End sessions in the middle of a COPY until some have been; return how many."""
    killed = 0
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {IN_COPY}"
    while killed < KILLED and not all(writer.done() for writer in writers):
        killed += len(superuser.execute(end.encode()).fetchall())
    return killed


def test_a_stream_that_repeats_itself_is_copied_in_vain_once(
    postgres_settings: Settings, engine: Engine
) -> None:
    """Only the first batch with a stored id leaves dead rows; each count is right in all cases."""
    events = purchases(4 * BATCH)
    first, position = events[:BATCH], BATCH
    assert len(write(engine, first, None).new) == BATCH
    for number in range(1, 4):
        batch = [*events[number * BATCH : (number + 1) * BATCH], first[number]]
        written = write(engine, batch, position, alone=number > 1)
        assert (len(written.new), written.duplicates) == (BATCH, 1)
        position += len(batch)
    with read_store(postgres_settings) as reader:
        numbers = "SELECT count(*), max(rowid) - min(rowid) FROM analytics_event"
        ((rows, span),) = reader.execute(numbers).fetchall()
    assert rows == len(events)
    # Each row that was copied in vain took a number, as did each that met a stored id.
    assert span == rows - 1 + (BATCH + 1) + 3


TOGETHER = f"{BATCHES_LOCK}; {take_ticket(1)}"


@pytest.mark.parametrize(
    ("locks", "copy", "waiting"),
    [
        (TOGETHER, "COPY analytics_event (event_id) FROM STDIN", WRITE_LOCK),
        (
            TOGETHER,
            "COPY analytics_event (event_id) FROM STDIN",
            f"{take_ticket(1)}; {await_ticket(2)}",
        ),
        (WRITE_LOCK, "COPY new_event FROM STDIN", BATCHES_LOCK),
    ],
)
def test_a_consumer_that_hangs_in_its_copy_is_ended(
    postgres_settings: Settings,
    superuser: "psycopg.Connection[Any]",
    locks: str,
    copy: str,
    waiting: str,
) -> None:
    """Not at once, but after a minute: else it would hold up the writers of all hosts."""
    database = postgres_settings.database
    assert isinstance(database, PostgresDatabase)
    hanging = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'COPY %' AND wait_event = 'ClientRead' AND state = 'active'"
    )
    after = waiting.replace(f"'{IDLE_SECONDS} s'", "'0 s'")
    assert after != waiting

    def hang() -> None:
        with closing(connect(database)) as store, store.raw.transaction():
            store.raw.execute(b"CREATE TEMP TABLE new_event (event_id TEXT)")
            store.raw.execute(locks.encode())
            with store.raw.cursor().copy(copy.encode()):
                wait_until(
                    lambda: superuser.execute(hanging.encode()).fetchall(), 30, "no COPY waits"
                )
                with closing(connect(database, lock_seconds=0.1)) as other:
                    wait_in_transaction(other, waiting, psycopg.errors.LockNotAvailable)
                    other.raw.execute(b"SET lock_timeout = 0")
                    wait_in_transaction(other, after, None)

    with pytest.raises(psycopg.errors.AdminShutdown):
        hang()


def wait_in_transaction(
    store: PostgresConnection, waiting: str, refusal: type[Exception] | None
) -> None:
    """Wait for a lock, which is refused or not."""
    with (
        pytest.raises(refusal) if refusal else nullcontext(),
        store.raw.transaction(),
    ):
        store.raw.execute(waiting.encode())
