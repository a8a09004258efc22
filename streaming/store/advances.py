"""The positions that a batch of the consumer advances, with what is counted up to each.

How a person reads and moves positions is in `offsets`.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from streaming.errors import PurchasesError
from streaming.events.record import TopicPartition
from streaming.store.models import StreamOffset, Table


class PositionTaken(PurchasesError):
    """Another consumer of this database advanced the position: roll back, read it, seek."""


class Advance(Struct, frozen=True):
    """How far a topic partition was read: from `expected` (None: no row yet) to `next_offset`.

    `leader_epoch` is that of the record before `next_offset`; None if it is not known.
    """

    expected: int | None
    next_offset: int
    leader_epoch: int | None
    records: int


class Source(Struct, frozen=True):
    """The group, its cluster and its topics' ids as text; `analytics` is the topic of events."""

    group: str
    analytics: str
    cluster_id: str
    topic_ids: Mapping[str, str]


class Counts(Struct, frozen=True):
    """How many of a batch's records in each partition were not simply stored."""

    duplicates: Mapping[TopicPartition, int]
    conflicting: Mapping[TopicPartition, int]
    not_storable: Mapping[TopicPartition, int]


def stored_positions(connection: Connection, group: str) -> dict[TopicPartition, StreamOffset]:
    """Read the group's rows of `stream_offset` by topic and partition."""
    rows = connection.execute(select(_OFFSET).where(_OFFSET.c.consumer_group == group)).mappings()
    return {(row["topic"], row["partition"]): StreamOffset(**row) for row in rows}


def advance_positions(
    connection: Connection,
    source: Source,
    advances: Mapping[TopicPartition, Advance],
    counts: Counts,
    now: int,
) -> None:
    """Advance the positions of all partitions that a batch read, and count; `now` is in µs.

    Raises `PositionTaken` if one is not the expected one.
    """
    moved = []
    for partition, advance in advances.items():
        counted = _added_counts(partition, advance.records, counts, now)
        if advance.expected is None:
            _begin(connection, source, partition, advance, counted)
        else:
            key = (source.group, *partition, advance.expected)
            moved.append((advance.next_offset, advance.leader_epoch, *counted.values(), *key))
    # By one statement for all, because each would wait for a server's answer under the lock.
    if moved and connection.exec_driver_sql(_ADVANCE, moved).rowcount != len(moved):
        raise _position_taken(_moved_by_another(connection, source.group, advances))
    # A stored event that lost makes a duplicate of a record of a partition that was read before.
    before = sorted(counts.duplicates.keys() - advances.keys())
    if before:
        counted_only = [
            (*_added_counts(partition, 0, counts, now).values(), source.group, *partition)
            for partition in before
        ]
        connection.exec_driver_sql(_COUNT, counted_only)


_OFFSET: Final = Table.metadata.tables["stream_offset"]
_COUNTED: Final = ("records", "stored", "duplicates", "conflicting", "not_storable")
_ADD: Final = (
    ", ".join(f"{name} = {name} + ?" for name in _COUNTED)
    + ", conflicted_at = coalesce(?, conflicted_at)"
    " WHERE consumer_group = ? AND topic = ? AND partition = ?"
)
_COUNT: Final = f"UPDATE stream_offset SET {_ADD}"
# The expected position is a condition of the update itself: between a look and a move another
# consumer could move it.
_ADVANCE: Final = (
    f"UPDATE stream_offset SET next_offset = ?, leader_epoch = ?, {_ADD} AND next_offset = ?"
)


def _added_counts(
    partition: TopicPartition, records: int, counts: Counts, now: int
) -> dict[str, int | None]:
    """Return what is added to a partition's counts, and when it had a conflict, in their order."""
    duplicates = counts.duplicates.get(partition, 0)
    conflicting = counts.conflicting.get(partition, 0)
    not_storable = counts.not_storable.get(partition, 0)
    return {
        "records": records,
        "stored": records - duplicates - not_storable,
        "duplicates": duplicates,
        "conflicting": conflicting,
        "not_storable": not_storable,
        "conflicted_at": now if conflicting else None,
    }


def _begin(
    connection: Connection,
    source: Source,
    partition: TopicPartition,
    advance: Advance,
    counted: Mapping[str, Any],
) -> None:
    """Insert the first position of a partition."""
    topic, number = partition
    values = {
        "consumer_group": source.group,
        "topic": topic,
        "partition": number,
        "topic_id": source.topic_ids[topic],
        "cluster_id": source.cluster_id,
        "next_offset": advance.next_offset,
        "leader_epoch": advance.leader_epoch,
    }
    try:
        connection.execute(insert(_OFFSET).values(**values, **counted))
    # Two consumers began this partition at once, and the key let one of them.
    except IntegrityError:
        raise _position_taken(partition) from None


def _moved_by_another(
    connection: Connection, group: str, advances: Mapping[TopicPartition, Advance]
) -> TopicPartition:
    """Return a partition that did not move as the others did."""
    stored = stored_positions(connection, group)
    taken = (
        partition
        for partition, advance in advances.items()
        if partition not in stored or stored[partition].next_offset != advance.next_offset
    )
    # Another consumer may have moved it just as far.
    return next(taken, next(iter(advances)))


def _position_taken(partition: TopicPartition) -> PositionTaken:
    topic, number = partition
    return PositionTaken(f"{topic}-{number} is read by another consumer")
