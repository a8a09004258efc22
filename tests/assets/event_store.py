"""Events stored as the consumer stores them: by its own writer, without a broker between."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine

from assets.tables.calendar import day_window
from assets.tables.day_range import DayRange
from streaming.producer.replay.recording import read_recording
from streaming.settings import Settings
from streaming.store.advances import Advance, Source, stored_positions
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.rows import EventRow, day_cutter
from streaming.store.schema import upgrade
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import BatchRows, StoredBatch, write_batch, write_in_transaction
from streaming.units import MICROS
from tests.store.rows import GROUP, SOURCE_TOPICS, TOPIC_ID, Event

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail.parquet"
BATCH = 50_000
SOURCE = Source(GROUP, "analytics", "cluster", {"analytics": TOPIC_ID})


@contextmanager
def open_store(settings: Settings) -> Iterator[Engine]:
    """Open the store of a home, which is created if it does not exist."""
    upgrade(settings)
    engine = open_engine(settings)
    ensure_deployment(engine, settings)
    record_source_topics(engine, SOURCE_TOPICS)
    yield engine
    engine.dispose()


def store_events(settings: Settings, events: Iterable[Event], now: int = 0) -> None:
    """Store events as one batch of partition 0, with all the figures that belong to them."""
    with open_store(settings) as engine:
        write(engine, settings, [event.row() for event in events], now)


def write(engine: Engine, settings: Settings, rows: list[EventRow], now: int = 0) -> None:
    """Write a batch that stands behind what partition 0 was read to."""

    def write_rows(connection: Connection, *, alone: bool) -> StoredBatch:
        position = stored_positions(connection, GROUP).get(("analytics", 0))
        expected = None if position is None else position.next_offset
        advance = Advance(expected, (expected or 0) + len(rows), 0, len(rows))
        batch, day_of = BatchRows(rows, [], {("analytics", 0): advance}), day_cutter(settings.zone)
        return write_batch(connection, batch, SOURCE, day_of, lambda: now, alone=alone)

    write_in_transaction(engine, write_rows, alone=False)


def store_example(settings: Settings, days: DayRange) -> None:
    """Store the example's purchases of some days, all but the two whose price is negative."""
    rows = example_rows(settings, days)
    with open_store(settings) as engine:
        while batch := list(islice(rows, BATCH)):
            write(engine, settings, batch)


def example_rows(settings: Settings, days: DayRange) -> Iterator[EventRow]:
    """Return the example as the stream stores it, except ids, offsets and processing times.

    They come straight from the file: half a million records need not be encoded and read.
    """
    year = read_recording(EXAMPLE, {}, settings.timezone).frame
    names = ("time", "user", "item", "quantity", "unit_price", "order_id", "description", "country")
    first, end = day_window(days.first, settings.zone)[0], day_window(days.last, settings.zone)[1]
    inside = year["time"].is_between(first, end, closed="left")
    good = year.filter(inside & (year["unit_price"] >= 0)).select(names)
    for number, row in enumerate(good.iter_rows()):
        time, user, item, quantity, unit_price, order_id, description, country = row
        price = round(unit_price * MICROS)
        yield (
            (time << 64 | number).to_bytes(16, "big"),
            time,
            "sale" if quantity > 0 else "return",
            user,
            item,
            quantity,
            price,
            price * quantity,
            "GBP",
            order_id,
            description,
            country,
            time,
            1,
            0,
            number,
            time // 1000,
            0,
            number,
        )
