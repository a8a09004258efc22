"""Column files: events of one day as Parquet, written once and never changed.

Which files there are is in `streaming.store.column_files`, and when they are written in `seal`.
"""

import hashlib
import io
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.tables.aggregate import EVENT_COLUMNS, add_grain_columns
from assets.tables.calendar import with_local_time_between
from streaming.store.archive import ROW
from streaming.store.column_files import ColumnFile
from streaming.store.column_store import ARCHIVE_END, ColumnStore
from streaming.units import split_sum, whole_sum

FILE_ROWS: Final = 250_000
"""Events of one file, which is one row group: as many as a build holds in memory at once."""
FILE_COLUMNS: Final = {
    "event_id": pl.String,
    "event_time": pl.Int64,
    "kind": pl.String,
    "user": pl.String,
    "item": pl.String,
    "quantity": pl.Int64,
    "unit_price_micros": pl.Int64,
    "amount_micros": pl.Int64,
    "currency": pl.String,
    "order_id": pl.String,
    "description": pl.String,
    "country": pl.String,
}
"""The columns of a file, by the names of `analytics_event`: the purchase, and nothing of the record
that brought it. Another record of the same purchase may replace that without a correction."""
ROW_COLUMNS: Final = {
    ROW: pl.Int64,
    "processed_at": pl.Int64,
    "source_topic": pl.Int64,
    "source_partition": pl.Int64,
    "source_offset": pl.Int64,
    "source_timestamp": pl.Int64,
    "stream_partition": pl.Int64,
    "stream_offset": pl.Int64,
}
"""What a row has beside them; only a file that is the only copy of events needs it."""


@dataclass(frozen=True)
class FileSums:
    """The sums of events in column files, in the units of the ledger: money in micros."""

    events: int
    items_sold: int
    net_revenue_micros: int

    def add_events(self, events: pl.DataFrame) -> "FileSums":
        """Return the sums with those of events."""
        # A few thousand of the largest amounts are beyond 64 bits, and polars would wrap their sum.
        net = events["amount_micros"].cast(pl.Int128).sum()
        return FileSums(
            self.events + events.height,
            self.items_sold + int(events["quantity"].sum()),
            self.net_revenue_micros + int(net),
        )


def sum_files(files: Iterable[ColumnFile]) -> FileSums:
    """Add up what the list says of files."""
    listed = list(files)
    return FileSums(
        sum(file.events for file in listed),
        sum(file.items_sold for file in listed),
        sum(whole_sum(file.net_revenue_trillions, file.net_revenue_micros) for file in listed),
    )


def write_file(
    events: pl.DataFrame, column_store: ColumnStore, day: str, rows: tuple[int, int]
) -> ColumnFile:
    """Write events of a day, at least one, as a new file that no row of the list names yet.

    `rows` are the first and the last number of a row up to which the file stands. Of whole rows,
    which have `ROW_COLUMNS` too, the file may become the only copy. The file is on the disk when
    this returns. Raises what `ColumnStore` does.
    """
    is_whole = ROW in events.columns
    name = f"day={day}/{uuid.uuid4().hex}{ARCHIVE_END if is_whole else '.parquet'}"
    written = io.BytesIO()
    events.sort("event_time").write_parquet(
        written, compression="zstd", compression_level=3, row_group_size=FILE_ROWS
    )
    # The digest is of these bytes in memory: one of the stored file would vouch for a bad write
    # too.
    content = written.getvalue()
    column_store.write(name, content)
    sums = FileSums(0, 0, 0).add_events(events)
    trillions, micros = split_sum(sums.net_revenue_micros)
    return ColumnFile(
        name=name,
        day=day,
        first_row=rows[0],
        last_row=rows[1],
        events=sums.events,
        items_sold=sums.items_sold,
        net_revenue_trillions=trillions,
        net_revenue_micros=micros,
        first_event=_int(events["event_time"].min()),
        last_event=_int(events["event_time"].max()),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        sealed_at=time.time_ns() // 1000,
        archived=0 if is_whole else None,
    )


def read_files(files: Iterable[ColumnFile], column_store: ColumnStore) -> pl.DataFrame:
    """Read all columns of files."""
    return _scan(list(files), column_store).select(*FILE_COLUMNS).collect()


def scan_files(
    files: Iterable[ColumnFile], column_store: ColumnStore, zone: ZoneInfo
) -> list[pl.LazyFrame]:
    """Plan to read files, in frames of at most `FILE_ROWS` with the columns of `add_local_columns`.

    A frame can be read more than once; a file that is gone or damaged is an error only then.
    """
    return [
        add_grain_columns(
            with_local_time_between(
                _scan(together, column_store).select(*EVENT_COLUMNS),
                zone,
                min(file.first_event for file in together),
                max(file.last_event for file in together),
            )
        )
        for together in group_files(files, FILE_ROWS)
    ]


def group_files(files: Iterable[ColumnFile], events: int) -> Iterator[list[ColumnFile]]:
    """Group files in their order, so that each group has no more `events`, or is one file."""
    group: list[ColumnFile] = []
    for file in files:
        if group and sum(each.events for each in group) + file.events > events:
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def find_loss(file: ColumnFile, sizes: Mapping[str, int]) -> str | None:
    """Return that a file is not there or not as long as it was, else None."""
    size = sizes.get(file.name)
    if size is None:
        return "it cannot be read (No such file or directory)"
    return None if size == file.bytes else f"it has {size} bytes, not {file.bytes}"


def find_damage(file: ColumnFile, column_store: ColumnStore) -> str | None:
    """Return what is wrong with a file, None if it holds the bytes that were sealed.

    Raises `Unavailable` if nobody can tell now.
    """
    try:
        sha256 = hashlib.sha256(column_store.read(file.name)).hexdigest()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if sha256 == file.sha256 else "its content was changed"


def _scan(files: Sequence[ColumnFile], column_store: ColumnStore) -> pl.LazyFrame:
    # A path is taken as it is: a home may have any characters in its name.
    return pl.scan_parquet(
        column_store.locate(file.name for file in files),
        glob=False,
        hive_partitioning=False,
        # A file with whole rows has more.
        schema=FILE_COLUMNS,
        extra_columns="ignore",
        low_memory=True,
        **column_store.scan_options,
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a time.")
    return value
