"""A year of events in column files, and the four day tables of all its days, without Dagster.

The events are made straight into files, because the stream is not the point here. This is no part
of `make bench`: `python -m benchmarks.history [MILLIONS]` measures it alone, with 10 million events
by default, in a scratch directory. Making and computing are processes of their own.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from assets.builds.columns import FILE_COLUMNS, FILE_ROWS, scan_files, write_file
from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.calendar import day_window
from assets.tables.transforms import DAY_TRANSFORMS, compute
from benchmarks.measure import peak_mebibytes, tell
from streaming.store.column_files import ColumnFile

DAYS: Final = 365
FIRST: Final = date(2024, 1, 1)
ZONE: Final = ZoneInfo("UTC")
MILLION: Final = 1_000_000
ITEMS, USERS, COUNTRIES = 5_000, 500_000, 38
ORDER_EVENTS: Final = 4
AGGREGATE_COLUMNS: Final = tuple(EVENT_COLUMNS)


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
    random = [pl.col("n").hash(seed + which).cast(pl.String) for which in (5, 6)]
    columns = {
        "event_id": pl.concat_str(*random).str.slice(0, 32),
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
    made = pl.DataFrame({"n": index}).select(**columns).cast(pl.Schema(FILE_COLUMNS))
    return made.sort("event_time")


def make_history(directory: Path, events: int) -> list[ColumnFile]:
    """Write a year of so many events as column files."""
    per_day = events // DAYS
    files = []
    for day in (FIRST + timedelta(number) for number in range(DAYS)):
        for number, start in enumerate(range(0, per_day, FILE_ROWS)):
            made = make_events(day, number, min(FILE_ROWS, per_day - start))
            files.append(write_file(made, directory, day.isoformat(), (1, 1)))
    return files


def compute_days(directory: Path, files: list[ColumnFile]) -> Iterator[tuple[str, int]]:
    """Compute the four tables of each day; yield it with the number of their rows."""
    by_day: dict[str, list[ColumnFile]] = {}
    for file in files:
        by_day.setdefault(file.day, []).append(file)
    for day, of_day in by_day.items():
        tables = compute(scan_files(of_day, directory, ZONE), DAY_TRANSFORMS, day)
        yield day, sum(table.height for table in tables)


def aggregate_bytes(directory: Path, files: list[ColumnFile]) -> float:
    """Return the bytes per event of the columns that aggregates need, by writing one file again."""
    largest = max(files, key=lambda file: file.events)
    target = directory / "aggregates.parquet"
    pl.read_parquet(directory / largest.name, columns=list(AGGREGATE_COLUMNS)).write_parquet(
        target, compression="zstd", compression_level=3
    )
    return target.stat().st_size / largest.events


def run(step: str, directory: Path, millions: int) -> None:
    """Run one of the two steps in this process."""
    listed = directory / "files.json"
    start, cpu = time.perf_counter(), time.process_time()
    if step == "make":
        listed.write_bytes(msgspec.json.encode(make_history(directory, millions * MILLION)))
        rows = 0
    else:
        files = msgspec.json.decode(listed.read_bytes(), type=list[ColumnFile])
        rows = sum(number for _, number in compute_days(directory, files))
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    tell(
        f"{step}: {seconds:.1f} s, {used:.1f} CPU s, {millions / used:.2f} million events per"
        f" CPU s, peak {peak_mebibytes(os.getpid()):.0f} MiB, {rows} rows"
    )
    if step != "make":
        size = sum(file.bytes for file in files) / sum(file.events for file in files)
        tell(f"{size:.1f} bytes per event, {aggregate_bytes(directory, files):.1f} for aggregates")


def main() -> None:
    """Make the files, and compute the tables from them, each in a process of its own."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="purchases-history-") as directory:
        for step in ("make", "compute"):
            words = [sys.executable, "-m", "benchmarks.history", step, directory, str(millions)]
            subprocess.run(words, check=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
