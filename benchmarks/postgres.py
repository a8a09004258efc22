"""The writer on PostgreSQL with one and two processes, beside SQLite and beside COPY alone.

A server of its own from the tests' wheel, with `fsync`. The same events go into the same table each
time, in full batches; then purchases go through the stream, to see what one waits.
`python -m benchmarks.postgres [EVENTS]` prints the first half alone.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from benchmarks.long_runs import Rate, measure_latency
from benchmarks.measure import Figure, machine, ratios, tell
from benchmarks.scratch import Bench, clean_home
from streaming.analytics.app import BATCH_RECORDS
from streaming.settings import Settings
from streaming.store.advances import Advance
from streaming.store.engine import open_engine
from streaming.store.postgres_rows import EVENT_COLUMNS
from streaming.store.rows import EventRow, day_cutter
from streaming.store.schema import upgrade
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import BatchRows, write_in_transaction
from tests.postgres import PostgresServer, start_postgres
from tests.store.rows import SOURCE_TOPICS, event
from tests.store.test_writer import writing

EVENTS: Final = 400_000
ROUNDS: Final = 3
ITEMS: Final = 3_000
USERS: Final = 5_000
MILLION: Final = 1_000_000
RATE: Final = Rate(2_000, 60, "≤ 80", "")
PROCESSES: Final = get_context("spawn")


def make_rows(share: int, events: int) -> list[EventRow]:
    """Return the events of a writer: some 4,000 an hour, of any of the items."""
    chance = random.Random(share)
    made = (
        event(
            number,
            1_700_000_000_000_000 + number * 900_000,
            item=f"item {chance.randrange(ITEMS)}",
            user=f"user {chance.randrange(USERS)}",
        )
        for number in range(events)
    )
    return [(chance.randbytes(16), *each.row()[1:]) for each in made]


def batches(rows: list[EventRow]) -> Iterator[list[EventRow]]:
    """Cut events as a backlog is cut."""
    return (rows[start : start + BATCH_RECORDS] for start in range(0, len(rows), BATCH_RECORDS))


def write(settings: Settings, share: int, events: int, ready: Barrier) -> None:
    """Write a share of the events as the consumer of a partition does."""
    rows, engine, day_of = (
        make_rows(share, events),
        open_engine(settings),
        day_cutter(settings.zone),
    )
    done = 0
    ready.wait()
    for batch in batches(rows):
        advance = Advance(done or None, done + len(batch), 0, len(batch))
        moved = BatchRows(batch, [], {("analytics", share): advance})
        write_in_transaction(engine, writing(moved, day_of), alone=False)
        done += len(batch)
    wait_until_measured(ready)
    engine.dispose()


def copy_alone(conninfo: str, events: int, ready: Barrier) -> None:
    """Copy the events into a table like theirs, a commit for each batch, and nothing else."""
    rows = make_rows(0, events)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (LIKE analytics_event INCLUDING ALL)")
        ready.wait()
        for batch in batches(rows):
            copied = f"COPY bare ({EVENT_COLUMNS}) FROM STDIN"
            with connection.cursor().copy(copied) as copy:
                for row in batch:
                    copy.write_row(row)
        wait_until_measured(ready)


def wait_until_measured(ready: Barrier) -> None:
    """Keep the session until its CPU time was looked at: with it that of the server would go."""
    ready.wait()
    ready.wait()


class Way:
    """Rows/s and CPU seconds per million of one way to write, round by round."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rates: list[float] = []
        self.writers: list[float] = []
        self.server: list[float] = []

    def measure(self, events: int, server: int, targets: list[tuple[Any, ...]]) -> None:
        """Run processes, given as function and arguments, until they have written the events."""
        ready = PROCESSES.Barrier(len(targets) + 1)
        running = [
            PROCESSES.Process(target=function, args=(*arguments, ready))
            for function, *arguments in targets
        ]
        for process in running:
            process.start()
        ready.wait()
        pids = [process.pid or 0 for process in running]
        start, used, served = time.perf_counter(), sum(map(cpu, pids)), cpu_of_all(server)
        ready.wait()
        self.rates.append(events / (time.perf_counter() - start))
        self.writers.append((sum(map(cpu, pids)) - used) / events * MILLION)
        self.server.append((cpu_of_all(server) - served) / events * MILLION)
        ready.wait()
        for process in running:
            process.join()
        tell(
            f"{self.name}: {self.rates[-1]:,.0f} rows/s, CPU s per million {self.writers[-1]:.1f}"
            f" and the server's {self.server[-1]:.1f}, load {os.getloadavg()[0]:.1f}"
        )

    def figures(self) -> list[Figure]:
        """Return what was measured."""
        return [
            Figure(self.name, "rows/s", tuple(self.rates)),
            Figure(f"{self.name}: writers", "CPU s per million", tuple(self.writers)),
            Figure(f"{self.name}: server", "CPU s per million", tuple(self.server)),
        ]


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def cpu_of_all(server: int) -> float:
    """Return the CPU seconds of the server's processes, of those that ended too."""
    postmaster = psutil.Process(server)
    ended = postmaster.cpu_times()
    running = sum(cpu(process.pid) for process in postmaster.children())
    return running + ended.user + ended.system + ended.children_user + ended.children_system


def new_store(home: Path, url: str | None) -> Settings:
    """Return an empty store: the database of the URL, or else a file."""
    settings = Settings(home=home, database_url=url)
    upgrade(settings)
    engine = open_engine(settings)
    record_source_topics(engine, SOURCE_TOPICS)
    engine.dispose()
    return settings


@contextmanager
def serving(directory: Path) -> Iterator[PostgresServer]:
    """Run a server that loses nothing by a power failure, as a shop's."""
    server = start_postgres(directory)
    try:
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = on")
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop()


def measure_rows(server: PostgresServer, home: Path, events: int) -> list[Figure]:
    """Measure all four ways in turns."""
    postmaster = int((server.directory / "postmaster.pid").read_text().split()[0])
    alone, one, two, file = map(Way, ("COPY alone", "1 writer", "2 writers", "SQLite"))
    for number in range(ROUNDS):
        directory, databases = home / str(number), [server.create_database() for _ in range(2)]
        settings = new_store(directory, server.url(databases[0]))
        conninfo = server.conninfo(databases[0])
        alone.measure(events, postmaster, [(copy_alone, conninfo, events)])
        one.measure(events, postmaster, [(write, settings, 0, events)])
        settings = new_store(directory, server.url(databases[1]))
        shares = [(write, settings, share, events // 2) for share in (0, 1)]
        two.measure(events, postmaster, shares)
        file.measure(events, postmaster, [(write, new_store(directory, None), 0, events)])
    return [
        *(figure for way in (alone, one, two, file) for figure in way.figures()),
        Figure("1 writer ÷ COPY alone", "", ratios(one.rates, alone.rates), "≥ 0.5"),
        Figure("2 writers ÷ 1", "", ratios(two.rates, one.rates), "≥ 1.3"),
    ]


def measure_postgres(bench: Bench) -> list[Figure]:
    """Measure the writers, and then what a purchase waits until it is stored on the server."""
    with serving(bench.home / "server") as server:
        deployment = bench.deployment("postgres").with_database(
            server.url(server.create_database())
        )
        rows = measure_rows(server, deployment.home, EVENTS)
        return [*rows, *measure_latency(deployment, [RATE])]


if __name__ == "__main__":
    print(machine())
    with clean_home() as bench, serving(bench.home / "server") as server:
        for figure in measure_rows(
            server, bench.home, int(sys.argv[1]) if sys.argv[1:] else EVENTS
        ):
            print(figure.row())
