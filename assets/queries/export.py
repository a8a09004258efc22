"""Exports of tables: which tables, and their rows in the order of the key, in constant memory.

How rows become a file is in `file_formats`. Where the bytes go is in `endpoints` and in
`orchestration.cli.export`.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Column, Date, Integer
from sqlalchemy import Table as SqlTable

from assets.queries.file_formats import Format, encode
from assets.queries.freshness import FIRST_DAY, read_days_freshness, read_whole_freshness
from assets.queries.records import Freshness
from assets.tables.calendar import day_window, with_local_time
from assets.tables.day_range import DayRange
from assets.tables.models import (
    DAY_TABLES,
    WHOLE_TABLE_NAMES,
    WHOLE_TABLES,
    TableBuild,
)
from assets.tables.sql_transform import is_day_table
from streaming.errors import NotFound, UsageError
from streaming.events.identifiers import event_id_text
from streaming.settings import Settings
from streaming.store.archive import ALWAYS, list_archive, show_archived
from streaming.store.column_store import ColumnStore, open_column_store
from streaming.store.connection import StoreConnection, read_store
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.dialect import column_kinds, read_in_pieces
from streaming.store.migrations.readable import source_topic
from streaming.store.models import AnalyticsEventRow, Table, table_name
from streaming.store.sql_tables import (
    DAY,
    code_versions,
    is_sql_table,
    require_sql_table,
)

EXPORTED: Final[tuple[type[Table], ...]] = (
    AnalyticsEventRow,
    *DAY_TABLES,
    *WHOLE_TABLES,
    TableBuild,
)
TABLES: Final = tuple(map(table_name, EXPORTED))
EVENT_TIME: Final = "event_time"
CUT_BY: Final = {
    table_name(AnalyticsEventRow): EVENT_TIME,
    **dict.fromkeys(map(table_name, DAY_TABLES), "day"),
    table_name(TableBuild): "partition",
}
ID: Final = "event_id"
TOPIC: Final = "source_topic"
EVENT_TEXTS: Final = (ID, TOPIC)
"""The columns of events that the row holds in fewer bytes, and an export as text."""
FETCH_ROWS: Final = 25_000
"""Rows in memory at once; as Python tuples they take several times a frame's memory."""

Progress = Callable[[int], None]
"""Called with the number of rows so far."""


def export_chunks(  # noqa: PLR0913, PLR0917 - what an export is, and its progress
    settings: Settings,
    table: str,
    first: date | None,
    last: date | None,
    form: Format,
    progress: Progress = lambda _rows: None,
) -> Iterator[bytes]:
    """Return a table's rows from one day to another, both included, as the bytes of a file.

    All columns in the table's order and units, rows by the table's key (events by `event_time`,
    then `event_id`), as one statement sees them: the stream may write meanwhile. None leaves a
    side open; days are cut in the deployment's time zone.

    Raises before the first chunk: `NotFound` for an unknown table, `UsageError` for days in the
    wrong order or of a table that is not cut into days; what `read_store` and
    `require_same_deployment` do.
    """
    days = _requested_days(table, first, last)
    with read_store(settings) as store:
        if is_sql_table(table):
            require_sql_table(store, table)
        recorded = recorded_deployment(store)
    if recorded is not None:
        require_same_deployment(recorded, settings, settings.database)
    return _chunks(settings, table, days, form, progress)


def read_gap(
    settings: Settings, table: str, first: date | None, last: date | None
) -> Freshness | None:
    """Return the freshness of an exported table if it lacks days, or was never built."""
    with read_store(settings) as store:
        if is_day_table(table):
            days, code = DayRange(first or FIRST_DAY, last or date.max), code_versions(settings)
            freshness = read_days_freshness(store, table, days, settings.zone, code.get(table))
            return freshness if freshness.missing_days else None
        if table in WHOLE_TABLE_NAMES:
            freshness = read_whole_freshness(store, table)
            return freshness if freshness.behind and freshness.built_at is None else None
    return None


def scratch_directory(settings: Settings) -> Path:
    """Return where unnamed files go: beside a database that is a file, else into the home."""
    database = settings.database
    if isinstance(database, Path):
        return database.parent
    return settings.home if settings.home.is_dir() else Path(tempfile.gettempdir())


def _requested_days(table: str, first: date | None, last: date | None) -> DayRange | None:
    """Return the days that are exported; None is the whole table."""
    if table not in TABLES and not is_sql_table(table):
        raise NotFound(
            f"{table} is not a table for export; name one of {', '.join(TABLES)}, or that of a"
            " .sql file."
        )
    if first is None and last is None:
        return None
    if _cut_by(table) is None:
        raise UsageError(f"{table} is not cut into days: export it whole, without from and to.")
    days = DayRange(first or date.min, last or date.max)
    if days.first > days.last:
        raise UsageError(f"From {first} to {last}: the first day is after the last.")
    return days


def _cut_by(table: str) -> str | None:
    """Return the column by which a table is cut into days, None if it is not."""
    return DAY if is_sql_table(table) else CUT_BY.get(table)


def _chunks(
    settings: Settings, table: str, days: DayRange | None, form: Format, progress: Progress
) -> Iterator[bytes]:
    with read_store(settings) as store:
        frames = _read_frames(store, open_column_store(settings), table, days, settings.zone)
        yield from encode(_report_progress(frames, progress), form, scratch_directory(settings))


def _report_progress(frames: Iterator[pl.DataFrame], progress: Progress) -> Iterator[pl.DataFrame]:
    rows = 0
    for frame in frames:
        yield frame
        rows += frame.height
        progress(rows)


def _read_frames(
    store: StoreConnection,
    column_store: ColumnStore,
    table: str,
    days: DayRange | None,
    zone: ZoneInfo,
) -> Iterator[pl.DataFrame]:
    """Read the rows in frames; the first one is empty, and has the columns."""
    types = _read_types(store, table)
    dates = [name for name, kind in types.items() if kind == pl.Date]
    fetched = pl.Schema({**types, **dict.fromkeys(dates, pl.String())})
    if _is_events(table):
        fetched[ID] = pl.Binary()
    yield pl.DataFrame(schema=pl.Schema(types))
    conditions = {} if days is None else _conditions(table, days, zone)
    parts = (
        _cut_events(store, column_store, conditions, zone) if _is_events(table) else [conditions]
    )
    for part in parts:
        statement, values = _select(table, types, part), tuple(part.values())
        for rows in read_in_pieces(store, statement, values, FETCH_ROWS):
            frame = pl.DataFrame(rows, schema=fetched, orient="row")
            frame = frame.with_columns(pl.col(dates).str.to_date())
            if _is_events(table):
                ids = map(event_id_text, frame[ID])
                frame = frame.with_columns(pl.Series(ID, ids, dtype=pl.String))
            # The window of a local day may hold moments of its neighbours, if clocks went back.
            if days is not None and _cut_by(table) == EVENT_TIME:
                frame = _only_days(frame, days, zone)
            yield frame


def _cut_events(
    store: StoreConnection,
    column_store: ColumnStore,
    conditions: Mapping[str, int | str],
    zone: ZoneInfo,
) -> Iterator[Mapping[str, int | str]]:
    """Yield conditions on events, in the order of time, with the archived events of each shown.

    Each archived day is a part of its own, because all its events are in a temporary file then.
    """
    start, end = (int(bound) for bound in (*conditions.values(), *ALWAYS[len(conditions) :]))
    days = {date.fromisoformat(file.day) for file in list_archive(store, (start, end))}
    if not days:
        yield conditions
        return
    cuts = {bound for day in days for bound in day_window(day, zone) if start < bound < end}
    bounds = [start, *sorted(cuts), end]
    for part in pairwise(bounds):
        show_archived(store, column_store, part)
        yield dict(zip(("event_time >= ?", "event_time < ?"), part, strict=True))


def _read_types(store: StoreConnection, table: str) -> dict[str, pl.DataType]:
    """Read the columns of a table with their types; a `.sql` file's have those of their values."""
    if not is_sql_table(table):
        types = {column.name: _type_of(column) for column in Table.metadata.tables[table].columns}
        return types | (dict.fromkeys(EVENT_TEXTS, pl.String()) if _is_events(table) else {})
    types = {"text": pl.String(), "real": pl.Float64(), "integer": pl.Int64()}
    kinds = column_kinds(store, table)
    return {name: types[kind] for name, kind in kinds.items()} | {DAY: pl.Date()}


def _is_events(table: str) -> bool:
    return table == table_name(AnalyticsEventRow)


def _type_of(column: "Column[object]") -> pl.DataType:
    if isinstance(column.type, Date):
        return pl.Date()
    return pl.Int64() if isinstance(column.type, Integer) else pl.String()


def _conditions(table: str, days: DayRange, zone: ZoneInfo) -> dict[str, int | str]:
    """Return the conditions on a table's rows, each with its value."""
    column, first, last = _cut_by(table), days.first, days.last
    if column != EVENT_TIME:
        return {f"{column} >= ?": first.isoformat(), f"{column} <= ?": last.isoformat()}
    conditions: dict[str, int | str] = {"event_time >= ?": day_window(first, zone)[0]}
    # The day after the last that Python knows has no date.
    if last < date.max:
        conditions["event_time < ?"] = day_window(last, zone)[1]
    return conditions


def _select(table: str, types: dict[str, pl.DataType], conditions: Mapping[str, int | str]) -> str:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    if is_sql_table(table):
        # Values of several types in one column become texts, as the type of the column is then.
        cast = {pl.String(): "TEXT", pl.Float64(): "DOUBLE PRECISION"}
        columns = ", ".join(
            f'CAST("{name}" AS {cast[kind]})' if kind in cast else f'"{name}"'
            for name, kind in types.items()
        )
        order = ", ".join(f'"{name}"' for name in types)
        return f'SELECT {columns} FROM "{table}" {where} ORDER BY {order}'  # noqa: S608 - the schema's
    sql: SqlTable = Table.metadata.tables[table]
    shown = {TOPIC: source_topic(TOPIC)} if _is_events(table) else {}
    columns = ", ".join(shown.get(column.name, f'"{column.name}"') for column in sql.columns)
    time = [EVENT_TIME] if CUT_BY.get(table) == EVENT_TIME else []
    order = ", ".join(f'"{name}"' for name in [*time, *(c.name for c in sql.primary_key)])
    return f'SELECT {columns} FROM "{table}" {where} ORDER BY {order}'  # noqa: S608 - models' names


def _only_days(frame: pl.DataFrame, days: DayRange, zone: ZoneInfo) -> pl.DataFrame:
    """Drop the events of neighbouring days."""
    in_days = pl.col("day").is_between(days.first, days.last)
    return with_local_time(frame, zone).filter(in_days).select(frame.columns).collect()
