"""The upgrade of a database of a million events from schema 8: how long, how large before and now.

python -m benchmarks.upgrade [EVENTS]
"""

import random
import sqlite3
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config

from benchmarks.measure import tell
from streaming.events.identifiers import derived_id
from streaming.settings import Settings
from streaming.store.engine import engine_over
from streaming.store.schema import MIGRATIONS, upgrade

EVENTS: Final = 1_000_000
BATCH: Final = 20_000
START: Final = 1_290_000_000_000_000
EVERY: Final = 57_000_000
ITEMS: Final = 4_000


def fill(path: Path, events: int) -> None:
    """Create a database of schema 8 with synthetic events, in the order of their time."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = engine_over(path, create=True)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    engine.dispose()
    chance = random.Random(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        marks = ", ".join("?" * 19)
        for start in range(0, events, BATCH):
            rows = sorted(_rows(chance, start, min(start + BATCH, events)))
            store.execute("BEGIN")
            store.executemany(f"INSERT INTO analytics_event VALUES ({marks})", rows)  # noqa: S608
            store.execute("COMMIT")


def bytes_an_event(path: Path) -> float:
    """Return how many bytes the pages of events and their indexes take for each event."""
    with closing(sqlite3.connect(path)) as store:
        (size,) = store.execute(
            "SELECT sum(pgsize) FROM dbstat"
            " WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = 'analytics_event')"
        ).fetchone()
        (events,) = store.execute("SELECT count(*) FROM analytics_event").fetchone()
    return float(size / events)


def _rows(chance: random.Random, first: int, end: int) -> Iterator[tuple[object, ...]]:
    for number in range(first, end):
        at = START + number * EVERY
        item, quantity = chance.randrange(ITEMS), chance.randrange(1, 20)
        price = chance.randrange(1, 1_000) * 10_000
        source = (number % 3, number)
        yield (
            derived_id(at // 1_000, struct.pack(">q", number)),
            *(at, "sale", str(chance.randrange(12_000, 18_000)), str(20_000 + item)),
            *(quantity, price, price * quantity, "GBP", str(536_365 + number // 20)),
            *(f"WHITE HEART T-LIGHT HOLDER {item}", "United Kingdom", at + 3_000_000),
            *("purchases", *source, at // 1_000, *source),
        )


def main() -> None:
    """Print the sizes and the time."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(home=Path(directory))
        fill(settings.database_path, events)
        tell(f"schema 8: {bytes_an_event(settings.database_path):.1f} bytes an event")
        began = time.monotonic(), time.process_time()
        upgrade(settings)
        tell(
            f"upgrade of {events:,} events: {time.monotonic() - began[0]:.1f} s,"
            f" {time.process_time() - began[1]:.1f} CPU s"
        )
        tell(f"now: {bytes_an_event(settings.database_path):.1f} bytes an event")


if __name__ == "__main__":
    main()
