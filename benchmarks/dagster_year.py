"""A year of a hundred million events as one backfill in Dagster, and the stream beside it.

This is no part of `make bench`: `python -m benchmarks.dagster_year [MILLIONS [rows]]` measures it
alone, with 10 million events by default. The events are made straight into column files, because
the stream is not the point. With `rows` they are made into rows, by the consumer's writer, and then
sealed into column files: 100 million take about 25 GB of disk then, and over an hour. What the
stream brings meanwhile is of other days.
"""

import os
import statistics
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from assets.builds.columns import FILE_ROWS
from assets.builds.seal import seal_history
from assets.tables.models import DAY_TABLE_NAMES
from benchmarks.beside import backfilling
from benchmarks.history import (
    DAYS,
    FIRST,
    MILLION,
    count_files,
    make_events,
    make_history,
    sizes,
)
from benchmarks.long_runs import WARM_UP, Rate, waits
from benchmarks.measure import children_cpu_seconds, machine, tell
from benchmarks.scratch import Bench, scratch
from benchmarks.today import event_rows
from streaming.settings import Settings, load_settings
from streaming.store.connection import read_store, used_bytes
from tests.assets.event_store import open_store, write

LAST: Final = FIRST + timedelta(DAYS - 1)
RATE: Final = Rate(2_000, 60, "", "≤ 300")
ROUNDS: Final = 2
FIRST_BAR: Final = " (bar: ≤ 150 s)"
BACKFILL: Final = (
    *("backfill", "--from", str(FIRST), "--to", str(LAST), "--force"),
    *(word for table in DAY_TABLE_NAMES for word in ("--table", table)),
)


def make_rows(settings: Settings, events: int) -> None:
    """Make a deployment with a year of so many events in rows and in column files."""
    per_day, offset = events // DAYS, 0
    with open_store(settings) as engine:
        for day in (FIRST + timedelta(number) for number in range(DAYS)):
            for number, start in enumerate(range(0, per_day, FILE_ROWS)):
                made = make_events(day, number, min(FILE_ROWS, per_day - start))
                write(engine, settings, event_rows(made, offset))
                offset += made.height
    problems = seal_history(settings, date.max).problems
    if problems:
        raise ValueError(problems)


def make(settings: Settings, events: int, kind: str) -> None:
    """Make the year in a process of its own, and print what it took."""
    start = time.perf_counter()
    if kind == "rows":
        make_rows(settings, events)
    else:
        count_files(settings, make_history(settings, events))
    for figure in sizes(settings):
        print(figure.row(), flush=True)
    with read_store(settings) as store:
        stored = used_bytes(store) / events
    tell(f"make: {time.perf_counter() - start:.0f} s, {stored:.0f} bytes per event in the database")


def measure(bench: Bench, millions: int, kind: str) -> None:
    """Print what the backfill takes alone, and how long purchases wait without and with it."""
    year = bench.deployment("year")
    words = [sys.executable, "-m", "benchmarks.dagster_year", "make", str(millions), kind]
    subprocess.run(words, env=year.environment, check=True)
    for which in ("first", "again"):
        before = children_cpu_seconds()
        seconds = year.run(*BACKFILL)
        cpu = children_cpu_seconds() - before
        bar = FIRST_BAR if (which, millions) == ("first", 100) else ""
        load = os.getloadavg()[0]
        tell(f"backfill, {which}: {seconds:.1f} s{bar}, {cpu:.1f} CPU s; load {load:.1f}")
    with year.running("process"), year.running("analyze"):
        stored = year.count_stored()
        year.run("produce", "--rate", "max", "--count", str(WARM_UP))
        year.wait_until_stored(stored + WARM_UP)
        for _ in range(ROUNDS):
            print_waits(year, "alone")
            with backfilling(year, BACKFILL):
                print_waits(year, "beside a backfill")


def print_waits(year: Bench, how: str) -> None:
    """Print how long purchases wait from being made to being stored."""
    cuts = statistics.quantiles(waits(year, RATE), n=100)
    tell(
        f"made → stored at {RATE.events:,} events/s {how}: p50 {cuts[49]:.0f} ms,"
        f" p99 {cuts[98]:.0f} ms (bar: {RATE.p99}); load {os.getloadavg()[0]:.1f}"
    )


def main(words: list[str]) -> None:
    """Make the year, if the first word says so, or measure all of it in a scratch home."""
    if words and words[0] == "make":
        make(load_settings(), int(words[1]) * MILLION, words[2])
        return
    millions = int(words[0]) if words else 10
    with scratch() as bench:
        tell(f"{millions} million events, {machine()}, in {Path(bench.home)}")
        measure(bench, millions, words[1] if words[1:] else "columns")


if __name__ == "__main__":
    main(sys.argv[1:])
