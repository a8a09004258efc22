"""The seal of a day: its stored events copied into column files, which the list then names.

Each day is read in one snapshot and named in one transaction. So a seal that is killed leaves files
that no row names, and the next one removes them. Nothing of Dagster is here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from assets.builds.columns import (
    FILE_COLUMNS,
    FILE_ROWS,
    FileSums,
    find_damage,
    group_files,
    read_files,
    sum_files,
    write_file,
)
from assets.builds.event_reader import read_ledger, read_rows_beyond
from streaming.settings import Settings
from streaming.store.column_files import (
    MARK_FILE,
    ColumnFile,
    read_column_files,
    replace_column_files,
    require_column_files,
)
from streaming.store.column_store import ColumnStore, has_column_files, open_column_store
from streaming.store.connection import StoreConnection, StoreReader, open_reader, write_store
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.kept_columns import remove_unlisted
from streaming.store.live_totals import count_corrections
from streaming.system.deadline import Deadline
from streaming.totals.queries import last_row

SMALL_FILES: Final = 16
"""Files of a day that are not full, before they are joined: each late event may bring one."""


@dataclass(frozen=True)
class SealResult:
    """How many days, files and events were sealed, and how many files were joined or removed.

    `problems` has a sentence for each day whose events contradict the ledger.
    """

    days: int = 0
    files: int = 0
    events: int = 0
    joined: int = 0
    removed: int = 0
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sealed:
    """The new files of a day, beside the files of `basis` or, if `is_joined`, in their place.

    `corrections` is how many there were when the events were read.
    """

    basis: Sequence[ColumnFile]
    new: Sequence[ColumnFile]
    corrections: int
    is_joined: bool = False
    problem: str | None = None


def seal_history(settings: Settings, today: date, limit_seconds: float = math.inf) -> SealResult:
    """Seal what no column file has: past days whole, and of `today` what fills a file.

    Then join the small files of a past day, and remove files that no row names. No further day is
    begun after the limit. Only who holds the write lock may do it. Raises what `open_reader` and
    `write_store` do, `Mismatch` if the deployment has other settings, and what `ColumnStore` and
    `require_column_files` do.
    """
    if not has_column_files(settings):
        return SealResult()
    limit = Deadline.after(limit_seconds)
    sealed: list[_Sealed] = []
    joined: list[_Sealed] = []
    problems: dict[str, str] = {}
    with closing(open_reader(settings)) as reader:
        with reader.snapshot() as store:
            require_column_files(store, open_column_store(settings))
            days = _list_days(store, read_column_files(store), settings, today)
        try:
            for day in days:
                if limit.is_over():
                    break
                result = _seal(reader, settings, day)
                if result.problem is not None:
                    problems[day.isoformat()] = result.problem
                if _record(settings, result):
                    sealed.append(result)
            with reader.snapshot() as store:
                listed = read_column_files(store)
            for files in _list_small(listed, today):
                result = _join(reader, settings, files)
                if _record(settings, result):
                    joined.append(result)
        finally:
            # Also after an error: each seal would fill a full disk more, and the stream would stop.
            removed = remove_unlisted(settings)
    new = [file for result in sealed for file in result.new]
    return SealResult(
        days=len(sealed),
        files=len(new),
        events=sum_files(new).events,
        joined=sum(len(result.basis) for result in joined),
        removed=removed,
        problems=problems,
    )


def needs_seal(settings: Settings, today: date, events: int = 1) -> bool:
    """Return whether a day lacks at least so many sealed events, or has many small files."""
    if not has_column_files(settings):
        return False
    with closing(open_reader(settings)) as reader, reader.snapshot() as store:
        listed = read_column_files(store)
        days = _list_days(store, listed, settings, today, events)
        return bool(days) or any(_list_small(listed, today))


def read_history(store: StoreConnection) -> dict[str, int]:
    """Return how many days, files, events and bytes the column files have."""
    listed = read_column_files(store)
    files = [file for of_day in listed.values() for file in of_day]
    return {
        "days": len(listed),
        "files": len(files),
        "events": sum_files(files).events,
        "bytes": sum(file.bytes for file in files),
        "archived_events": sum(file.archived or 0 for file in files),
    }


def _list_days(
    store: StoreConnection,
    listed: Mapping[date, Sequence[ColumnFile]],
    settings: Settings,
    today: date,
    least: int = 1,
) -> list[date]:
    """Return the days to seal, oldest first; a day with a problem is left as it is."""
    recorded = recorded_deployment(store)
    if recorded is not None:
        require_same_deployment(recorded, settings, settings.database)
    behind = {
        day: figures.events - sum_files(listed.get(day, ())).events
        for day, figures in read_ledger(store).items()
    }
    return [
        day
        for day, events in behind.items()
        if events >= (least if day < today else FILE_ROWS)
        and not any(file.problem for file in listed.get(day, ()))
    ]


def _seal(reader: StoreReader, settings: Settings, day: date) -> _Sealed:
    """Write the files of a day, of one moment; none if their sums are not those of the ledger."""
    column_store = open_column_store(settings)
    with reader.snapshot() as store:
        listed = read_column_files(store, day, day).get(day, [])
        corrections = count_corrections(store)
        # Up to the last row of all days: the next seal then looks behind it only.
        rows = (max((file.last_row for file in listed), default=0) + 1, last_row(store))
        frames = read_rows_beyond(store, FILE_COLUMNS, day, settings.zone, listed)
        new = [
            write_file(frame, column_store, day.isoformat(), rows)
            for frame in frames
            if not frame.is_empty()
        ]
        figures = read_ledger(store, day, day)[day]
    # The ledger was counted by the consumer as it stored the events: a second, independent count.
    counted = FileSums(figures.events, figures.items_sold, figures.net_revenue_micros)
    sums = sum_files([*listed, *new])
    if sums != counted:
        problem = f"{sums} is not the ledger's {counted}."
        return _Sealed(listed, [], corrections, problem=problem)
    return _Sealed(listed, new, corrections)


def _list_small(
    listed: Mapping[date, Sequence[ColumnFile]], today: date
) -> Iterator[list[ColumnFile]]:
    """Yield the files to join: those of a past day that are not full, if they are many."""
    for day, files in listed.items():
        # A joined file stands up to a later row than the last build of today, which could not be
        # added to: all of today would be computed, and the next build wait 20 times as long.
        if day >= today:
            continue
        # A file with whole rows stays what it is: its rows are brought back by its range.
        small = [file for file in files if file.events < FILE_ROWS and file.archived is None]
        if len(small) > SMALL_FILES and not any(file.problem for file in files):
            for group in group_files(small, FILE_ROWS):
                if len(group) > 1:
                    yield group


def _join(reader: StoreReader, settings: Settings, files: Sequence[ColumnFile]) -> _Sealed:
    """Write one file with the events of several; mark those that are damaged instead."""
    column_store = open_column_store(settings)
    with reader.snapshot() as store:
        corrections = count_corrections(store)
    damages = [(file, damage) for file in files if (damage := find_damage(file, column_store))]
    if damages:
        damaged = [file for file, _ in damages]
        return _Sealed(damaged, [], corrections, problem=damages[0][1])
    rows = (min(file.first_row for file in files), max(file.last_row for file in files))
    joined = write_file(read_files(files, column_store), column_store, files[0].day, rows)
    return _Sealed(files, [joined], corrections, is_joined=True)


def _record(settings: Settings, result: _Sealed) -> bool:
    """Name the new files, or mark the old ones; return whether the day is sealed.

    A day that was corrected since its events were read is left to the next seal.
    """
    column_store = open_column_store(settings)
    with write_store(settings) as store:
        if result.problem is not None:
            store.executemany(MARK_FILE, [(result.problem, file.name) for file in result.basis])
            return False
        # Read again under the write lock: from here nobody corrects an event before this commits.
        if count_corrections(store) != result.corrections or not _is_current(
            store, column_store, result
        ):
            return False
        replace_column_files(store, result.basis if result.is_joined else (), result.new)
    return bool(result.new)


def _is_current(store: StoreConnection, column_store: ColumnStore, result: _Sealed) -> bool:
    """Return whether the new files are there still, and the list is the one that they are for.

    An erasure removes what no row names, and `purchases db columns rebuild` forgets all. Another
    host whose seal lost its lock may have sealed the same day: its events must not count twice.
    """
    basis = {file.name for file in result.basis}
    listed = {
        file.name
        for day in {date.fromisoformat(file.day) for file in result.new}
        for file in read_column_files(store, day, day).get(day, ())
    }
    is_basis = basis <= listed if result.is_joined else basis == listed
    return is_basis and all(column_store.has(file.name) for file in result.new)
