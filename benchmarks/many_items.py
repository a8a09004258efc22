"""A day of 150,000 distinct items: what a look at the dashboard and a page of `/items` cost.

Measured on a store filled without the stream, in CPU time, because other work on the machine only
makes it wait. Run it by `python -m benchmarks.many_items`; the aim
is under 200 ms for a sample and 300 ms for a page, and memory that does not grow.
"""

import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from assets.queries.sales import read_ranking
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.rebuild import rebuild
from streaming.store.schema import upgrade
from streaming.store.sqlite import connect, transaction
from streaming.totals.sampler import Sampler
from tests.store.rows import add_events, event

ITEMS: Final = 150_000
NEW: Final = 1_000
"""Purchases between two samples, as of 2,000 a second."""
SAMPLES: Final = 60
"""The dashboard keeps a ranking a minute, so this is how many rankings an hour has."""


def main() -> int:
    """Fill a store in a directory of its own, and print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(home=Path(directory))
        _fill(settings)
        tell("the first sample", *_seconds(lambda: None, Sampler(settings).sample, 1))
        sampler, before = Sampler(settings), _peak_mib()
        sampler.sample()
        number = iter(range(ITEMS, 10 * ITEMS, NEW))
        tell("a later sample", *_seconds(lambda: _add(settings, next(number)), sampler.sample))
        print(f"memory of {SAMPLES} samples: {_peak_mib() - before} MiB more")
        tell("a page of /items", *_seconds(lambda: None, lambda: _page(settings)))
    return 0


def tell(what: str, median: float, slowest: float) -> None:
    """Print a figure in milliseconds."""
    milliseconds = f"{1_000 * median:.0f} ms in the median, {1_000 * slowest:.0f} ms at most"
    print(f"{what}: {milliseconds}")


def _seconds(
    prepare: Callable[[], object], measured: Callable[[], object], times: int = SAMPLES
) -> tuple[float, float]:
    """Return the median and the longest CPU time of a call, each prepared first."""
    seconds = []
    for _ in range(times):
        prepare()
        began = time.process_time()
        measured()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), max(seconds)


def _fill(settings: Settings) -> None:
    upgrade(settings)
    engine = open_engine(settings)
    ensure_deployment(engine, settings)
    engine.dispose()
    _add(settings, 0, ITEMS)
    rebuild(settings)
    today = datetime.now(UTC).date().isoformat()
    rows = ((today, f"item {n:06d}", 1, n % 9, 0, 0, 1, 1, n + 1) for n in range(ITEMS))
    with closing(connect(settings.database_path)) as connection, transaction(connection):
        connection.executemany(
            "INSERT INTO daily_item_sales (day, item, events, items_sold, gross_revenue_micros,"
            " net_revenue_micros, orders, customers, rank) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def _add(settings: Settings, first: int, number: int = NEW) -> None:
    """Store so many purchases of now: at first one of each item, later of any."""
    now = time.time_ns() // 1_000
    items = range(number) if first == 0 else random.sample(range(ITEMS), number)
    with closing(connect(settings.database_path)) as connection:
        add_events(
            connection,
            (event(first + n, now, item=f"item {item:06d}") for n, item in enumerate(items)),
        )


def _page(settings: Settings) -> None:
    today: date = datetime.now(UTC).date()
    with read_store(settings) as store:
        read_ranking(
            store, DayRange(today, today), "item", "items_sold", "descending", slice(0, 20)
        )


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
