"""The proof of column files: their bytes are those that were sealed, their sums the ledger's.

It only reads, in one snapshot. Who finds a problem marks the files, and their days are then read
from the rows.
"""

from datetime import date
from zoneinfo import ZoneInfo

from assets.builds.columns import FileSums, find_damage, find_loss, sum_files
from assets.builds.event_reader import (
    NO_FIGURES,
    StreamFigures,
    read_ledger,
    read_rows_beyond,
)
from assets.tables.aggregate import EVENT_COLUMNS
from streaming.store.column_files import (
    ColumnFile,
    read_column_files,
    require_column_files,
)
from streaming.store.column_store import ColumnStore
from streaming.store.connection import StoreConnection
from streaming.units import MICROS


def find_problems(
    store: StoreConnection,
    column_store: ColumnStore,
    zone: ZoneInfo,
    days: tuple[date | None, date | None] = (None, None),
    *,
    contents: bool,
) -> dict[str, str]:
    """Return the problem of each file by its name, of the days from the first to the last.

    With `contents` the bytes of every file are compared with its digest; else only whether it is
    there. A file that was marked before keeps its problem. Raises `Unavailable` if a bucket does
    not answer, and what `require_column_files` does.
    """
    require_column_files(store, column_store)
    sizes = {} if contents else column_store.sizes()
    ledger = read_ledger(store, *days)
    problems: dict[str, str] = {}
    for day, files in read_column_files(store, *days).items():
        problems |= {file.name: file.problem for file in files if file.problem is not None}
        damaged = {
            file.name: damage
            for file in files
            if (damage := find_damage(file, column_store) if contents else find_loss(file, sizes))
        }
        problems |= damaged
        # With a damaged file the whole day is read from the rows: nothing relies on the other sums.
        if not any(file.name in problems for file in files):
            figures = ledger.get(day, NO_FIGURES)
            differing = _compare(store, day, zone, files, figures)
            # A sum does not say which file is wrong, so none of the day is trusted.
            problems |= dict.fromkeys((file.name for file in files), differing) if differing else {}
    return problems


def _compare(
    store: StoreConnection,
    day: date,
    zone: ZoneInfo,
    files: list[ColumnFile],
    figures: StreamFigures,
) -> str | None:
    """Return how a day's files and the rows beyond them differ from the ledger; None if not."""
    counted = FileSums(figures.events, figures.items_sold, figures.net_revenue_micros)
    sums = sum_files(files)
    # What is sealed whole needs no look at rows.
    if sums.events != counted.events:
        sums = _add_rows(store, day, zone, files, sums)
    if sums == counted:
        return None
    return (
        f"{day} has {sums.events} events, {sums.items_sold} items sold and"
        f" {sums.net_revenue_micros / MICROS} net revenue in columns and rows, the ledger"
        f" {counted.events}, {counted.items_sold} and {counted.net_revenue_micros / MICROS}"
    )


def _add_rows(
    store: StoreConnection, day: date, zone: ZoneInfo, files: list[ColumnFile], sums: FileSums
) -> FileSums:
    for frame in read_rows_beyond(store, EVENT_COLUMNS, day, zone, files):
        sums = sums.add_events(frame)
    return sums
