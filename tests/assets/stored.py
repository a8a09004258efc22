"""Events stored as the consumer stores them: by its own writer, without a broker between."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import cast

from sqlalchemy import Engine

from streaming.events.analytics import enrich
from streaming.events.purchase import Rules, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.producer.recorded import read_recording
from streaming.producer.rows import rows
from streaming.settings import Settings
from streaming.store.batch import EventRow, day_cutter, event_row
from streaming.store.engine import open_store
from streaming.store.migrate import ensure_deployment, upgrade
from streaming.store.write import Advance, Batch, Source, stored_positions, write_batch
from tests.store.rows import GROUP, TOPIC_ID, Event

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail.parquet"
BATCH = 50_000
SOURCE = Source(GROUP, "analytics", "cluster", {"analytics": TOPIC_ID})
PROCESSED_AT = "2026-01-01T00:00:00.000000Z"


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """Give the store of a home, made and started where it was not."""
    upgrade(settings)
    engine = open_store(settings.database_path)
    ensure_deployment(engine, settings)
    yield engine
    engine.dispose()


def store_events(settings: Settings, events: Iterable[Event], now: int = 0) -> None:
    """Store events as one batch of partition 0, with all the figures that belong to them."""
    with opened(settings) as engine:
        write(engine, settings, [cast("EventRow", astuple(event)) for event in events], now)


def write(engine: Engine, settings: Settings, rows: list[EventRow], now: int = 0) -> None:
    """Write a batch that stands behind what partition 0 was read to."""
    with engine.begin() as connection:
        known = stored_positions(connection, GROUP).get(("analytics", 0))
        expected = None if known is None else known.next_offset
        advance = Advance(expected, (expected or 0) + len(rows), 0, len(rows))
        batch = Batch(rows, [], {("analytics", 0): advance})
        write_batch(connection, batch, SOURCE, day_cutter(settings.zone), now)


def store_example_year(settings: Settings) -> None:
    """Store the example as a replay of it, the processor and the consumer would."""
    found = example_rows(settings)
    with opened(settings) as engine:
        while batch := list(islice(found, BATCH)):
            write(engine, settings, batch)


def example_rows(settings: Settings) -> Iterator[EventRow]:
    """Give the rows of the example's purchases that are not refused."""
    recording = read_recording(EXAMPLE, {}, settings.timezone)
    rules = Rules(settings.currency, settings.history_start_time)
    offset = 0
    for row in rows(recording, 0):
        record = Record("purchases", bytes(16), 0, row.number, row.micros or 0, row.key, row.value)
        _, purchase = read_purchase(record, rules)
        if not isinstance(purchase, Refusal):
            yield event_row(enrich(purchase, record, PROCESSED_AT), 0, offset)
            offset += 1
