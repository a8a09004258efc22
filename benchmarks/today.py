"""Today at ten million stored events: what a build costs, and how far tables are behind the stream.

This is no part of `make bench`: `python -m benchmarks.today [MINUTES]` measures it alone, in a
scratch home. It adds 70,000 new events to the last build, and computes all for comparison. Then
`up` builds today's tables for so many minutes, by default ten, while 2,000 purchases come a second.
`python -m benchmarks.today MINUTES empty` measures the latter alone, on a day that has no event
yet.

The events before are made straight into column files and into rows after them, because the stream
is not the point there. Each step is a process of its own.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, cast

import polars as pl

from assets.builds.builder import open_builder
from assets.builds.columns import FILE_ROWS, sum_files, write_file
from assets.tables.models import DAY_TABLE_NAMES
from assets.tables.transforms import DAY_TRANSFORMS
from benchmarks.history import make_events
from benchmarks.measure import peak_mebibytes, tell
from benchmarks.scratch import PURCHASES, Bench, clean_home
from streaming.events.identifiers import pack_event_id
from streaming.producer.generator.orders import COUNTRIES, CUSTOMERS, FIRST_CUSTOMER, catalogue
from streaming.settings import Settings
from streaming.store.column_files import replace_column_files
from streaming.store.column_store import open_column_store
from streaming.store.connection import write_store
from streaming.store.rows import EventRow
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.units import split_sum
from tests.assets.event_store import open_store, write

EVENTS: Final = 10_000_000
NEW: Final = 70_000
SEALED_FILES: Final = 38
"""Of the other events: the rest is in rows, of about as many as four minutes bring."""
MINUTES: Final = 10
RATE: Final = 2_000
READY_SECONDS: Final = 600.0
SAMPLE_SECONDS: Final = 1.0
EVERY: Final = 60
STEPS: Final = ("make", "compute", "store", "add", "compare")
ADD_BARS: Final = " (bars: ≤ 5 s, ≤ 400 MiB)"
LAG_BAR: Final = " (bar: ≤ 120 s)"


def make_part(day: date, number: int, events: int) -> pl.DataFrame:
    """Make events of a day, of the customers, items and countries that `produce` sends.

    So each of them is related to new ones, as it is in a shop with few customers.
    """

    def one_of(values: Sequence[str], column: str) -> pl.Expr:
        return pl.lit(pl.Series(values)).gather(pl.col(column).hash(7) % len(values))

    customers = [str(FIRST_CUSTOMER + number) for number in range(CUSTOMERS)]
    return make_events(day, number, events).with_columns(
        user=pl.when(pl.col("user").is_not_null()).then(one_of(customers, "order_id")),
        item=one_of([item.code for item in catalogue()], "item"),
        country=one_of(COUNTRIES, "country"),
    )


def event_rows(events: pl.DataFrame, first: int) -> list[EventRow]:
    """Return events as rows of the database, with offsets from `first` on."""
    rows = []
    for offset, event in enumerate(events.iter_rows(named=True), first):
        values = [pack_event_id(event["event_id"]), *list(event.values())[1:]]
        milliseconds = event["event_time"] // 1000
        rows.append((*values, event["event_time"], 1, 0, offset, milliseconds, 0, offset))
    return cast("list[EventRow]", rows)


def make_today(settings: Settings, day: date) -> None:
    """Store all events but the new ones: most in column files, the last ones in rows."""
    column_store, sealed = open_column_store(settings), SEALED_FILES * FILE_ROWS
    with open_store(settings) as engine:
        files = [
            write_file(make_part(day, n, FILE_ROWS), column_store, str(day), (1, sealed))
            for n in range(SEALED_FILES)
        ]
        sums = sum_files(files)
        trillions, micros = split_sum(sums.net_revenue_micros)
        with write_store(settings) as store:
            replace_column_files(store, (), files)
            store.execute(
                "INSERT INTO day_ledger VALUES (?, ?, ?, ?, ?, 0, ?)",
                (str(day), sealed, sealed, sums.items_sold, micros, trillions),
            )
            # Gross revenue is no part of what is measured.
            store.execute(
                "INSERT INTO live_totals VALUES (1, ?, ?, ?, ?, 0, 0, ?, ?)",
                (sealed, sums.items_sold, micros, micros, trillions, trillions),
            )
        rows = event_rows(make_part(day, SEALED_FILES, EVENTS - NEW - sealed), sealed)
        write(engine, settings, rows[:1])
        with write_store(settings) as store:
            # The rows of sealed events are not needed, but for their numbers.
            store.execute("UPDATE analytics_event SET rowid = ?", (sealed + 1,))
        for start in range(1, len(rows), FILE_ROWS):
            write(engine, settings, rows[start : start + FILE_ROWS])


def store_new(settings: Settings, day: date) -> None:
    """Store the new events, as the consumer does."""
    with open_store(settings) as engine:
        write(engine, settings, event_rows(make_part(day, SEALED_FILES + 1, NEW), EVENTS - NEW))


def build(settings: Settings, day: date, *, force: bool) -> str:
    """Build the day; return what was built, and fail if a table did."""
    with open_builder(settings, "benchmark") as builder:
        outcomes = builder.build(str(day), DAY_TRANSFORMS, force=force)
    builds = [outcome.build for outcome in outcomes if outcome.build is not None]
    problems = [*(o.failure for o in outcomes), *(build.difference for build in builds)]
    if any(problems):
        raise ValueError(problems)
    return f"{builds[0].events:,} events, of them {builds[0].added_events:,} added"


def run_step(step: str, home: Path, day: date) -> None:
    """Run one step in this process, and say what it cost."""
    settings = Settings(home=home)
    start, cpu = time.perf_counter(), time.process_time()
    if step == "make":
        make_today(settings, day)
        done = f"{EVENTS - NEW:,} events"
    elif step == "store":
        store_new(settings, day)
        done = f"{NEW:,} events"
    else:
        done = build(settings, day, force=step == "compare")
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_mebibytes(os.getpid())
    bars = ADD_BARS if step == "add" else ""
    tell(f"{step}: {done}, {seconds:.1f} s, {used:.1f} CPU s, peak {peak:.0f} MiB{bars}")


def measure_builds(home: Path) -> None:
    """Measure an added build and computed ones of a day that stays the same."""
    for step in STEPS:
        words = [sys.executable, "-m", "benchmarks.today", step, str(home), "2024-01-01"]
        subprocess.run(words, check=True)


def measure_lag(bench: Bench, minutes: int) -> Iterator[str]:
    """Yield a line each minute: stored events, builds, and how far today's tables were behind."""
    with bench.process([*PURCHASES, "up"], "up") as up:
        _wait_until_ready(bench, up)
        with bench.process([*PURCHASES, "produce", "--rate", str(RATE)], "produce"):
            yield from _sample_lag(bench, minutes)


def _sample_lag(bench: Bench, minutes: int) -> Iterator[str]:
    begun, stored, builds = time.monotonic(), list[tuple[float, int]](), set[int]()
    worst = worst_of_minute = 0.0
    for second in range(1, minutes * EVERY + 1):
        time.sleep(max(0.0, begun + second * SAMPLE_SECONDS - time.monotonic()))
        now = time.monotonic()
        events, built, built_at, cost = _read_progress(bench)
        builds.add(built_at)
        stored.append((now, events))
        stored = [sample for sample in stored if sample[1] > built]
        behind = now - stored[0][0] if stored else 0.0
        worst_of_minute = max(worst_of_minute, behind)
        if second % EVERY == 0:
            worst = max(worst, worst_of_minute)
            yield (
                f"{second // EVERY} min: {events:,} stored, {len(builds) - 1} builds, the last took"
                f" {cost / 1e6:.1f} CPU s; behind by at most {worst_of_minute:.0f} s,"
                f" ever {worst:.0f} s{LAG_BAR}"
            )
            worst_of_minute = 0.0


def _read_progress(bench: Bench) -> tuple[int, int, int, int]:
    """Return today's events, those of its tables, when they were built, and how long it took."""
    today = datetime.now(UTC).date().isoformat()
    with closing(sqlite3.connect(f"file:{bench.database}?mode=ro", uri=True, timeout=30)) as store:
        events = store.execute("SELECT events FROM day_ledger WHERE day = ?", (today,)).fetchone()
        row = store.execute(
            "SELECT min(events), max(built_at), max(cpu_time), count(*) FROM table_build"
            " WHERE partition = ?",
            (today,),
        ).fetchone()
    built = row[:3] if row[3] == len(DAY_TABLE_NAMES) else (0, 0, 0)
    return (events[0] if events else 0, *built)


def _wait_until_ready(bench: Bench, up: "subprocess.Popen[bytes]") -> None:
    """Wait until the consumer and Dagster run."""
    deadline = time.monotonic() + READY_SECONDS
    runs = Home(bench.home).dagster / "history" / "runs.db"
    while not runs.exists() or holder(bench.home / "workers" / "analytics-0.lock") is None:
        if time.monotonic() > deadline or up.poll() is not None:
            raise TimeoutError((bench.home / "up.log").read_text())
        time.sleep(1)


def main() -> None:
    """Measure the builds, then the lag behind a stream."""
    minutes = int(sys.argv[1]) if sys.argv[1:] else MINUTES
    is_empty = sys.argv[2:] == ["empty"]
    if not is_empty:
        with clean_home() as bench:
            measure_builds(bench.home)
    if minutes:
        with clean_home() as bench:
            today = str(datetime.now(UTC).date())
            # The last build is an added one then, as it is all day long.
            for step in () if is_empty else STEPS[:-1]:
                words = [sys.executable, "-m", "benchmarks.today", step, str(bench.home), today]
                subprocess.run(words, check=True)
            for line in measure_lag(bench, minutes):
                tell(line)


if __name__ == "__main__":
    if sys.argv[3:]:
        run_step(sys.argv[1], Path(sys.argv[2]), date.fromisoformat(sys.argv[3]))
    else:
        main()
