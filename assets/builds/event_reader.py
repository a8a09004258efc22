"""The one reader of events for builds: a range of days, in one snapshot.

It uses `sqlite3` only. How a frame becomes figures is in `assets.tables`.
"""

# Polars could read SQLite by itself, through ConnectorX or ADBC. Both bring a second SQLite library
# into the process, and closing one library's file drops the other's POSIX locks: rows get lost.

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.calendar import day_window
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import read_version
from streaming.units import MICROS, whole_sum

FRAME_ROWS: Final = 250_000
"""Rows of one frame: a build needs memory for one frame and its figures, whatever the range."""
FETCH_ROWS: Final = 25_000
"""Rows fetched at once; as Python tuples they take several times a frame's memory."""


@dataclass(frozen=True)
class StreamFigures:
    """What the consumer counted of a day or of everything, at a version; money in micros."""

    version: int
    events: int
    items_sold: int
    net_revenue_micros: int


NO_FIGURES: Final = StreamFigures(0, 0, 0, 0)


@dataclass(frozen=True)
class EventRange:
    """The events of a range of days and the consumer's figures of it, from one snapshot.

    `days` has the ledger's rows in the range, `total` the figures of all stored events.
    `stream_offsets` is the next offset of each topic partition of `analytics`, as JSON. `frames`
    can be iterated once, while the snapshot is open: at least one, each of at most 250,000 rows.
    """

    days: dict[date, StreamFigures]
    total: StreamFigures
    stream_offsets: str
    frames: Iterator[pl.DataFrame]


def read_events(
    connection: StoreConnection, first: date | None, last: date | None, zone: ZoneInfo
) -> EventRange:
    """Read the days from `first` to `last`, both included, in the caller's snapshot.

    None leaves a side open. If clocks change over midnight, the frames may hold events of a
    neighbouring day too.
    """
    start = None if first is None else day_window(first, zone)[0]
    end = None if last is None else day_window(last, zone)[1]
    return EventRange(
        days=read_ledger(connection, first, last),
        total=_read_total(connection),
        stream_offsets=_read_offsets(connection),
        frames=_read_frames(connection, start, end),
    )


def read_ledger(
    connection: StoreConnection, first: date | None = None, last: date | None = None
) -> dict[date, StreamFigures]:
    """Read the ledger's figures of each day in the range."""
    rows = connection.execute(
        "SELECT day, version, events, items_sold, net_revenue_trillions, net_revenue_micros"
        " FROM day_ledger"
        " WHERE day >= ? AND day <= ? ORDER BY day",
        ((first or date.min).isoformat(), (last or date.max).isoformat()),
    )
    return {
        date.fromisoformat(day): StreamFigures(
            version, events, items_sold, whole_sum(trillions, micros)
        )
        for day, version, events, items_sold, trillions, micros in rows
    }


def count_customers(connection: StoreConnection) -> StreamFigures:
    """Return the figures of the events that have a user, by one statement over all of them."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(quantity), 0), coalesce(sum(amount_micros / 1000000), 0),"
        " coalesce(sum(amount_micros % 1000000), 0) FROM analytics_event WHERE user IS NOT NULL"
    ).fetchone()
    events, items_sold, units, rest = row
    return StreamFigures(events, events, items_sold, units * MICROS + rest)


def _read_total(connection: StoreConnection) -> StreamFigures:
    row = connection.execute(
        "SELECT events, items_sold, net_revenue_trillions, net_revenue_micros FROM live_totals"
    ).fetchone()
    if row is None:
        return NO_FIGURES
    events, items_sold, trillions, micros = row
    return StreamFigures(read_version(connection), events, items_sold, whole_sum(trillions, micros))


def _read_offsets(connection: StoreConnection) -> str:
    # By the end of the name, because a namespace may stand before it.
    rows = connection.execute(
        "SELECT topic || '-' || partition, next_offset FROM stream_offset"
        " WHERE topic NOT LIKE '%.dlq' ORDER BY topic, partition"
    )
    return json.dumps(dict(rows.fetchall()))


def _read_frames(
    connection: StoreConnection, start: int | None, end: int | None
) -> Iterator[pl.DataFrame]:
    """Read the events from `start` to before `end` (µs) in frames; None leaves a side open."""
    limits = {">=": start, "<": end}
    bounds = [f"event_time {sign} {at}" for sign, at in limits.items() if at is not None]
    where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
    columns = ", ".join(EVENT_COLUMNS)
    cursor = connection.execute(f"SELECT {columns} FROM analytics_event {where}")  # noqa: S608
    # The first piece may be empty: an empty range gives one frame with the columns and no row.
    pieces = [_frame(cursor.fetchmany(FETCH_ROWS))]
    while rows := cursor.fetchmany(FETCH_ROWS):
        if sum(piece.height for piece in pieces) + len(rows) > FRAME_ROWS:
            yield pl.concat(pieces)
            pieces = []
        pieces.append(_frame(rows))
    yield pl.concat(pieces)


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row")
