"""The list of column files: which files hold which stored events of which day.

The events in the database are the truth, and a file is a copy. A file belongs to the history while
a row of `column_file` names it; what becomes of one that no row names is in `kept_columns`. What is
in a file, and when a day is sealed, is `assets.builds.seal`; where it is, `column_store`.
"""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, fields
from datetime import date
from typing import Final

from streaming.errors import PurchasesError, Unavailable
from streaming.settings import PREFIX
from streaming.store.column_store import ColumnStore, DirectoryStore
from streaming.store.connection import StoreConnection


@dataclass(frozen=True)
class ColumnFile:
    """A row of `column_file`; `name` is that in the column store, times are in µs.

    The file holds the events of the day that were stored from `first_row` to `last_row`, or a part
    of them: the files of a day hold all of its events up to the last of them. A file with
    `archived`, a number, has whole rows, and is the only copy of so many; `retired` is JSON.
    """

    name: str
    day: str
    first_row: int
    last_row: int
    events: int
    items_sold: int
    net_revenue_trillions: int
    net_revenue_micros: int
    first_event: int
    last_event: int
    bytes: int
    sha256: str
    sealed_at: int
    problem: str | None = None
    archived: int | None = None
    retired: str | None = None


LIST_COLUMNS: Final = ", ".join(field.name for field in fields(ColumnFile))
FORGET_DAY: Final = "DELETE FROM column_file WHERE day = ?"
"""For every writer that changes stored events of a day, in the same transaction."""
MARK_FILE: Final = "UPDATE column_file SET problem = ? WHERE name = ?"
"""For who finds that a file is wrong: its day is read from the rows from then on."""


class DaysArchived(PurchasesError):
    """Stored events of these days are to be changed, and they are in the archive: return them."""

    def __init__(self, days: Collection[str]) -> None:
        super().__init__(f"Events of {', '.join(sorted(days))} are in column files only.")
        self.days = days


def read_column_files(
    store: StoreConnection, first: date | None = None, last: date | None = None
) -> dict[date, list[ColumnFile]]:
    """Read the files of each day in the range, in the order of their first events."""
    rows = store.execute(
        f"SELECT {LIST_COLUMNS} FROM column_file WHERE day >= ? AND day <= ?"  # noqa: S608 - own names
        " ORDER BY day, first_event, name",
        ((first or date.min).isoformat(), (last or date.max).isoformat()),
    )
    files: dict[date, list[ColumnFile]] = {}
    for row in rows:
        file = ColumnFile(*row)
        files.setdefault(date.fromisoformat(file.day), []).append(file)
    return files


def require_column_files(store: StoreConnection, column_store: ColumnStore) -> None:
    """Raise `Unavailable` if the list of a server names files, and none is in this directory.

    Then they are in a bucket that this host does not know, or the directory was lost. Nobody can
    tell which, so nothing may be marked, nor sealed beside them.
    """
    if isinstance(store, sqlite3.Connection) or not isinstance(column_store, DirectoryStore):
        return
    names = [name for (name,) in store.execute("SELECT name FROM column_file").fetchall()]
    if names and not any(map(column_store.has, names)):
        raise Unavailable(
            f"None of the {len(names):,} column files is in {column_store.directory}. If several"
            f" hosts use this database, set {PREFIX}HOST and {PREFIX}COLUMNS_URL as they do. If the"
            " directory was lost, run `purchases db columns rebuild`."
        )


def replace_column_files(
    store: StoreConnection, old: Iterable[ColumnFile], new: Iterable[ColumnFile]
) -> None:
    """Name the new files in place of the old ones."""
    store.executemany("DELETE FROM column_file WHERE name = ?", [(file.name,) for file in old])
    marks = ", ".join("?" * len(fields(ColumnFile)))
    store.executemany(
        f"INSERT INTO column_file ({LIST_COLUMNS}) VALUES ({marks})",  # noqa: S608 - own names
        [astuple(file) for file in new],
    )


def forget_days(store: StoreConnection, days: Collection[str]) -> None:
    """Forget the files of days whose stored events are being changed.

    Raises `DaysArchived` if one is the only copy of events.
    """
    rows = store.execute("SELECT DISTINCT day FROM column_file WHERE archived > 0")
    if archived := {day for (day,) in rows} & set(days):
        raise DaysArchived(archived)
    store.executemany(FORGET_DAY, [(day,) for day in sorted(set(days))])


def forget_after(store: StoreConnection, day: str, row: int) -> None:
    """Forget the files of a day that end at a row or later: rows are to be read from there on."""
    store.execute("DELETE FROM column_file WHERE day = ? AND last_row >= ?", (day, row))


def forget_all(store: StoreConnection) -> int:
    """Forget every file that is a copy; return how many there were."""
    # The only copy stays, and its next reader finds whether it is sound.
    store.execute("UPDATE column_file SET problem = NULL WHERE archived > 0")
    return store.execute("DELETE FROM column_file WHERE coalesce(archived, 0) = 0").rowcount


def forget_missing(store: StoreConnection, column_store: ColumnStore) -> None:
    """Forget the days that lack a file: a restored list is older than the files.

    If a bucket does not answer, forget all: the next seal writes them again.
    """
    try:
        there = column_store.sizes()
    except Unavailable:
        forget_all(store)
        return
    listed = read_column_files(store)
    for files in listed.values():
        for file in files:
            # A file that is the only copy is required before, see `restore`.
            if file.name not in there and not file.archived:
                _forget_copies(store, file.day)


def _forget_copies(store: StoreConnection, day: str) -> None:
    store.execute("DELETE FROM column_file WHERE day = ? AND coalesce(archived, 0) = 0", (day,))
