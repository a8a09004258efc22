"""The consumer's positions in the store, read and moved by a person.

The consumer's own way is in `write`.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

Place = tuple[str, int]

RETIRED: Final = -1
"""Partitions of an earlier log are counted down from here: their offsets mean nothing any more."""


class StoredOffset(Struct, frozen=True):
    """A position, and of which topic and cluster it is; an empty text is not known."""

    next_offset: int
    topic_id: str
    cluster_id: str


def read_offsets(connection: sqlite3.Connection, group: str) -> dict[Place, StoredOffset]:
    """Read the group's positions by topic and partition."""
    rows = connection.execute(
        "SELECT topic, partition, next_offset, topic_id, cluster_id FROM stream_offset"
        " WHERE consumer_group = ?",
        (group,),
    )
    return {(row[0], row[1]): StoredOffset(*row[2:]) for row in rows}


def move_offsets(
    connection: sqlite3.Connection,
    group: str,
    analytics: str,
    positions: Mapping[Place, StoredOffset],
) -> None:
    """Move positions in one transaction.

    Where the log is another one, its counts begin anew, and the events that came from the old one
    are marked: their place is in a log that is no more.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        known = read_offsets(connection, group)
        for place, moved in positions.items():
            key, events = (group, *place), place[0] == analytics
            _move(connection, key, known.get(place), moved, events=events)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _move(
    connection: sqlite3.Connection,
    key: tuple[str, str, int],
    known: StoredOffset | None,
    moved: StoredOffset,
    *,
    events: bool,
) -> None:
    group, topic, partition = key
    same = known is not None and (known.topic_id, known.cluster_id) == (
        moved.topic_id,
        moved.cluster_id,
    )
    if same:
        connection.execute(
            "UPDATE stream_offset SET next_offset = ?, leader_epoch = NULL"
            " WHERE consumer_group = ? AND topic = ? AND partition = ?",
            (moved.next_offset, group, topic, partition),
        )
        return
    connection.execute(
        "INSERT OR REPLACE INTO stream_offset (consumer_group, topic, partition, next_offset,"
        " topic_id, cluster_id, records, stored, duplicates, conflicting)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0)",
        (group, topic, partition, moved.next_offset, moved.topic_id, moved.cluster_id),
    )
    if events and known is not None:
        connection.execute(
            "UPDATE analytics_event SET stream_partition = ? WHERE stream_partition = ?",
            (RETIRED - partition, partition),
        )
