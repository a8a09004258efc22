"""How far back the three topics still hold everything after retention deleted some of it.

A record of `purchases` can only be judged if its output cannot have been deleted. Outputs follow
their partition's order, so all deleted ones were made before the first one that is left.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from streaming.events.record import TopicPartition
from streaming.store.connection import StoreConnection
from streaming.units import EPOCH, micros_of
from streaming.verification.records import PublishedEvent, read_published
from streaming.verification.topic_reader import Ranges, TopicReader, first_record

CLOCKS_APART: Final = timedelta(minutes=1)
"""How far the clocks of two processors may differ; a minute less history is judged for it."""
FIRST_TIME: Final = micros_of(datetime(2, 1, 1, tzinfo=UTC)) // 1000
LAST_TIME: Final = micros_of(datetime(9998, 12, 31, tzinfo=UTC)) // 1000
"""In ms. A year before the calendar's ends, so that `CLOCKS_APART` can be added."""


class FirstJudged:
    """The first offset to judge of each partition of purchases, learned from the events left.

    `since` is what `deleted_until` returns; None means that nothing was deleted. `first` has the
    least offset of each partition that is certain.
    """

    def __init__(self, since: datetime | None) -> None:
        self.since = since
        self.first: dict[TopicPartition, int] = {}

    def add_event(self, event: PublishedEvent) -> None:
        """Note the source of an event."""
        if self.since is None:
            return
        if event.processed_at > self.since:
            partition, offset = (event.source_topic, event.source_partition), event.source_offset
            self.first[partition] = min(offset, self.first.get(partition, offset))

    def take(self, first: Mapping[TopicPartition, int]) -> None:
        """Take in what another reader learned."""
        for partition, offset in first.items():
            self.first[partition] = min(offset, self.first.get(partition, offset))

    def first_offsets(self, ranges: Ranges) -> dict[TopicPartition, int]:
        """Return the first offset to judge of each partition: its first, if nothing was deleted."""
        if self.since is None:
            return {partition: first for partition, (first, _) in ranges.items()}
        # Without any event that is certain, nothing of the partition can be judged.
        return {one: self.first.get(one, end) for one, (_, end) in ranges.items()}


def deleted_until(
    reader: TopicReader, connection: StoreConnection, analytics: str, ranges: Ranges, after: int
) -> datetime | None:
    """Return a time after which no output was deleted from `ranges`; None if none was at all.

    For a partition that is empty now, the database knows when its last record was made. Rows up to
    `after` are known to be of logs that were not given up.
    """
    times = [
        _first_time(reader, connection, analytics, partition, first)
        for partition, (first, _) in ranges.items()
        if first > 0
    ]
    retired = connection.execute(
        "SELECT max(processed_at) FROM analytics_event WHERE stream_partition < 0 AND rowid > ?",
        (after,),
    ).fetchone()[0]
    if retired is not None:  # of a log that was given up, see `store.offsets`
        times.append(EPOCH + timedelta(microseconds=retired))
    # Who may write to `analytics` may choose any time of the calendar.
    return min(max(times), time_of(LAST_TIME)) + CLOCKS_APART if times else None


def time_of(milliseconds: int) -> datetime:
    """Return the time of a Kafka timestamp, or the nearest of the years 2 to 9998."""
    # On a topic with CreateTime its sender may choose any number of 64 bits.
    return EPOCH + timedelta(milliseconds=min(max(milliseconds, FIRST_TIME), LAST_TIME))


def _first_time(
    reader: TopicReader,
    connection: StoreConnection,
    analytics: str,
    partition: TopicPartition,
    first: int,
) -> datetime:
    message = first_record(reader, partition, first)
    if message is None:
        return EPOCH + timedelta(microseconds=_last_time(connection, analytics, partition, first))
    if partition[0] != analytics:
        return time_of(message.timestamp()[1])
    try:
        # By the clock that the events to be judged have too, see `FirstJudged`.
        return read_published(message.value() or b"").processed_at
    except (ValueError, RecursionError):
        return time_of(message.timestamp()[1])


def _last_time(
    connection: StoreConnection, analytics: str, partition: TopicPartition, first: int
) -> int:
    statement = (
        "SELECT max(processed_at) FROM analytics_event"
        " WHERE stream_partition = ? AND stream_offset < ?"
        if partition[0] == analytics
        else "SELECT max(refused_at) FROM dead_letter WHERE dlq_partition = ? AND dlq_offset < ?"
    )
    row = connection.execute(statement, (partition[1], first)).fetchone()
    return int(row[0] or 0)
