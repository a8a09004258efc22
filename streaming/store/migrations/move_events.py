"""The move of all events from the table of schema 8 into that of 0009, between two revisions.

Thousands of rows at a time, each in a transaction of its own: a process that is killed leaves every
event in one of the two tables, and the next one goes on. The space of moved rows is used again, so
that the file hardly grows.
"""

import sqlite3
from typing import Final

from streaming.events.identifiers import pack_event_id
from streaming.store.backup import Progress
from streaming.store.sqlite import transaction

ROWS_TOGETHER: Final = 20_000
"""A few megabytes of a transaction: less would sync more often, more gains nothing."""

COLUMNS: Final = (
    "event_time, kind, user, item, quantity, unit_price_micros, amount_micros, currency, order_id,"
    " description, country, processed_at, source_partition, source_offset, source_timestamp,"
    " stream_partition, stream_offset"
)
# Events keep their row numbers, which are the order of storing.
MOVE: Final = (
    f"INSERT INTO analytics_event (rowid, event_id, source_topic, {COLUMNS})"
    " SELECT b.rowid, pack_event_id(b.event_id),"
    " (SELECT t.id FROM source_topic t WHERE t.name = b.source_topic),"
    f" {COLUMNS} FROM analytics_event_before b WHERE b.rowid <= ? ORDER BY b.rowid"
)
LAST_OF_NEXT: Final = (
    "SELECT max(number) FROM"
    " (SELECT rowid AS number FROM analytics_event_before ORDER BY rowid LIMIT ?)"
)


def move_events(connection: sqlite3.Connection, progress: Progress) -> None:
    """Move what is left to move, also beside another process that does the same.

    `progress` gets the rows that are moved, of how many, after each transaction.
    """
    connection.create_function("pack_event_id", 1, pack_event_id, deterministic=True)
    total = _last_row(connection)
    while (moved := _move_some(connection)) is not None:
        progress(moved, total)


def _move_some(connection: sqlite3.Connection) -> int | None:
    """Move the first rows; return the number of the last of them, None if none was left."""
    with transaction(connection):
        if not _is_between(connection):
            return None
        last: int | None = connection.execute(LAST_OF_NEXT, (ROWS_TOGETHER,)).fetchone()[0]
        if last is not None:
            connection.execute(MOVE, (last,))
            connection.execute("DELETE FROM analytics_event_before WHERE rowid <= ?", (last,))
    return last


def _last_row(connection: sqlite3.Connection) -> int:
    with transaction(connection):
        if not _is_between(connection):
            return 0
        query = "SELECT coalesce(max(rowid), 0) FROM analytics_event_before"
        return int(connection.execute(query).fetchone()[0])


def _is_between(connection: sqlite3.Connection) -> bool:
    """Return whether the revision before the move has run, and the one after it has not."""
    query = "SELECT 1 FROM sqlite_master WHERE name = 'analytics_event_before'"
    return connection.execute(query).fetchone() is not None
