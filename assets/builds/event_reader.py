"""The one way in which the batch half reads events: a range of days, in one snapshot.

Through `sqlite3` only: a second SQLite library in one process loses rows. A columnar history can
stand behind `read_history` later.
"""

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

FRAME_ROWS: Final = 250_000
FETCH_ROWS: Final = 25_000


@dataclass(frozen=True)
class Counted:
    """What the stream counted of a day or of everything, and at which version; money in micros."""

    version: int
    events: int
    items_sold: int
    net_revenue_micros: int


NOTHING: Final = Counted(0, 0, 0, 0)


@dataclass(frozen=True)
class History:
    """The events of a range with what the stream counted of it, all as at one moment.

    `days` has the ledger's rows in the range, `total` counts everything that was ever stored.
    `stream_offsets` is the next offset of each partition of `analytics`, as JSON. `frames` can be
    taken once, while the snapshot is open: at least one, each of at most 250,000 rows.
    """

    days: dict[date, Counted]
    total: Counted
    stream_offsets: str
    frames: Iterator[pl.DataFrame]


def read_history(
    connection: StoreConnection, first: date | None, last: date | None, zone: ZoneInfo
) -> History:
    """Read the days from `first` to `last`, both included, in the caller's snapshot.

    None leaves a side open. Where clocks change over midnight, events of a neighbouring
    day may be in the frames too.
    """
    start = None if first is None else day_window(first, zone)[0]
    end = None if last is None else day_window(last, zone)[1]
    return History(
        days=read_ledger(connection, first, last),
        total=_read_total(connection),
        stream_offsets=_read_offsets(connection),
        frames=_frames(connection, start, end),
    )


def read_ledger(
    connection: StoreConnection, first: date | None = None, last: date | None = None
) -> dict[date, Counted]:
    """Read what the stream counted of each day in the range."""
    rows = connection.execute(
        "SELECT day, version, events, items_sold, net_revenue_micros FROM day_ledger"
        " WHERE day >= ? AND day <= ? ORDER BY day",
        ((first or date.min).isoformat(), (last or date.max).isoformat()),
    )
    return {date.fromisoformat(day): Counted(*figures) for day, *figures in rows}


def count_customers(connection: StoreConnection) -> Counted:
    """Count the events that are no guest's, as one SQL statement over all of them."""
    row = connection.execute(
        "SELECT count(*), count(*), coalesce(sum(quantity), 0), coalesce(sum(amount_micros), 0)"
        " FROM analytics_event WHERE user IS NOT NULL"
    ).fetchone()
    return Counted(*row)


def _read_total(connection: StoreConnection) -> Counted:
    row = connection.execute(
        "SELECT events, events, items_sold, net_revenue_micros FROM live_totals"
    ).fetchone()
    return Counted(*row) if row else NOTHING


def _read_offsets(connection: StoreConnection) -> str:
    rows = connection.execute(
        "SELECT topic || '-' || partition, next_offset FROM stream_offset"
        " WHERE topic NOT LIKE '%.dlq' ORDER BY topic, partition"
    )
    return json.dumps(dict(rows.fetchall()))


def _frames(
    connection: StoreConnection, start: int | None, end: int | None
) -> Iterator[pl.DataFrame]:
    """Give the events in frames; rows become polars' by the ten thousand, to keep memory small."""
    limits = {">=": start, "<": end}
    bounds = [f"event_time {sign} {at}" for sign, at in limits.items() if at is not None]
    where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
    columns = ", ".join(EVENT_COLUMNS)
    cursor = connection.execute(f"SELECT {columns} FROM analytics_event {where}")  # noqa: S608
    pieces = [_frame(cursor.fetchmany(FETCH_ROWS))]
    while rows := cursor.fetchmany(FETCH_ROWS):
        if sum(piece.height for piece in pieces) + len(rows) > FRAME_ROWS:
            yield pl.concat(pieces)
            pieces = []
        pieces.append(_frame(rows))
    yield pl.concat(pieces)


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row")
