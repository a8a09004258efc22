"""A year of events in column files: its four day tables without Dagster, and its History.

The events are made straight into files, because the stream is not the point here: the database has
the ledger and the list of files, and no row of an event. `make bench` measures it with 10 million
events, and `python -m benchmarks.history [MILLIONS [HOME]]` alone, with as many by default. Each
step is a process of its own. The home is kept if it is named, and a step that it has behind it is
not done again.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from assets.builds.builder import open_builder
from assets.builds.columns import FILE_COLUMNS, FILE_ROWS, scan_files, sum_files, write_file
from assets.queries.endpoints import RankingQuery, history_endpoints
from assets.queries.series import DaysQuery, RangeQuery, answer_days, answer_hours
from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.calendar import day_window
from assets.tables.transforms import DAY_TRANSFORMS, compute
from benchmarks.measure import HEAD, Figure, machine, peak_mebibytes, rounds
from benchmarks.scratch import Bench
from streaming.settings import Settings
from streaming.store.column_files import ColumnFile, read_column_files, replace_column_files
from streaming.store.column_store import open_column_store
from streaming.store.connection import read_store, write_store
from streaming.store.preparation import prepare_store
from streaming.system.home import Home

DAYS: Final = 365
FIRST: Final = date(2024, 1, 1)
ZONE: Final = ZoneInfo("UTC")
MILLION: Final = 1_000_000
ITEMS, USERS, COUNTRIES = 5_000, 500_000, 38
ORDER_EVENTS: Final = 4
STEPS: Final = ("make", "compute", "build", "page")
NAMES: Final = {
    "make": "column files and ledger of a year, made",
    "compute": "four tables of each day from the columns",
    "build": "the same, audited and written into the database",
}
FEW: Final = 10
"""Millions of events, which `make bench` has time and disk for."""
PAGE: Final = "≤ 300"
BARS: Final = {("compute", 100): ("≤ 90", "≤ 1024")}


def make_events(day: date, number: int, events: int) -> pl.DataFrame:
    """Make the file of this number of a day: the same events each time, sorted by time."""
    start, end = day_window(day, ZONE)
    index = pl.int_range(events, dtype=pl.Int64, eager=True)
    seed = (day.toordinal() * 1_000 + number) * 10

    def chance(which: int, below: int) -> pl.Expr:
        return (pl.col("n").hash(seed + which) % below).cast(pl.Int64)

    def texts(prefix: str, values: pl.Expr) -> pl.Expr:
        return pl.concat_str(pl.lit(prefix), values.cast(pl.String))

    item = chance(1, ITEMS)
    quantity = pl.when(chance(2, 50) == 0).then(-1).otherwise(chance(3, 12) + 1)
    order = chance(4, events // ORDER_EVENTS + 1)
    price = (item % 97 + 1) * 250_000
    columns = {
        "event_time": start + chance(7, end - start),
        "kind": pl.when(quantity > 0).then(pl.lit("sale")).otherwise(pl.lit("return")),
        "user": pl.when(order % 4 > 0).then(texts("customer-", (order * 7919) % USERS)),
        "item": texts("item-", item),
        "quantity": quantity,
        "unit_price_micros": price,
        "amount_micros": price * quantity,
        "currency": pl.lit("GBP"),
        "order_id": texts(f"{day:%y%m%d}-{number}-", order),
        "description": texts("The description of item ", item),
        "country": texts("country-", order % COUNTRIES),
    }
    made = pl.DataFrame({"n": index}).select(**columns).sort("event_time")
    ids = _make_ids(made["event_time"], seed)
    return made.with_columns(event_id=ids).select(*FILE_COLUMNS).cast(pl.Schema(FILE_COLUMNS))


def _make_ids(times: pl.Series, seed: int) -> pl.Series:
    """Make UUIDs as those of the product: milliseconds, then as many random bits as it has."""
    bits = random.Random(seed).getrandbits
    numbers = (
        time // 1_000 << 80 | 8 << 76 | bits(12) << 64 | 2 << 62 | bits(62) for time in times
    )
    digits = pl.Series([f"{number:032x}" for number in numbers])
    parts = [digits.str.slice(*at) for at in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    return pl.select(pl.concat_str(*parts, separator="-")).to_series()


def make_history(settings: Settings, events: int) -> list[ColumnFile]:
    """Make a deployment with a year of so many events: column files, their list and the ledger."""
    column_store = open_column_store(settings)
    per_day = events // DAYS
    files = []
    for day in (FIRST + timedelta(number) for number in range(DAYS)):
        for number, start in enumerate(range(0, per_day, FILE_ROWS)):
            made = make_events(day, number, min(FILE_ROWS, per_day - start))
            files.append(write_file(made, column_store, day.isoformat(), (1, 1)))
    return files


def count_files(settings: Settings, files: list[ColumnFile]) -> None:
    """Write what the consumer and the seal would have written of the files."""
    prepare_store(settings)
    with write_store(settings) as store:
        replace_column_files(store, (), files)
        store.execute(
            "INSERT INTO day_ledger SELECT day, sum(sum(events)) OVER (ORDER BY day), sum(events),"
            " sum(items_sold), sum(net_revenue_micros), max(sealed_at), 0 FROM column_file"
            " GROUP BY day"
        )
        store.execute(
            "INSERT INTO live_totals SELECT 1, sum(events), sum(items_sold), 0,"
            " sum(net_revenue_micros), 0, max(changed_at), 0, 0 FROM day_ledger"
        )


def compute_days(settings: Settings) -> list[Figure]:
    """Compute the four tables of each day from its files.

    Return what a million costs after a hundredth, a tenth and all of the days: the growth with the
    number of events, at the same size of a day.
    """
    events, cpu, figures = 0, time.process_time(), []
    column_store = open_column_store(settings)
    with read_store(settings) as store:
        listed = read_column_files(store)
    for number, (day, files) in enumerate(listed.items(), 1):
        compute(scan_files(files, column_store, ZONE), DAY_TRANSFORMS, day.isoformat())
        events += sum_files(files).events
        if number in {DAYS // 100 + 1, DAYS // 10 + 1, DAYS}:
            per_million = (time.process_time() - cpu) / events * MILLION
            name = f"the same after {number} days"
            figures.append(Figure(name, "CPU s per million", (per_million,)))
    return figures


def build_days(settings: Settings) -> int:
    """Build the four tables of each day: read, computed, audited and written."""
    with open_builder(settings, "bench") as builder:
        outcomes = [
            outcome
            for number in range(DAYS)
            for outcome in builder.build(
                (FIRST + timedelta(number)).isoformat(), DAY_TRANSFORMS, force=True
            )
        ]
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if failures:
        raise ValueError(failures[0])
    return len(outcomes)


def time_page(settings: Settings) -> list[Figure]:
    """Return what each request of the History page over the year takes."""
    first, last = FIRST, FIRST + timedelta(DAYS - 1)
    ranking = RankingQuery(first=first, last=last)
    requests: dict[str, Callable[[], object]] = {
        "days": lambda: answer_days(settings, DaysQuery(first=first, last=last)),
        "hours": lambda: answer_hours(settings, RangeQuery(first=first, last=last)),
        "items": lambda: _endpoint("items")(settings, ranking),
        "countries": lambda: _endpoint("countries")(settings, ranking),
    }
    return [
        Figure(
            f"History over the year, {name}", "ms", rounds(5, partial(_milliseconds, request)), PAGE
        )
        for name, request in requests.items()
    ]


def _endpoint(path: str) -> Callable[[Settings, Any], object]:
    return next(each.handle for each in history_endpoints(lambda _: None) if each.path == path)


def _milliseconds(request: Callable[[], object]) -> float:
    start = time.perf_counter()
    request()
    return (time.perf_counter() - start) * 1000


def sizes(settings: Settings) -> list[Figure]:
    """Return the bytes per event of the files, and of the columns that aggregates need."""
    with read_store(settings) as store:
        files = [file for of_day in read_column_files(store).values() for file in of_day]
    directory = Home(settings.home).columns
    largest = max(files, key=lambda file: file.events)
    frame = pl.read_parquet(directory / largest.name, columns=list(EVENT_COLUMNS))
    with tempfile.TemporaryFile() as target:
        frame.write_parquet(target, compression="zstd", compression_level=3)
        of_aggregates = target.tell() / frame.height
    size = sum(file.bytes for file in files) / sum_files(files).events
    return [
        Figure("column files", "bytes per event", (size,), "≤ 35"),
        Figure("of that, columns for aggregates", "bytes per event", (of_aggregates,), "≤ 16"),
    ]


def run(step: str, settings: Settings, millions: int) -> list[Figure]:
    """Run one step in this process; return what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    if step == "page":
        return [*time_page(settings), *sizes(settings)]
    more: list[Figure] = []
    if step == "make":
        count_files(settings, make_history(settings, millions * MILLION))
    elif step == "compute":
        more = compute_days(settings)
    else:
        build_days(settings)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    time_bar, memory_bar = BARS.get((step, millions), ("", ""))
    return [
        Figure(NAMES[step], "s", (seconds,), time_bar),
        Figure("the same, CPU", "s", (used,)),
        Figure("the same, peak memory", "MiB", (peak_mebibytes(os.getpid()),), memory_bar),
        *more,
    ]


def run_steps(home: Path, millions: int) -> Iterator[Figure]:
    """Run each step in a process of its own; yield what they took."""
    is_made = (home / "purchases.db").exists()
    for step in STEPS[is_made:]:
        words = [sys.executable, "-m", "benchmarks.history", step, str(millions), str(home)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
        yield from msgspec.json.decode(done.stdout, type=list[Figure])


def measure_history(bench: Bench) -> list[Figure]:
    """Measure the year of as many events as `make bench` has time for."""
    home = bench.home / "history"
    home.mkdir()
    return list(run_steps(home, FEW))


def main(words: list[str]) -> None:
    """Run one step, or all of them in the named home or in one that is removed."""
    if words and words[0] in STEPS:
        settings = Settings(home=Path(words[2]), currency="GBP", timezone=ZONE.key)
        sys.stdout.buffer.write(msgspec.json.encode(run(words[0], settings, int(words[1]))))
        return
    millions = int(words[0]) if words else FEW
    print(f"{millions} million events, {machine()}\n{HEAD}", flush=True)
    with tempfile.TemporaryDirectory(prefix="purchases-history-") as directory:
        for figure in run_steps(Path(words[1] if words[1:] else directory), millions):
            print(figure.row(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
