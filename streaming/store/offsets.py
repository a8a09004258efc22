"""The consumer's positions in the store, as a person reads and moves them.

The consumer itself advances them with each batch, in `writer`.
"""

import json
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from streaming.events.record import TopicPartition
from streaming.store.connection import StoreConnection

RETIRE_EVENTS: Final = (
    "UPDATE analytics_event SET stream_partition = -1 - :partition"
    " WHERE stream_partition = :partition"
)
"""Partitions of an earlier log are counted down from -1: their offsets mean nothing any more."""
RETIRE_DEAD_LETTERS: Final = (
    "UPDATE dead_letter SET dlq_partition = NULL, dlq_offset = NULL"
    " WHERE dlq_partition = :partition"
)
"""A dead letter of an earlier log is described by the next one of its origin."""


class StoredOffset(Struct, frozen=True):
    """A position, and of which topic and cluster it is; an empty text is not stored."""

    next_offset: int
    topic_id: str
    cluster_id: str


def read_offsets(connection: StoreConnection, group: str) -> dict[TopicPartition, StoredOffset]:
    """Read the group's positions by topic and partition."""
    rows = connection.execute(
        "SELECT topic, partition, next_offset, topic_id, cluster_id FROM stream_offset"
        " WHERE consumer_group = ?",
        (group,),
    )
    return {(row[0], row[1]): StoredOffset(*row[2:]) for row in rows}


def next_offsets(connection: StoreConnection, group: str, topic: str) -> dict[int, int]:
    """Return the group's next offset of each partition of a topic that it has read."""
    stored = read_offsets(connection, group)
    return {number: at.next_offset for (name, number), at in stored.items() if name == topic}


def move_offsets(
    connection: StoreConnection,
    group: str,
    analytics: str,
    positions: Mapping[TopicPartition, StoredOffset],
) -> None:
    """Move positions in the caller's transaction.

    If the log is another one, its counts begin at 0. The events and dead letters of the old one are
    marked then, because their offsets mean nothing in the new one.
    """
    stored = read_offsets(connection, group)
    for topic_partition, moved in positions.items():
        before = stored.get(topic_partition)
        _move(connection, group, topic_partition, before, moved)
        if before is not None and not _of_one_log(before, moved):
            retire = RETIRE_EVENTS if topic_partition[0] == analytics else RETIRE_DEAD_LETTERS
            connection.execute(retire, {"partition": topic_partition[1]})
            if retire is RETIRE_EVENTS:
                _retire_in_files(connection, topic_partition[1])


def _move(
    connection: StoreConnection,
    group: str,
    topic_partition: TopicPartition,
    before: StoredOffset | None,
    moved: StoredOffset,
) -> None:
    topic, partition = topic_partition
    if before is not None and _of_one_log(before, moved):
        connection.execute(
            # The epoch was that of another offset: with it, Kafka could take the position for
            # truncated.
            "UPDATE stream_offset SET next_offset = ?, leader_epoch = NULL"
            " WHERE consumer_group = ? AND topic = ? AND partition = ?",
            (moved.next_offset, group, topic, partition),
        )
        return
    connection.execute(
        "DELETE FROM stream_offset WHERE consumer_group = ? AND topic = ? AND partition = ?",
        (group, topic, partition),
    )
    connection.execute(
        "INSERT INTO stream_offset (consumer_group, topic, partition, next_offset, topic_id,"
        " cluster_id, records, stored, duplicates, conflicting, not_storable)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0)",
        (group, topic, partition, moved.next_offset, moved.topic_id, moved.cluster_id),
    )


def _retire_in_files(connection: StoreConnection, partition: int) -> None:
    """Record with each file of whole rows that the partition of its events is counted down."""
    # A file never changes.
    files = connection.execute("SELECT retired, name FROM column_file WHERE archived IS NOT NULL")
    connection.executemany(
        "UPDATE column_file SET retired = ? WHERE name = ?",
        [
            (json.dumps([*json.loads(retired or "[]"), partition]), name)
            for retired, name in files.fetchall()
        ],
    )


def _of_one_log(one: StoredOffset, other: StoredOffset) -> bool:
    return (one.topic_id, one.cluster_id) == (other.topic_id, other.cluster_id)
