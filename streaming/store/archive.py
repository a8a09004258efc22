"""The archive: events whose rows are only in column files, read and brought back.

Whoever reads events of any day calls `show_archived` first: then `analytics_event` has them too in
that snapshot. Whoever changes stored events calls `return_days` first: then they are rows again.
Rows go into the archive in `assets.builds.archive`, and nowhere else.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from streaming.errors import PurchasesError, Unavailable
from streaming.events.identifiers import pack_event_id
from streaming.settings import Settings
from streaming.store.column_files import LIST_COLUMNS, ColumnFile, DaysArchived, forget_after
from streaming.store.column_store import ColumnStore, open_column_store
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.sqlite import connect, store_errors

if TYPE_CHECKING:
    import polars as pl

Span = tuple[int, int]
"""From a time to before another, in µs."""
ALWAYS: Final = (-(2**63), 2**63 - 1)
ROW: Final = "row"
"""The column of a file that has the number of the row."""
EVENT_ROW: Final = (
    "event_id", "event_time", "kind", "user", "item", "quantity", "unit_price_micros",
    "amount_micros", "currency", "order_id", "description", "country", "processed_at",
    "source_topic", "source_partition", "source_offset", "source_timestamp", "stream_partition",
    "stream_offset",
)  # fmt: skip
"""The columns of a row, in the order of `analytics_event`."""
CHUNK_ROWS: Final = 10_000
"""Rows deleted or returned in one transaction: others wait to write meanwhile."""
ROW_NAMES: Final = ", ".join(f'"{column}"' for column in EVENT_ROW)
_MARKS: Final = ", ".join("?" * (1 + len(EVENT_ROW)))
# A temporary view hides the table of its name, so that statements of readers stay as they are.
_SHOW: Final = (
    f"CREATE TEMP TABLE archived_row (rowid_ INTEGER PRIMARY KEY, {ROW_NAMES})",
    "CREATE INDEX temp.ix_archived_row_event_time ON archived_row (event_time)",
    "CREATE INDEX temp.ix_archived_row_event_id ON archived_row (event_id)",
    (
        f"CREATE TEMP VIEW analytics_event AS SELECT rowid AS rowid, {ROW_NAMES}"  # noqa: S608
        f" FROM main.analytics_event UNION ALL SELECT rowid_, {ROW_NAMES} FROM temp.archived_row"
    ),
)

Result = TypeVar("Result")
Row = tuple[Any, ...]
"""The number of a row, and its values in the order of `EVENT_ROW`."""


def list_archive(
    store: StoreConnection, span: Span = ALWAYS, days: Collection[str] | None = None
) -> list[ColumnFile]:
    """Read the files that are the only copy of some event, in the order of days and rows."""
    rows = store.execute(
        f"SELECT {LIST_COLUMNS} FROM column_file WHERE archived > 0"  # noqa: S608 - own names
        " AND last_event >= ? AND first_event < ? ORDER BY day, last_row",
        span,
    )
    files = [ColumnFile(*row) for row in rows]
    return files if days is None else [file for file in files if file.day in days]


def read_archived_file(
    file: ColumnFile, column_store: ColumnStore, database: Path
) -> "pl.DataFrame":
    """Read the whole rows of a file, in the order of their numbers.

    Raises `PurchasesError` if it is not as it was written, `Unavailable` if it is gone because its
    day was brought back since it was listed, and what `ColumnStore` does else.
    """
    import polars as pl

    try:
        content = column_store.read(file.name)
        is_sound = hashlib.sha256(content).hexdigest() == file.sha256
    except OSError as error:
        if not _is_listed(file, database):
            raise Unavailable(
                f"Events of {file.day} became rows again meanwhile: try again."
            ) from error
        raise _lost_file_error(file, error.strerror or str(error)) from error
    if not is_sound:
        raise _lost_file_error(file, "its content was changed")
    rows = pl.read_parquet(BytesIO(content)).sort(ROW)
    retired = json.loads(file.retired or "[]")
    partition = pl.col("stream_partition")
    # What `offsets.RETIRE_EVENTS` did to rows since.
    moved = pl.when(partition.is_in(retired)).then(-1 - partition).otherwise(partition)
    return rows.with_columns(stream_partition=moved) if retired else rows


def read_archived(
    store: StoreConnection, file: ColumnFile, column_store: ColumnStore
) -> "pl.DataFrame":
    """Read the events of a file that are in no row; also while its rows are being deleted."""
    import polars as pl

    # A snapshot may be older than the return of the day, so the list is read again apart from it.
    database = Path(store.execute("PRAGMA main.database_list").fetchone()[2])
    rows = read_archived_file(file, column_store, database)
    if file.archived == file.events:
        return rows
    there = store.execute(
        "SELECT rowid FROM main.analytics_event WHERE rowid IN (SELECT value FROM json_each(?))",
        (json.dumps(rows[ROW].to_list()),),
    )
    return rows.filter(~pl.col(ROW).is_in([number for (number,) in there]))


def row_tuples(rows: "pl.DataFrame") -> list[Row]:
    """Return rows of a file as those of the table, with their numbers."""
    return [
        (number, pack_event_id(event_id), *rest)
        for number, event_id, *rest in rows.select(ROW, *EVENT_ROW).iter_rows()
    ]


def in_chunks(rows: list[Row]) -> Iterator[list[Row]]:
    """Cut rows, in their order, into those of one transaction each."""
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


def show_archived(
    store: StoreConnection,
    column_store: ColumnStore,
    span: Span = ALWAYS,
    names: Mapping[str, Collection[str]] | None = None,
) -> bool:
    """Let `analytics_event` have archived events too, until the snapshot ends; return whether.

    Those of a span, or those that have one of the `names` of a column in it. They are copied into a
    temporary file, so choose few; called again, others take their place. Raises what
    `read_archived_file` does.
    """
    if not count_archived(store):
        return False
    is_shown = is_archive_shown(store)
    if is_shown:
        store.execute("DELETE FROM temp.archived_row")
    listed = list_archive(store, span)
    if not listed:
        return is_shown
    if not is_shown:
        for statement in _SHOW:
            store.execute(statement)
        # A view of the database reads its tables only.
        (readable,) = store.execute(
            "SELECT sql FROM main.sqlite_master WHERE name = 'analytics_event_readable'"
        ).fetchone()
        store.execute(readable.replace("CREATE VIEW", "CREATE TEMP VIEW", 1))
    for file in listed:
        chosen = read_archived(store, file, column_store).filter(*_conditions(span, names or {}))
        store.executemany(f"INSERT INTO temp.archived_row VALUES ({_MARKS})", row_tuples(chosen))  # noqa: S608 - marks
    return True


def show_archived_id(store: StoreConnection, column_store: ColumnStore, event_id: str) -> None:
    """Do what `show_archived` does, with the event of an id. Raises what that does."""
    if not count_archived(store):
        return
    # `archived_event` knows only the day of an event, so all files of that day are searched.
    span = store.execute(
        "SELECT min(f.first_event), max(f.last_event) + 1 FROM archived_event a JOIN column_file f"
        " ON f.day = date(a.epoch_day * 86400, 'unixepoch') AND f.archived > 0"
        " WHERE a.event_id = ?",
        (pack_event_id(event_id),),
    ).fetchone()
    if span[0] is not None:
        show_archived(store, column_store, span, {"event_id": {event_id}})


def is_archive_shown(store: StoreConnection) -> bool:
    """Return whether `analytics_event` is the view that `show_archived` made."""
    # Only a file has an archive.
    if not isinstance(store, sqlite3.Connection):
        return False
    statement = "SELECT EXISTS (SELECT 1 FROM temp.sqlite_master WHERE name = 'analytics_event')"
    return bool(store.execute(statement).fetchone()[0])


def _conditions(span: Span, names: Mapping[str, Collection[str]]) -> "list[pl.Expr]":
    import polars as pl

    time = pl.col("event_time")
    within = [] if span == ALWAYS else [time >= span[0], time < span[1]]
    of_names = [pl.col(column).is_in(list(values)) for column, values in names.items()]
    return [*within, pl.any_horizontal(of_names)] if of_names else within


def count_archived(store: StoreConnection) -> int:
    """Count the events that are in column files only."""
    row = store.execute("SELECT coalesce(sum(archived), 0) FROM column_file").fetchone()
    return int(row[0])


def return_days(
    settings: Settings,
    days: Collection[str] | None = None,
    on_chunk: Callable[[], object] = lambda: None,
) -> int:
    """Make rows of the archived events of days, all if None, again; return how many they are.

    The last rows of a day first, in transactions of `CHUNK_ROWS`: a day is whole at each moment,
    and who is killed goes on. `on_chunk` is called after each. Raises what `read_archived_file` and
    `write_store` do, and `PurchasesError` if a file lacks events that it is the only copy of; what
    came back before the error are rows.
    """
    column_store, returned = open_column_store(settings), 0
    last: tuple[ColumnFile, int] | None = None
    while True:
        # Again after each file, because others archive and return meanwhile.
        with read_store(settings) as store:
            listed = list_archive(store, days=days)
        if not listed:
            return returned
        file = listed[-1]
        # The same file again, and no row came of it: file and `archived_event` contradict each
        # other.
        if last == (file, returned):
            raise _differing_rows_error(file)
        last = (file, returned)
        frame = read_archived_file(file, column_store, settings.database_path)
        for chunk in in_chunks(row_tuples(frame)):
            with write_store(settings) as store:
                # Somebody else returned it, or archived a later file: the list is read again.
                if not _is_next(store, file):
                    break
                returned += _return_rows(store, file, chunk)
            on_chunk()


def with_rows(
    settings: Settings,
    change: Callable[[], Result],
    bring_back: Callable[[Settings, Collection[str]], int] = return_days,
) -> Result:
    """Return what a change of stored events returns, once the days that it changes are rows.

    `bring_back` does what `return_days` does. Raises what that and the change do, and
    `PurchasesError` if `archived_event` names a day that has no events in column files.
    """
    unreturned: set[str] | None = None
    while True:
        try:
            return change()
        except DaysArchived as error:
            days = set(error.days)
            # Somebody else may return them at the same time, so only the second time is wrong.
            if bring_back(settings, days):
                unreturned = None
            elif unreturned == days:
                raise PurchasesError(
                    f"archived_event has events of {', '.join(sorted(days))}, of which no column"
                    " file has any: restore a backup with `purchases db restore`."
                ) from error
            else:
                unreturned = days


def _is_next(store: StoreConnection, file: ColumnFile) -> bool:
    """Return whether a file is still the last only copy of its day, and what was read of it."""
    last = store.execute(
        "SELECT name, retired FROM column_file WHERE day = ? AND archived > 0"
        " ORDER BY last_row DESC LIMIT 1",
        (file.day,),
    ).fetchone()
    return bool(last == (file.name, file.retired))


def _return_rows(store: StoreConnection, file: ColumnFile, rows: list[Row]) -> int:
    """Make rows of a file those of the table again; forget it with the last; return how many."""
    # Rows that were not deleted yet, or are back, are there.
    count = store.executemany(
        f"INSERT INTO main.analytics_event (rowid, {ROW_NAMES}) SELECT {_MARKS} WHERE EXISTS"  # noqa: S608
        " (SELECT 1 FROM archived_event WHERE event_id = ?)",
        [(*row, row[1]) for row in rows],
    ).rowcount
    store.executemany("DELETE FROM archived_event WHERE event_id = ?", [(r[1],) for r in rows])
    (left,) = store.execute(
        "UPDATE column_file SET archived = archived - ? WHERE name = ? RETURNING archived",
        (count, file.name),
    ).fetchone()
    if left < 0:
        raise _differing_rows_error(file)
    if left == 0:
        forget_after(store, file.day, file.last_row)
    return count


def _differing_rows_error(file: ColumnFile) -> PurchasesError:
    return PurchasesError(
        f"{file.name} counts {file.archived:,} events that are in no row, but they are not those"
        " of archived_event: restore a backup with `purchases db restore`."
    )


def _is_listed(file: ColumnFile, database: Path) -> bool:
    """Return whether a file is the only copy of events now."""
    statement = "SELECT EXISTS (SELECT 1 FROM column_file WHERE name = ? AND archived > 0)"
    with closing(connect(database, read_only=True)) as now, store_errors(database):
        return bool(now.execute(statement, (file.name,)).fetchone()[0])


def _lost_file_error(file: ColumnFile, why: str) -> PurchasesError:
    return PurchasesError(
        f"The column file {file.name} has the only copy of {file.archived:,} events of {file.day},"
        f" and it cannot be used: {why}. Put it back from backups/columns of the home, or a copy of"
        " the directory columns, or restore a backup with `purchases db restore`."
    )
