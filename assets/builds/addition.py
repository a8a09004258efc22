"""The addition to the last build: which builds may be added to, and what is read for it.

It only reads, in the snapshot of the build that adds. How rows and events are added up is in
`assets.tables.addition`. Whatever is not certain here is computed from all events instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Integer

from assets.builds.columns import FILE_ROWS, scan_files, sum_files
from assets.builds.event_reader import (
    RowRange,
    StreamFigures,
    count_rows,
    read_rows,
    read_sound_files,
)
from assets.builds.writer import digest
from assets.tables.addition import add_events, related_values
from assets.tables.aggregate import EVENT_COLUMNS, add_local_columns
from assets.tables.models import TableBuild
from assets.tables.transforms import Transform
from streaming.store.column_store import ColumnStore
from streaming.store.connection import StoreConnection
from streaming.store.models import Table
from streaming.totals.queries import last_row

LEAST_EVENTS: Final = FILE_ROWS
"""A smaller day is one frame, which is computed from all its events in under a second."""
MOST_NEW_EVENTS: Final = 1_000_000
"""More new events than this are not held in memory at once: all are computed, in passes."""


@dataclass(frozen=True)
class DaySource:
    """A day in a snapshot of the store, and its column files; None reads the rows."""

    store: StoreConnection
    day: date
    zone: ZoneInfo
    column_store: ColumnStore | None


@dataclass(frozen=True)
class Addition:
    """The rows of each table with the new events, and the builds that they were added to."""

    rows: Mapping[str, pl.DataFrame]
    last_builds: Mapping[str, TableBuild]
    new_events: int


def add_to_builds(
    source: DaySource,
    transforms: Sequence[Transform],
    builds: Mapping[str, TableBuild],
    figures: StreamFigures,
) -> Addition | None:
    """Add the new events of a day to its builds by table; None if that is not certain to be right.

    `figures` are the stream's of the day. Raises what polars does if a column file is damaged.
    """
    last_builds = _find_last_builds(source, transforms, builds, figures)
    if not last_builds:
        return None
    tables = [
        table
        for transform, build in zip(transforms, last_builds, strict=True)
        if (table := _read_table(source, transform, build)) is not None
    ]
    new = _read_new(source, last_builds[0], figures)
    if len(tables) < len(transforms) or new is None:
        return None
    earlier = _read_related(source, last_builds[0], new)
    if earlier is None:
        return None
    rows = add_events(tables, new, earlier, transforms, source.day.isoformat())
    names = [transform.table for transform in transforms]
    return Addition(
        dict(zip(names, rows, strict=True)), dict(zip(names, last_builds, strict=True)), new.height
    )


def find_differences(
    addition: Addition, computed: Mapping[str, pl.DataFrame | Exception]
) -> dict[str, str]:
    """Return, by table, how its added rows differ from those that all events give, if they do."""
    return {
        table: _describe_difference(added, rows)
        for table, added in addition.rows.items()
        if isinstance(rows := computed[table], pl.DataFrame) and added.rows() != rows.rows()
    }


def _describe_difference(added: pl.DataFrame, computed: pl.DataFrame) -> str:
    before, after = set(added.rows()), set(computed.rows())
    lost, new = before - after, after - before
    return (
        f"{len(lost)} of {len(before)} rows that were added to are not among the {len(after)}"
        f" computed ones: {min(lost, default=None)} is now {min(new, default=None)}"
    )


def _find_last_builds(
    source: DaySource,
    transforms: Sequence[Transform],
    builds: Mapping[str, TableBuild],
    figures: StreamFigures,
) -> list[TableBuild]:
    """Return the builds in the order of their transforms; none if one may not be added to.

    All are of this code version and end at the same row, they have most of the events, and no
    correction touched the day since.
    """
    candidates = [
        build
        for transform in transforms
        for build in [builds.get(transform.table)]
        if build is not None and transform.additive and build.code_version == transform.code_version
    ]
    if len(candidates) < len(transforms) or len({(b.last_row, b.events) for b in candidates}) != 1:
        return []
    new = figures.events - candidates[0].events
    if candidates[0].last_row is None or not 0 <= new <= min(candidates[0].events, MOST_NEW_EVENTS):
        return []
    if candidates[0].events < LEAST_EVENTS:
        return []
    # They may differ: one table of the day may have been built again by force.
    last_correction = min(build.last_correction for build in candidates)
    # An event that was moved away from this day has it as the day before.
    is_corrected = source.store.execute(
        "SELECT 1 FROM correction WHERE id > ? AND ? IN (day, day_before) LIMIT 1",
        (last_correction, source.day.isoformat()),
    ).fetchone()
    return [] if is_corrected else candidates


def _read_table(source: DaySource, transform: Transform, build: TableBuild) -> pl.DataFrame | None:
    """Read the rows of a build; None if they are not those that were built."""
    names = ", ".join(f'"{name}"' for name in transform.columns)
    key = ", ".join(f'"{name}"' for name in transform.key)
    # In the order in which they were built, because the digest depends on it.
    rows = source.store.execute(
        f"SELECT {names} FROM {transform.table} WHERE day = ? ORDER BY {key}",  # noqa: S608 - own names
        (build.partition,),
    ).fetchall()
    # Rows that somebody changed by hand would be added to forever.
    if digest(transform, rows) != build.digest:
        return None
    # The rest of a day table's columns are texts, and the day is one in the database.
    schema = {
        column.name: pl.Int64 if isinstance(column.type, Integer) else pl.String
        for column in Table.metadata.tables[transform.table].columns
    }
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.with_columns(pl.col("day").str.to_date())


def _read_new(source: DaySource, build: TableBuild, figures: StreamFigures) -> pl.DataFrame | None:
    """Read the events of the day that the build lacks; None if they are not as many as counted."""
    rows = RowRange(source.day, build.last_row or 0, last_row(source.store), build.events)
    frames = read_rows(source.store, EVENT_COLUMNS, source.zone, rows)
    new = pl.concat(frames)
    # The consumer counted them too. If the two disagree, all events are computed.
    if new.height != figures.events - build.events:
        return None
    return add_local_columns(new, source.zone).collect()


def _read_related(
    source: DaySource, build: TableBuild, new: pl.DataFrame
) -> Iterator[pl.LazyFrame] | None:
    """Read the events of a build that are related to new ones; None if not all of them are there.

    Files that were sealed later may have newer events too, so rows are read in place of them.
    """
    if not new.height:
        return iter(())
    sound = []
    if source.column_store is not None:
        sound = read_sound_files(source.store, source.day, source.day).get(source.day, [])
    files = [file for file in sound if file.last_row <= (build.last_row or 0)]
    after = max((file.last_row for file in files), default=0)
    rows = RowRange(source.day, after, build.last_row or 0, build.events)
    if sum_files(files).events + count_rows(source.store, source.zone, rows) != build.events:
        return None
    related = {name: values.to_list() for name, values in related_values(new).items()}
    frames = read_rows(source.store, EVENT_COLUMNS, source.zone, rows, related)
    sealed = []
    if source.column_store is not None:
        sealed = scan_files(files, source.column_store, source.zone)
    return _local_frames(source, sealed, frames)


def _local_frames(
    source: DaySource, sealed: Sequence[pl.LazyFrame], frames: Iterator[pl.DataFrame]
) -> Iterator[pl.LazyFrame]:
    # The newest first: they have most of what the new events repeat, such as the hour's customers.
    for frame in frames:
        yield add_local_columns(frame, source.zone)
    yield from reversed(sealed)
