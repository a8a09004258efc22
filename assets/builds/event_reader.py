"""The one reader of events for builds: a range of days, in one snapshot.

Column files give what is sealed of a day, and the rows of the database what is stored since. How a
frame becomes figures is in `assets.tables`.
"""

# Polars could read SQLite by itself, through ConnectorX or ADBC. Both bring a second SQLite library
# into the process, and closing one library's file drops the other's POSIX locks: rows get lost.

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.builds.columns import FILE_COLUMNS, ROW_COLUMNS, FileSums, scan_files, sum_files
from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.calendar import day_window, with_local_time
from streaming.errors import PurchasesError
from streaming.events.identifiers import event_id_text
from streaming.store.archive import ROW, list_archive, read_archived
from streaming.store.column_files import ColumnFile, read_column_files
from streaming.store.column_store import ColumnStore
from streaming.store.connection import StoreConnection
from streaming.store.dialect import is_one_of, read_in_pieces
from streaming.store.live_totals import read_version
from streaming.totals.queries import last_row
from streaming.units import MICROS, whole_sum

FRAME_ROWS: Final = 250_000
"""Rows of one frame: a build needs memory for one frame and its figures, whatever the range."""
FETCH_ROWS: Final = 25_000
"""Rows fetched at once; as Python tuples they take several times a frame's memory."""
ID: Final = "event_id"


@dataclass(frozen=True)
class StreamFigures:
    """What the consumer counted of a day or of everything, at a version; money in micros."""

    version: int
    events: int
    items_sold: int
    net_revenue_micros: int


NO_FIGURES: Final = StreamFigures(0, 0, 0, 0)


@dataclass(frozen=True)
class RowRange:
    """The stored rows of a day after one number up to another, in the order of storing.

    `day_events` is about how many events the whole day has: the faster search depends on it.
    """

    day: date
    after: int
    until: int
    day_events: int


@dataclass(frozen=True)
class EventRange:
    """The events of a range of days and the consumer's figures of it, from one snapshot.

    `days` has the ledger's rows in the range, `total` the figures of all stored events.
    `stream_offsets` is the next offset of each topic partition of `analytics`, as JSON. `files` are
    the column files of the days, and `sealed` plans their events, with local columns. `frames` has
    all others, and can be iterated once, while the snapshot is open: at least one unless events are
    sealed, each of at most 250,000 rows.
    """

    days: dict[date, StreamFigures]
    total: StreamFigures
    stream_offsets: str
    files: list[ColumnFile]
    sealed: list[pl.LazyFrame]
    frames: Iterator[pl.DataFrame]


def read_events(
    connection: StoreConnection,
    first: date | None,
    last: date | None,
    zone: ZoneInfo,
    column_store: ColumnStore | None = None,
) -> EventRange:
    """Read the days from `first` to `last`, both included, in the caller's snapshot.

    None leaves a side open. `column_store` has the column files; None reads rows only.
    If clocks change over midnight, the frames may hold events of a neighbouring day too.
    """
    start = None if first is None else day_window(first, zone)[0]
    end = None if last is None else day_window(last, zone)[1]
    days = read_ledger(connection, first, last)
    sealed = {} if column_store is None else read_sound_files(connection, first, last)
    files = list(chain.from_iterable(sealed.values()))
    lost = [
        file for file in list_archive(connection) if file not in files and _is_in(file, first, last)
    ]
    return EventRange(
        days=days,
        total=_read_total(connection),
        stream_offsets=_read_offsets(connection),
        files=files,
        sealed=[] if column_store is None else scan_files(files, column_store, zone),
        frames=_raise_lost(lost)
        if lost
        else _read_rest(connection, days, sealed, zone)
        if files
        else _frames(_pieces(connection, EVENT_COLUMNS, (start, end))),
    )


def _is_in(file: ColumnFile, first: date | None, last: date | None) -> bool:
    return (first or date.min).isoformat() <= file.day <= (last or date.max).isoformat()


def _raise_lost(files: Sequence[ColumnFile]) -> Iterator[pl.DataFrame]:
    """Raise, when frames are read, that the events of these files are nowhere else."""
    raise PurchasesError(
        f"Rows of {files[0].day} are in column files only, and {files[0].name} cannot be used"
        f" ({files[0].problem or 'their place does not answer'}): put it back from a copy, and run"
        " `purchases db columns rebuild`."
    )
    yield  # without it this would raise at once, also for who reads no frame


def read_rows_beyond(
    connection: StoreConnection,
    columns: Mapping[str, Any],
    day: date,
    zone: ZoneInfo,
    files: Iterable[ColumnFile],
) -> Iterator[pl.DataFrame]:
    """Read the events of a day that its column files do not have, by time, in frames."""
    listed = list(files)
    after_row = max((file.last_row for file in listed), default=0)
    rows = RowRange(day, after_row, last_row(connection), sum_files(listed).events)
    return read_rows(connection, columns, zone, rows)


def read_rows(
    connection: StoreConnection,
    columns: Mapping[str, Any],
    zone: ZoneInfo,
    rows: RowRange,
    related: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[pl.DataFrame]:
    """Read the events of a range of rows, in frames: at least one, which may be empty.

    With `related` only those that have one of the values of a column in it.
    """
    pieces = _pieces(connection, columns, day_window(rows.day, zone), rows, related or {})
    return _frames(_of_day(piece, rows.day, zone) for piece in pieces)


def read_whole_rows(
    connection: StoreConnection, day: date, zone: ZoneInfo, after: int
) -> Iterator[pl.DataFrame]:
    """Read the rows of a day after a number, whole and in the order of their numbers, in frames."""
    columns = {**FILE_COLUMNS, **ROW_COLUMNS}
    names = ", ".join("rowid" if name == ROW else f'"{name}"' for name in columns)
    # By the index of times: a `+` keeps SQLite from reading the whole table by its row numbers.
    pieces = read_in_pieces(
        connection,
        f"SELECT {names} FROM analytics_event"  # noqa: S608 - own names
        " WHERE event_time >= ? AND event_time < ? AND +rowid > ? ORDER BY +rowid",
        (*day_window(day, zone), after),
        FETCH_ROWS,
    )
    return _frames(_of_day(_frame(piece, columns), day, zone) for piece in pieces)


def count_rows(connection: StoreConnection, zone: ZoneInfo, rows: RowRange) -> int:
    """Count the events of a range of rows; also those of a neighbour that `day_window` has."""
    statement = _select("count(*)", day_window(rows.day, zone), rows, ())
    return int(connection.execute(statement).fetchone()[0])


def read_sound_files(
    connection: StoreConnection, first: date | None, last: date | None
) -> dict[date, list[ColumnFile]]:
    """Read the files of the days of which none has a problem."""
    listed = read_column_files(connection, first, last)
    return {
        day: files
        for day, files in listed.items()
        if not any(file.problem is not None for file in files)
    }


def _read_rest(
    connection: StoreConnection,
    days: Mapping[date, StreamFigures],
    sealed: Mapping[date, list[ColumnFile]],
    zone: ZoneInfo,
) -> Iterator[pl.DataFrame]:
    """Read what the column files do not have; no frame if they have everything."""
    # The ledger counts the events of a day, so a day that is sealed whole needs no look at rows.
    behind = [
        day
        for day, figures in days.items()
        if figures.events != sum_files(sealed.get(day, ())).events
    ]
    frames = (
        frame
        for day in behind
        for frame in read_rows_beyond(connection, EVENT_COLUMNS, day, zone, sealed.get(day, ()))
    )
    return _frames(frames) if behind else iter(())


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


def count_customers(connection: StoreConnection, column_store: ColumnStore | None) -> StreamFigures:
    """Return the figures of the events that have a user, by one statement over all rows.

    Those that are in column files only are added. Raises what `read_archived_file` does.
    """
    row = connection.execute(
        "SELECT count(*), coalesce(sum(quantity), 0), coalesce(sum(amount_micros / 1000000), 0),"
        ' coalesce(sum(amount_micros % 1000000), 0) FROM analytics_event WHERE "user" IS NOT NULL'
    ).fetchone()
    events, items_sold, units, rest = row
    sums = FileSums(events, items_sold, units * MICROS + rest)
    if column_store is not None:
        for file in list_archive(connection):
            archived = read_archived(connection, file, column_store)
            sums = sums.add_events(archived.filter(pl.col("user").is_not_null()))
    return StreamFigures(sums.events, sums.events, sums.items_sold, sums.net_revenue_micros)


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


def _pieces(
    connection: StoreConnection,
    columns: Mapping[str, Any],
    window: tuple[int | None, int | None],
    rows: RowRange | None = None,
    related: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[pl.DataFrame]:
    """Read the events from the first time of a window to before its second (µs); None is open.

    The first piece may be empty: an empty range gives one frame with the columns and no row.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    alternatives = [is_one_of(connection, column, values) for column, values in related.items()]
    statement = _select(names, window, rows, [condition for condition, _ in alternatives])
    values = [of_column for _, of_column in alternatives]
    pieces = read_in_pieces(connection, statement, values, FETCH_ROWS)
    yield _frame(next(pieces, []), columns)
    for piece in pieces:
        yield _frame(piece, columns)


def _select(
    names: str,
    window: tuple[int | None, int | None],
    rows: RowRange | None,
    related: Sequence[str],
) -> str:
    """Return the statement that selects events, those for which one of `related` is true."""
    moment, number = "event_time", "+rowid"
    # The rows of the range are few or many, and so are the events of the day: the smaller of both
    # is searched. A `+` makes the other an expression, which no index is of. SQLite has no
    # statistics to decide by.
    if rows is not None and rows.until - rows.after < rows.day_events:
        moment, number = "+event_time", "rowid"
    start, end = window
    limits = {f"{moment} >=": start, f"{moment} <": end}
    if rows is not None:
        limits |= {f"{number} >": rows.after or None, f"{number} <=": rows.until}
    conditions = [f"{sign} {at}" for sign, at in limits.items() if at is not None]
    if related:
        conditions.append(f"({' OR '.join(related)})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {names} FROM analytics_event{where}"  # noqa: S608 - own names


def _frames(pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Join pieces to frames of at most `FRAME_ROWS`, as long as no piece is larger."""
    joined: list[pl.DataFrame] = []
    for piece in pieces:
        if joined and sum(each.height for each in joined) + piece.height > FRAME_ROWS:
            yield pl.concat(joined)
            joined = []
        joined.append(piece)
    if joined:
        yield pl.concat(joined)


def _of_day(events: pl.DataFrame, day: date, zone: ZoneInfo) -> pl.DataFrame:
    in_day = pl.col("day") == day
    return with_local_time(events, zone).filter(in_day).select(events.columns).collect()


def _frame(rows: list[tuple[object, ...]], columns: Mapping[str, Any]) -> pl.DataFrame:
    if ID not in columns:
        return pl.DataFrame(rows, schema=dict(columns), orient="row")
    frame = pl.DataFrame(rows, schema={**columns, ID: pl.Binary}, orient="row")
    return frame.with_columns(pl.Series(ID, map(event_id_text, frame[ID]), dtype=pl.String))
