"""The computation of a partition: in one snapshot, its rows of each table that is not current.

New events are added to the last build, or all are computed. It only reads; how rows are
written, and when a partition is computed again, is in `builder`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from assets.builds.addition import Addition, DaySource, add_to_builds, find_differences
from assets.builds.column_proof import find_problems
from assets.builds.event_reader import (
    NO_FIGURES,
    EventRange,
    StreamFigures,
    count_customers,
    read_events,
)
from assets.builds.spool import spool
from assets.builds.sql_days import compute_sql_tables, list_kept
from assets.builds.writer import BuildBasis, Rows, read_builds
from assets.tables.aggregate import add_local_columns
from assets.tables.models import WHOLE, TableBuild
from assets.tables.sql_transform import AnyTransform
from assets.tables.transforms import Transform, compute, compute_days, select_partition
from streaming.errors import PurchasesError, Unavailable
from streaming.store.column_files import read_column_files
from streaming.store.column_store import ColumnStore
from streaming.store.connection import StoreConnection
from streaming.store.erasure import erasure_ids
from streaming.store.live_totals import count_corrections
from streaming.system.logs import get_logger
from streaming.totals.queries import last_row


@dataclass(frozen=True)
class BuildContext:
    """Where a run builds: the zone of its days, and its directories.

    `spool` has frames of a large partition. `column_store` has column files; None reads the rows.
    """

    run_id: str
    zone: ZoneInfo
    spool: Path
    column_store: ColumnStore | None


@dataclass(frozen=True)
class BuildRequest:
    """A partition to build of some tables, since `started` (s of the process's CPU time).

    With `force` also what is current is computed. `not_added` says why nothing is to be added: it
    was tried before, and went wrong.
    """

    partition: str
    transforms: Sequence[AnyTransform]
    force: bool
    started: float = 0.0
    not_added: str | None = None

    @property
    def day(self) -> date | None:
        """The partition's day; None for a whole table."""
        return None if self.partition == WHOLE else date.fromisoformat(self.partition)


@dataclass(frozen=True)
class Computation:
    """The rows of the tables that were not current, or the error of their computation, by table.

    `bases` says what they were made from.
    """

    day: date | None
    rows: Mapping[str, Rows | Exception]
    bases: Mapping[str, BuildBasis]
    builds: Mapping[str, TableBuild]
    figures: StreamFigures
    is_from_columns: bool


class ColumnsDiffer(Exception):
    """Column files that were read are damaged or contradict the ledger; their problems by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class ColumnsUnavailable(Exception):
    """The bucket of the column files does not answer."""


class NotAdded(Exception):
    """New events could not be added, or the sum failed its audit: all events are to be computed."""


@dataclass(frozen=True)
class _Reading:
    """What is read of a partition in the snapshot; `chosen` are the tables to compute."""

    store: StoreConnection
    context: BuildContext
    request: BuildRequest
    events: EventRange
    figures: StreamFigures
    builds: Mapping[str, TableBuild]
    chosen: Sequence[AnyTransform]


class _StoreEnd(NamedTuple):
    """Where the store ends in the snapshot: its erasures, last row and last correction."""

    erasures: int
    last_row: int
    last_correction: int


def compute_piece(
    store: StoreConnection, context: BuildContext, requests: Sequence[BuildRequest]
) -> list[Computation]:
    """Compute the tables of a piece of `group_days` in a snapshot, from one reading of its events.

    The tables of a partition are of exactly its version then. With `force`, added rows are compared
    with computed ones. Raises `ColumnsDiffer`, `ColumnsUnavailable`, `NotAdded` and `Unavailable`.
    """
    if len(requests) > 1:
        try:
            return _compute_together(store, context, requests)
        except Exception as error:
            # The day that is at fault fails alone. The message may have a value of an event.
            days, kind = [request.partition for request in requests], type(error).__name__
            get_logger().warning("days_computed_alone", days=days, error=kind)
    return [_compute_alone(store, context, request) for request in requests]


def _compute_together(
    store: StoreConnection, context: BuildContext, requests: Sequence[BuildRequest]
) -> list[Computation]:
    """Compute small neighbouring days by one aggregation; nothing is added to a small day."""
    readings = _read(store, context, requests)
    computed: Mapping[str, Mapping[str, pl.DataFrame]] = {}
    transforms = list(dict.fromkeys(chain.from_iterable(map(_choose_own, readings))))
    if transforms:
        events = readings[0].events
        rest = (add_local_columns(frame, context.zone) for frame in events.frames)
        frame = pl.concat([*events.sealed, *rest])
        computed = compute_days([frame], transforms, [request.partition for request in requests])
    end = _read_end(store)
    pairs = [(each, computed.get(each.request.partition, {})) for each in readings]
    return [
        _finish(each, {one.table: rows[one.table] for one in _choose_own(each)}, end)
        for each, rows in pairs
    ]


def _compute_alone(
    store: StoreConnection, context: BuildContext, request: BuildRequest
) -> Computation:
    """Compute a partition of any size, or add new events to its builds."""
    [reading] = _read(store, context, [request])
    own = _choose_own(reading)
    addition = _add(reading, own)
    rows: dict[str, Rows | Exception] = {}
    differences: Mapping[str, str] = {}
    if addition is not None and not request.force:
        rows |= addition.rows
    elif own:
        computed = _compute_rows(reading, own)
        rows |= computed
        if addition is not None:
            differences = find_differences(addition, computed)
            addition = None
        elif request.not_added is not None:
            differences = dict.fromkeys(rows, request.not_added)
    return _finish(reading, rows, _read_end(store), addition, differences)


def _read(
    store: StoreConnection, context: BuildContext, requests: Sequence[BuildRequest]
) -> list[_Reading]:
    """Read what a whole table is built from, or one or more days; they share their events."""
    days = [request.day for request in requests if request.day is not None]
    first, last = min(days, default=None), max(days, default=None)
    events = read_events(store, first, last, context.zone, context.column_store)
    readings = []
    for request in requests:
        day = request.day
        figures = events.total if day is None else events.days.get(day, NO_FIGURES)
        builds = read_builds(store, request.partition, request.transforms)
        kept = list_kept(store, request.partition, builds)
        chosen = [
            transform
            for transform in request.transforms
            if transform.table not in kept
            and (request.force or not _is_current(transform, figures, builds))
        ]
        readings.append(_Reading(store, context, request, events, figures, builds, chosen))
    return readings


def _choose_own(reading: _Reading) -> list[Transform]:
    """Return the tables that are computed by polars."""
    return [transform for transform in reading.chosen if isinstance(transform, Transform)]


def _read_end(store: StoreConnection) -> _StoreEnd:
    return _StoreEnd(len(erasure_ids(store)), last_row(store), count_corrections(store))


def _finish(
    reading: _Reading,
    rows: Mapping[str, Rows | Exception],
    end: _StoreEnd,
    addition: Addition | None = None,
    differences: Mapping[str, str] = MappingProxyType({}),
) -> Computation:
    """Return the computation of a partition, with the tables of files."""
    partition, zone = reading.request.partition, reading.context.zone
    sql = compute_sql_tables(reading.store, reading.chosen, partition, reading.events, zone)
    computed: dict[str, Rows | Exception] = {**rows, **sql}
    bases = {}
    for transform in reading.chosen:
        table = transform.table
        try:
            bases[table] = _basis(reading, transform, addition, differences.get(table), end)
        # Waiting helps, as when a day became rows again meanwhile: no table is at fault.
        except Unavailable:
            raise
        except PurchasesError as error:
            # A file that is the only copy of events, which the tables of customers are audited by.
            computed[table] = error
    return Computation(
        reading.request.day,
        computed,
        bases,
        reading.builds,
        reading.figures,
        bool(reading.events.files),
    )


def require_sound_files(store: StoreConnection, context: BuildContext, day: date | None) -> None:
    """Raise `Columns…` if column files may be why a partition failed; None is all days."""
    if (column_store := context.column_store) is None:
        return
    try:
        problems = find_problems(store, column_store, context.zone, (day, day), contents=True)
    except Unavailable as error:
        raise ColumnsUnavailable from error
    listed = read_column_files(store, day, day)
    listed_problems = {file.name for files in listed.values() for file in files if file.problem}
    if problems.keys() - listed_problems:
        raise ColumnsDiffer(problems)


def _add(reading: _Reading, transforms: Sequence[Transform]) -> Addition | None:
    """Add new events to the builds of a day; with `force` only to compare what was added to."""
    request, builds = reading.request, reading.builds
    if not transforms or request.day is None or request.not_added is not None:
        return None
    if request.force and not any(build.added_events for build in builds.values()):
        return None
    context = reading.context
    source = DaySource(reading.store, request.day, context.zone, context.column_store)
    try:
        return add_to_builds(source, transforms, builds, reading.figures)
    except Exception as error:
        require_sound_files(reading.store, context, request.day)
        # Whatever it is, all events can still be computed; the check says that they had to be.
        raise NotAdded(f"New events could not be added: {error}") from error


def _compute_rows(
    reading: _Reading, transforms: Sequence[Transform]
) -> dict[str, pl.DataFrame | Exception]:
    """Compute the rows of each table from all events of the partition."""
    tables = [transform.table for transform in transforms]
    partition, context, events = reading.request.partition, reading.context, reading.events
    try:
        selected = (select_partition(frame, partition, context.zone) for frame in events.frames)
        with spool(selected, context.spool) as parts:
            frames = compute([*events.sealed, *parts], transforms, partition)
    except Exception as error:
        if events.files:
            require_sound_files(reading.store, context, reading.request.day)
        # Whatever a transform raises is this partition's failure, not the run's.
        return dict.fromkeys(tables, error)
    return dict(zip(tables, frames, strict=True))


def _basis(
    reading: _Reading,
    transform: AnyTransform,
    addition: Addition | None,
    difference: str | None,
    end: _StoreEnd,
) -> BuildBasis:
    store, figures = reading.store, reading.figures
    added_to = addition.last_builds.get(transform.table) if addition else None
    return BuildBasis(
        partition=reading.request.partition,
        figures=figures,
        # The stream has no sums without guests: they are counted here, in the same snapshot.
        expected=figures
        if transform.guests
        else count_customers(store, reading.context.column_store),
        stream_offsets=reading.events.stream_offsets,
        run_id=reading.context.run_id,
        started=reading.request.started,
        erasures=end.erasures,
        last_row=end.last_row,
        last_correction=end.last_correction,
        added_to=added_to,
        new_events=addition.new_events if addition and added_to else 0,
        difference=difference,
    )


def _is_current(
    transform: AnyTransform, figures: StreamFigures, builds: Mapping[str, TableBuild]
) -> bool:
    build = builds.get(transform.table)
    if build is None:
        return False
    return (build.version, build.code_version) == (figures.version, transform.code_version)
