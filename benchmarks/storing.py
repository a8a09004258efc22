"""The consumer beside bare SQLite: the same rows into the same schema, and nothing else done.

The backlog is what the processor published of a million purchases.
"""

import sqlite3
import sys
import time
from contextlib import closing
from typing import Final

from benchmarks.backlog import MILLION, Run, watch
from benchmarks.measure import Figure, ratios, tell
from benchmarks.scratch import Bench
from streaming.analytics.app import BATCH_RECORDS

ROUNDS: Final = 3
ANALYTICS: Final = [sys.executable, "-m", "streaming.analytics.app"]


def store(home: Bench, events: int) -> Run:
    """Let the consumer store a backlog of `events` in a new home."""
    home.run("db", "upgrade")
    with home.process(ANALYTICS, "analytics") as process:
        return watch([process.pid], home.count_stored, events)


def bare_rows_per_second(stored: Bench, home: Bench) -> float:
    """Return the rows/s of `executemany` of what `stored` holds, in its order, in a new home."""
    home.run("db", "upgrade")
    seconds, number = 0.0, 0
    with (
        closing(sqlite3.connect(f"file:{stored.database}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(home.database, isolation_level=None)) as target,
    ):
        target.execute("PRAGMA journal_mode = WAL").fetchall()
        target.execute("PRAGMA synchronous = FULL")
        rows = source.execute("SELECT * FROM analytics_event ORDER BY rowid")
        marks = ", ".join("?" * len(rows.description))
        while batch := rows.fetchmany(BATCH_RECORDS):
            start = time.perf_counter()
            target.execute("BEGIN IMMEDIATE")
            target.executemany(f"INSERT INTO analytics_event VALUES ({marks})", batch)  # noqa: S608
            target.execute("COMMIT")
            seconds += time.perf_counter() - start
            number += len(batch)
    return number / seconds


def measure_storing(bench: Bench) -> list[Figure]:
    """Measure consumer and bare SQLite in turns."""
    backlog = bench.deployment("storing")
    backlog.run("produce", "--rate", "max", "--count", str(MILLION), "--seed", "1")
    backlog.run("process", "--until-caught-up")
    runs: list[Run] = []
    bare: list[float] = []
    for number in range(ROUNDS):
        home = backlog.make_other_home(f"stored{number}")
        runs.append(store(home, MILLION))
        bare.append(bare_rows_per_second(home, backlog.make_other_home(f"bare{number}")))
        tell(f"consumer: {runs[-1].records_per_second():,.0f} rows/s, bare {bare[-1]:,.0f}")
    rates = tuple(run.records_per_second() for run in runs)
    return [
        Figure("consumer", "CPU s per million", tuple(run.cpu_per_million() for run in runs)),
        Figure("consumer", "rows/s", rates),
        Figure("bare `executemany`", "rows/s", tuple(bare)),
        Figure("consumer ÷ bare `executemany`", "", ratios(rates, bare), "≥ 0.5", 0.7),
    ]
