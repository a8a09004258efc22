"""The ids of events in the archive, as the consumer meets them again: known, or in conflict.

It only reads, in the consumer's transaction. What a batch changes is written in `writer`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct, structs
from sqlalchemy import Connection

from streaming.store.column_files import DaysArchived
from streaming.store.figures import SELECT_IDS
from streaming.store.rows import EVENT_TIME, EventRow, Resolution, content_digest, source_of
from streaming.units import EPOCH


class Archived(Struct, frozen=True):
    """What is known of an event in the archive: its day, digest and source."""

    epoch_day: int
    content: bytes
    source_timestamp: int
    source_partition: int
    source_offset: int
    source_topic: int

    @property
    def day(self) -> str:
        """The ISO date."""
        return (EPOCH.date() + timedelta(self.epoch_day)).isoformat()

    @property
    def source(self) -> tuple[int, ...]:
        """What `source_of` returns of a row."""
        return (
            self.source_timestamp,
            self.source_partition,
            self.source_offset,
            self.source_topic,
        )


_SELECT_ARCHIVED: Final = (
    "SELECT event_id, epoch_day, content, source_timestamp, source_partition, source_offset,"
    " source_topic FROM archived_event WHERE event_id IN"
)


def find_archived(connection: Connection, rows: list[EventRow]) -> dict[bytes, Archived]:
    """Look up what is known of the rows' ids whose events are in column files only."""
    # Most deployments have no archive, and are spared the look-up of each id.
    if not connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM archived_event)").scalar_one():
        return {}
    archived: dict[bytes, Archived] = {}
    # In the order of the index, as they are inserted.
    ids = sorted(row[0] for row in rows)
    for start in range(0, len(ids), SELECT_IDS):
        some = ids[start : start + SELECT_IDS]
        marks = ", ".join("?" * len(some))
        for event_id, *values in connection.exec_driver_sql(
            f"{_SELECT_ARCHIVED} ({marks})", tuple(some)
        ):
            archived[event_id] = Archived(*values)
    return archived


def with_archived(
    changes: Resolution, rows: list[EventRow], archived: Mapping[bytes, Archived]
) -> Resolution:
    """Add the rows that lost to an archived event. Raises `DaysArchived` if one won."""
    lost = [row for row in rows if row[0] in archived]
    won = {archived[row[0]].day for row in lost if source_of(row) < archived[row[0]].source}
    # A row of a lower source replaces what is stored, which must be a row for it.
    if won:
        raise DaysArchived(won)
    differ = [row for row in lost if content_digest(row) != archived[row[0]].content]
    return structs.replace(
        changes,
        duplicates=[*changes.duplicates, *lost],
        conflicting=[*changes.conflicting, *differ],
    )


def require_rows(connection: Connection, changes: Resolution, day_of: Callable[[int], str]) -> None:
    """Raise `DaysArchived` if a day of a changed row, before or after, is in the archive.

    Its files would have what the row was, or lack it.
    """
    archived = set(
        connection.exec_driver_sql(
            "SELECT DISTINCT day FROM column_file WHERE archived > 0"
        ).scalars()
    )
    before = [row for row, _ in changes.corrections]
    days = {day_of(row[EVENT_TIME]) for row in [*changes.updates, *before]} & archived
    if days:
        raise DaysArchived(days)
