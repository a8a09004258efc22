"""Tables as bytes for other programs: which may be exported, their rows by key, and the formats.

Reading and encoding only, in constant memory. Where the bytes go is the caller's matter.
"""

import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from polars.io.plugins import register_io_source
from sqlalchemy import Column, Date, Integer
from sqlalchemy import Table as SqlTable

from assets.tables.calendar import day_window, with_local_time
from assets.tables.models import DAY_TABLES, WHOLE_TABLES, TableBuild
from streaming.errors import NotFound, PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.models import AnalyticsEventRow, Table, table_name


class Format(StrEnum):
    """How a table is written; the value is the name that a user gives."""

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


MEDIA_TYPES: Final = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSONL: "application/jsonl",
}
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
FETCH_ROWS: Final = 25_000
GROUP_ROWS: Final = 100_000
CHUNK_BYTES: Final = 1 << 20

Told = Callable[[int], None]


class Days(NamedTuple):
    """Days from one to another, both included; None leaves a side open."""

    first: date | None
    last: date | None

    @property
    def all(self) -> bool:
        """Whether no day is left out."""
        return self.first is None and self.last is None

    def bounds(self) -> tuple[date, date]:
        """Give the sides, the open ones as the first and last day that there is."""
        return self.first or date.min, self.last or date.max


def read_format(text: str) -> Format:
    """Give the format of a name. Raises `UsageError` naming the right ones."""
    try:
        return Format(text)
    except ValueError:
        raise UsageError(f"The format {text} must be one of {', '.join(Format)}.") from None


def export_chunks(  # noqa: PLR0913, PLR0917 - what an export is, and who is told
    settings: Settings,
    table: str,
    first: date | None,
    last: date | None,
    form: Format,
    told: Told = lambda _rows: None,
) -> Iterator[bytes]:
    """Give a table's rows from one day to another, both included, as the bytes of a file.

    All columns in the table's order and units, rows by the table's key (events by `event_time`,
    then `event_id`), as one statement sees them: the stream may write meanwhile. None leaves a
    side open; days are cut in the deployment's time zone. `told` is given the rows so far.

    Raises before the first chunk: `NotFound` for an unknown table, `UsageError` for days in the
    wrong order or of a table that is not cut into days; what `read_store` and
    `require_same_deployment` do.
    """
    days = Days(first, last)
    _require_sense(table, days)
    with read_store(settings) as store:
        recorded = recorded_deployment(store)
    if recorded is not None:
        require_same_deployment(recorded, settings, settings.database_path)
    return _chunks(settings, table, days, form, told)


def _require_sense(table: str, days: Days) -> None:
    if table not in TABLES:
        raise NotFound(f"{table} is no table to export; name one of {', '.join(TABLES)}.")
    if table not in CUT_BY and not days.all:
        raise UsageError(f"{table} is not cut into days: export it whole, without from and to.")
    first, last = days.bounds()
    if first > last:
        raise UsageError(f"From {first} to {last}: the first day is after the last.")


def _chunks(
    settings: Settings, table: str, days: Days, form: Format, told: Told
) -> Iterator[bytes]:
    with read_store(settings) as store:
        frames = _frames(store, table, days, settings.zone)
        yield from _ENCODED[form](_counted(frames, told), settings.database_path.parent)


def _counted(frames: Iterator[pl.DataFrame], told: Told) -> Iterator[pl.DataFrame]:
    rows = 0
    for frame in frames:
        yield frame
        rows += frame.height
        told(rows)


def _frames(
    store: StoreConnection, table: str, days: Days, zone: ZoneInfo
) -> Iterator[pl.DataFrame]:
    """Give the rows in frames, first an empty one, which has the columns."""
    types = {column.name: _type_of(column) for column in Table.metadata.tables[table].columns}
    dates = [name for name, kind in types.items() if kind == pl.Date]
    fetched = pl.Schema({**types, **dict.fromkeys(dates, pl.String())})
    yield pl.DataFrame(schema=pl.Schema(types))
    limits = {} if days.all else _limits(table, days, zone)
    cursor = store.execute(_select(table, limits), tuple(limits.values()))
    while rows := cursor.fetchmany(FETCH_ROWS):
        frame = pl.DataFrame(rows, schema=fetched, orient="row")
        frame = frame.with_columns(pl.col(dates).str.to_date())
        yield _within(frame, days, zone) if "event_time >= ?" in limits else frame


def _type_of(column: "Column[object]") -> pl.DataType:
    if isinstance(column.type, Date):
        return pl.Date()
    return pl.Int64() if isinstance(column.type, Integer) else pl.String()


def _limits(table: str, days: Days, zone: ZoneInfo) -> dict[str, int | str]:
    """Give the conditions on a table's rows, each with its value; `all` is no day."""
    column, (first, last) = CUT_BY[table], days.bounds()
    if column != EVENT_TIME:
        return {f"{column} >= ?": first.isoformat(), f"{column} <= ?": last.isoformat()}
    limits: dict[str, int | str] = {"event_time >= ?": day_window(first, zone)[0]}
    if last < date.max:
        limits["event_time < ?"] = day_window(last, zone)[1]
    return limits


def _select(table: str, limits: dict[str, int | str]) -> str:
    sql: SqlTable = Table.metadata.tables[table]
    columns = ", ".join(f'"{column.name}"' for column in sql.columns)
    where = f"WHERE {' AND '.join(limits)}" if limits else ""
    time = [EVENT_TIME] if CUT_BY.get(table) == EVENT_TIME else []
    order = ", ".join(f'"{name}"' for name in [*time, *(c.name for c in sql.primary_key)])
    return f'SELECT {columns} FROM "{table}" {where} ORDER BY {order}'  # noqa: S608 - models' names


def _within(frame: pl.DataFrame, days: Days, zone: ZoneInfo) -> pl.DataFrame:
    """Drop the moments of neighbour days, which lie in the window where clocks go back."""
    in_days = pl.col("day").is_between(*days.bounds())
    return with_local_time(frame, zone).filter(in_days).select(frame.columns).collect()


def _csv(frames: Iterator[pl.DataFrame], _: Path) -> Iterator[bytes]:
    yield next(frames).write_csv().encode()
    for frame in frames:
        yield frame.write_csv(include_header=False).encode()


def _jsonl(frames: Iterator[pl.DataFrame], _: Path) -> Iterator[bytes]:
    for frame in frames:
        yield frame.write_ndjson().encode()


def _parquet(frames: Iterator[pl.DataFrame], scratch: Path) -> Iterator[bytes]:
    """Write row group by row group into a file without a name, then give that.

    Polars pushes into a file, and this is pulled; between them stands the disk, not the memory.
    """
    empty = next(frames)

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield empty
        yield from frames

    with tempfile.TemporaryFile(dir=scratch) as file:
        lazy = register_io_source(source, schema=empty.schema)
        try:
            lazy.sink_parquet(file, row_group_size=GROUP_ROWS)
        except pl.exceptions.ComputeError as error:
            raise PurchasesError(f"No Parquet can be written in {scratch}: {error}.") from error
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


_ENCODED: Final = {Format.CSV: _csv, Format.JSONL: _jsonl, Format.PARQUET: _parquet}
