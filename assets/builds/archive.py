"""The step of rows into the archive: written to files, compared with them, and only then deleted.

Each transaction leaves a day whole, so that whoever is killed goes on, and every reader sees the
same events as before. How they are read and brought back is in `streaming.store.archive`.
"""

import json
import math
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from assets.builds.columns import FileSums, sum_files, write_file
from assets.builds.event_reader import StreamFigures, read_ledger, read_whole_rows
from assets.builds.staleness import read_stale_partitions
from streaming.errors import PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.store.archive import (
    ROW,
    ROW_NAMES,
    Row,
    in_chunks,
    read_archived_file,
    return_days,
    row_tuples,
)
from streaming.store.column_files import (
    ColumnFile,
    forget_after,
    read_column_files,
    replace_column_files,
)
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection, StoreReader, open_reader, write_store
from streaming.store.deployment import recorded_deployment, require_same_deployment
from streaming.store.live_totals import count_corrections
from streaming.store.rows import content_digest, day_cutter
from streaming.store.sql_tables import code_versions
from streaming.system.deadline import Deadline
from streaming.totals.queries import last_row
from streaming.units import EPOCH

ROWS: Final = (
    f"SELECT rowid, {ROW_NAMES} FROM analytics_event"  # noqa: S608 - own names
    # Rows of other days lie between, and may be many.
    " WHERE rowid IN (SELECT value FROM json_each(?)) ORDER BY rowid"
)


@dataclass(frozen=True)
class ArchiveResult:
    """How many days went into the archive, with how many events.

    `problems` has a sentence for each day whose rows are not those of its files; it stays rows.
    """

    days: int = 0
    events: int = 0
    problems: dict[str, str] = field(default_factory=dict)


class _Changed(Exception):
    """The day was changed meanwhile: the next run takes it."""


def archive_history(
    settings: Settings, today: date, limit_seconds: float = math.inf
) -> ArchiveResult:
    """Put the rows of the days into the archive that are older than `PURCHASES_KEEP_EVENTS`.

    No further day is begun after the limit. Only who holds the write lock may do it. Raises what
    `seal_history` does.
    """
    if settings.keep_events is None:
        return ArchiveResult()
    limit, days, events = Deadline.after(limit_seconds), 0, 0
    problems: dict[str, str] = {}
    before = today - timedelta(settings.keep_events)
    with closing(open_reader(settings)) as reader:
        for day in list_days_to_archive(reader, settings, before):
            if limit.is_over():
                break
            try:
                events += _archive_day(reader, settings, day)
                days += 1
            except _Changed:
                continue
            # Waiting helps: nothing is wrong with the day.
            except Unavailable:
                raise
            except PurchasesError as error:
                problems[day.isoformat()] = str(error)
    return ArchiveResult(days, events, problems)


def needs_archive(settings: Settings, today: date) -> bool:
    """Return whether a day has rows that are to go."""
    if settings.keep_events is None:
        return False
    with closing(open_reader(settings)) as reader:
        before = today - timedelta(settings.keep_events)
        return bool(list_days_to_archive(reader, settings, before))


def list_days_to_archive(reader: StoreReader, settings: Settings, before: date) -> list[date]:
    """Return the days before a day that have rows, oldest first.

    The newest day stays, and so does the day of the row that was stored last, see `_delete_rows`.
    A day stays too while a `.sql` table is to be built from its rows, see `_list_unbuilt`.
    """
    with reader.snapshot() as store:
        recorded = recorded_deployment(store)
        if recorded is not None:
            require_same_deployment(recorded, settings, settings.database)
        ledger = {day: each for day, each in read_ledger(store).items() if each.events}
        last = store.execute(
            "SELECT event_time FROM analytics_event ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
        if not ledger or last is None:
            return []
        kept = {max(ledger), date.fromisoformat(day_cutter(settings.zone)(last[0]))}
        kept |= _list_unbuilt(store, settings)
        files = read_column_files(store)
    return [
        day
        for day, figures in ledger.items()
        if day < before
        and day not in kept
        and figures.events != sum(file.archived or 0 for file in files.get(day, ()))
        and not any(file.problem for file in files.get(day, ()))
    ]


def _list_unbuilt(store: StoreConnection, settings: Settings) -> set[date]:
    """Return the days that a `.sql` table is still to be built of.

    A table that fails again and again keeps no rows, nor does a day that has no partition.
    """
    if not (sql := code_versions(settings)):
        return set()
    unbuilt = {
        date.fromisoformat(stale.partition)
        for stale in read_stale_partitions(store, sql)
        if stale.table in sql and not stale.has_failed_often
    }
    return {day for day in unbuilt if day >= settings.history_start}


def _archive_day(reader: StoreReader, settings: Settings, day: date) -> int:
    """Put a day into the archive; return how many events went.

    Raises `_Changed`, and `PurchasesError` if the rows contradict the ledger.
    """
    with reader.snapshot() as store:
        # Since the days were listed, an erasure may have deleted figures of this one.
        if day in _list_unbuilt(store, settings):
            raise _Changed
    _write_files(reader, settings, day)
    with reader.snapshot() as store:
        listed = read_column_files(store, day, day).get(day, ())
    # By row: wherever this ends, what is archived are the first rows of the day, and every reader
    # takes the rows after them.
    files = sorted(
        (file for file in listed if file.archived is not None), key=lambda file: file.last_row
    )
    if not files:
        raise _Changed
    return sum(_delete_rows(settings, file) for file in files if file.archived != file.events)


def _write_files(reader: StoreReader, settings: Settings, day: date) -> None:
    """Name files with the whole rows of a day, in place of those that have the purchases only."""
    column_store = open_column_store(settings)
    new: list[ColumnFile] = []
    try:
        with reader.snapshot() as store:
            listed = read_column_files(store, day, day).get(day, [])
            corrections = count_corrections(store)
            whole = [file for file in listed if file.archived is not None]
            figures = read_ledger(store, day, day)[day]
            after = max((file.last_row for file in whole), default=0)
            for frame in read_whole_rows(store, day, settings.zone, after):
                if frame.is_empty():
                    continue
                # A file stands up to its last row: those of the next one come after it.
                rows = (after + 1, int(frame[ROW][-1]))
                new.append(write_file(frame, column_store, day.isoformat(), rows))
                after = rows[1]
        _require_sums(day, sum_files([*whole, *new]), figures)
        with write_store(settings) as store:
            now = read_column_files(store, day, day).get(day, [])
            # An erasure removes what no row names, also a file that was just written.
            are_there = all(column_store.has(file.name) for file in new)
            _require_same(
                ({file.name for file in now}, count_corrections(store), are_there),
                ({file.name for file in listed}, corrections, True),
            )
            replace_column_files(store, [file for file in listed if file.archived is None], new)
    except Exception:
        # Or each run would leave files, which a seal keeps because a backup may name them.
        column_store.remove({file.name for file in new})
        raise


def _require_same(now: object, before: object) -> None:
    if now != before:
        raise _Changed


def _require_sums(day: date, counted: FileSums, figures: StreamFigures) -> None:
    """Raise `PurchasesError` unless the files have what the ledger says."""
    if counted != FileSums(figures.events, figures.items_sold, figures.net_revenue_micros):
        raise PurchasesError(
            f"{day} has {counted.events:,} events in rows and column files, and the ledger"
            f" {figures.events:,}, or other sums: run `purchases verify`."
        )


def _delete_rows(settings: Settings, file: ColumnFile) -> int:
    """Delete the rows of a file, each compared with it before; return how many went.

    Raises `_Changed` before the row that was stored last, because SQLite would give its number
    again, and for a row that differs: its day is rows again.
    """
    frame = read_archived_file(file, open_column_store(settings), settings.database_path)
    rows, deleted = row_tuples(frame), 0
    for chunk in in_chunks(rows):
        with write_store(settings) as store:
            there = _rows_there(store, chunk)
            numbers = {row[0] for row in there}
            if last_row(store) in numbers:
                raise _Changed
            # Some may have gone before this process was killed.
            differing = there != [row for row in chunk if row[0] in numbers]
            if not differing:
                _delete(store, file, there)
        if differing:
            # Another record of a purchase took the place of the first while the files were written.
            return_days(settings, {file.day})
            with write_store(settings) as store:
                forget_after(store, file.day, 0)
            raise _Changed
        deleted += len(there)
    return deleted


def _rows_there(store: StoreConnection, chunk: list[Row]) -> list[Row]:
    return store.execute(ROWS, (json.dumps([row[0] for row in chunk]),)).fetchall()


def _delete(store: StoreConnection, file: ColumnFile, rows: list[Row]) -> None:
    """Delete rows and keep their ids, in the order of the index."""
    day = (date.fromisoformat(file.day) - EPOCH.date()).days
    updated = store.execute(
        "UPDATE column_file SET archived = archived + ? WHERE name = ?", (len(rows), file.name)
    )
    if updated.rowcount != 1:
        raise _Changed
    ordered = sorted((row[1:] for row in rows), key=lambda row: row[0])
    store.executemany(
        "INSERT INTO archived_event (event_id, epoch_day, content, source_timestamp,"
        " source_partition, source_offset, source_topic) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(row[0], day, content_digest(row), row[16], row[14], row[15], row[13]) for row in ordered],
    )
    store.executemany(
        "DELETE FROM analytics_event WHERE event_id = ?", [(row[0],) for row in ordered]
    )
