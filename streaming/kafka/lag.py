"""How far the stored figures are behind the log, asked of the brokers from outside the apps.

Only questions with a short deadline are asked, and no group is joined. What is stored is given.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from streaming.errors import Unavailable
from streaming.events.record import Record, TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import Config, common_config, consumer_config
from streaming.kafka.log_reader import read_from
from streaming.kafka.names import Names
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.open_transactions import read_open_producer
from streaming.settings import Settings
from streaming.system.deadline import Deadline

CLIENT: Final = "lag"
ANSWER_SECONDS: Final = 4.0
"""For a whole lag: three clients connect, and about twenty questions are asked one after the other.
On one machine that takes 0.1 s, and to a cluster 80 ms away, with TLS and a login, most of this."""
SLICE_SECONDS: Final = 0.3
"""Within it a client that is refused has tried twice, each time another address of a name."""
LEAST_SECONDS: Final = 0.05
"""A call gets at least this: a deadline that is just over is missed by little, not by an error."""
LONG_TRANSACTION_SECONDS: Final = 70.0
"""Longer than Kafka's default transaction timeout (60 s), after which the broker aborts it."""
RECORD_BYTES: Final = 20
"""Of a record in the log, beside its key and value."""

NextRecords = Mapping[TopicPartition, Record | None]
"""The next record of a partition; None if its log ends first, and no entry without an answer."""


class TopicMissing(Unavailable):
    """The cluster answers, but does not have a topic, or does not let this user see it."""


@dataclass(frozen=True)
class Lag:
    """Records that are not in the figures yet, and the age in seconds of the oldest of them.

    `seconds` is 0 if there are none, and None if the oldest could not be read in time.
    """

    records: int
    seconds: float | None


@dataclass(frozen=True)
class PartitionLag:
    """How far one partition's stored `position` is from its `end` (the last stable offset).

    `seconds` is the age of the next unread record, as in `Lag`. `hidden_records` are behind an open
    transaction; `hidden_seconds` is the age of the first of them, None if it could not be read.
    `hidden_producer` is the id of the producer of a transaction that is open for too long, if the
    brokers say it. `first` is the log's first offset. `unread_bytes` are estimated by the next
    record; None if that could not be read.
    """

    topic: str
    partition: int
    position: int
    end: int
    records: int
    seconds: float | None
    hidden_records: int
    hidden_seconds: float | None
    hidden_producer: int | None = None
    first: int = 0
    unread_bytes: int | None = None


def read_lag(settings: Settings, stored: Mapping[int, int], timeout: float = ANSWER_SECONDS) -> Lag:
    """Compare the logs' ends with the positions: `stored` on `analytics`, the processor's before.

    A partition without a position counts from its beginning. Brokers that refuse a connection are
    not waited for; `timeout` is in seconds. Raises `Unavailable` if the cluster does not answer in
    time, `TopicMissing` if it lacks a topic.
    """
    names = Names.of(settings)
    topics = [names.purchases, names.redrive, names.analytics]
    positions = {(names.analytics, number): position for number, position in stored.items()}
    return sum_lag(read_partitions(settings, topics, positions, timeout))


def sum_lag(partitions: Sequence[PartitionLag]) -> Lag:
    """Return the sum of the partitions' records, and the age of the oldest."""
    ages = [partition.seconds for partition in partitions if partition.records]
    readable = [seconds for seconds in ages if seconds is not None]
    records = sum(partition.records for partition in partitions)
    return Lag(records, max(readable, default=0.0) if len(readable) == len(ages) else None)


def read_partitions(
    settings: Settings,
    topics: Sequence[str],
    stored: Mapping[TopicPartition, int],
    timeout: float = ANSWER_SECONDS,
) -> list[PartitionLag]:
    """Return the lag of each partition of the `topics`, within `timeout` seconds.

    Positions are `stored`; the processor's are its committed offsets. A missing `purchases.redrive`
    is left out. Raises as `read_lag`.
    """
    names, servers = Names.of(settings), bootstrap_servers(settings)
    group, deadline = names.processor_group, Deadline.after(timeout)
    refusals = _Refusals()
    config: Config = {
        **consumer_config(settings, servers, CLIENT, group),
        # Tells that only transaction markers follow a position: then there is no lag.
        "enable.partition.eof": True,
    }
    with _broker_errors(), closing(Consumer({**config, "error_cb": refusals})) as consumer:
        metadata = _read_metadata(consumer, refusals, deadline)
        common = common_config(settings, servers, CLIENT)
        admin = AdminClient(common)
        if not _exists(metadata, names.redrive):
            topics = [topic for topic in topics if topic != names.redrive]
        # Positions before ends: the other way round a lag could be negative.
        positions = dict.fromkeys(_partitions_of(metadata, topics), -1)
        positions |= {at: offset for at, offset in stored.items() if at in positions}
        if names.purchases in topics:
            positions |= _read_committed(common, group, positions, deadline)
        ends = _read_ends(admin, positions, deadline)
        unread = {e.partition: e.position for e in ends if e.position < e.stable}
        next_records = _read_next(consumer, unread, deadline)
        hidden_records = _read_hidden(config, ends, deadline)
    now = time.time()
    lags = [partition_lag(e, next_records, hidden_records, now) for e in ends]
    return [_with_producer(lag, config, metadata, deadline) for lag in lags]


@dataclass(frozen=True)
class LogEnd:
    """A partition's `position`, last stable offset, high watermark, and the log's first offset."""

    partition: TopicPartition
    position: int
    stable: int
    high: int
    first: int = 0


def partition_lag(
    end: LogEnd, next_records: NextRecords, hidden_records: NextRecords, now: float
) -> PartitionLag:
    """Return the lag of one partition at the time `now` (s since 1970).

    Between a position and the end may lie only transaction markers: then there is no lag.
    """
    records, seconds, size = end.stable - end.position, None, None
    # No entry means that nothing was heard in time, and None that no record follows.
    if records <= 0 or next_records.get(end.partition, ()) is None:
        records, seconds, size = 0, 0.0, 0
    elif record := next_records.get(end.partition):
        records, seconds = end.stable - record.offset, _age(record, now)
        size = records * (RECORD_BYTES + len(record.key or b"") + len(record.value or b""))
    hidden = hidden_records.get(end.partition)
    return PartitionLag(
        topic=end.partition[0],
        partition=end.partition[1],
        position=end.position,
        end=end.stable,
        records=max(records, 0),
        seconds=seconds,
        hidden_records=end.high - end.stable,
        hidden_seconds=_age(hidden, now) if hidden else None,
        first=end.first,
        unread_bytes=size,
    )


def _with_producer(
    lag: PartitionLag, config: Config, metadata: ClusterMetadata, deadline: Deadline
) -> PartitionLag:
    """Add the producer of a transaction that is open for too long, if the brokers take plaintext.

    With TLS or passwords the bytes of the question would need a client of their own.
    """
    protocol = str(config.get("security.protocol", "plaintext")).lower()
    if (lag.hidden_seconds or 0) <= LONG_TRANSACTION_SECONDS or protocol != "plaintext":
        return lag
    leader = metadata.brokers.get(metadata.topics[lag.topic].partitions[lag.partition].leader)
    if leader is None or leader.host is None:
        return lag
    at, seconds = (lag.topic, lag.partition), deadline.left(LEAST_SECONDS)
    producer = read_open_producer((leader.host, leader.port), at, lag.end, seconds)
    return replace(lag, hidden_producer=producer)


class _Refusals:
    """An error callback that counts how often all brokers refused a connection."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.number += 1


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise Unavailable(f"The broker does not answer: {error.args[0].str()}.") from None


def _read_metadata(consumer: Consumer, refusals: _Refusals, deadline: Deadline) -> ClusterMetadata:
    """Ask for the topics, until all brokers refused twice at most."""
    left = deadline.left(LEAST_SECONDS)
    metadata: ClusterMetadata
    try:
        metadata = consumer.list_topics(timeout=min(SLICE_SECONDS, left))
    except KafkaException:
        # The error callback runs only in a poll.
        consumer.poll(0)
        # One refusal is heard already if only the first address of a host's name refuses.
        if refusals.number > 1:
            raise
        metadata = consumer.list_topics(timeout=deadline.left(LEAST_SECONDS))
    return metadata


def _exists(metadata: ClusterMetadata, topic: str) -> bool:
    return topic in metadata.topics and metadata.topics[topic].error is None


def _partitions_of(metadata: ClusterMetadata, topics: Sequence[str]) -> list[TopicPartition]:
    for topic in topics:
        if not _exists(metadata, topic):
            raise TopicMissing(f"The topic {topic} is missing, or may not be seen by this user.")
    return [(topic, number) for topic in topics for number in metadata.topics[topic].partitions]


def _read_committed(
    common: Config, group: str, partitions: Iterable[TopicPartition], deadline: Deadline
) -> dict[TopicPartition, int]:
    offsets = committed_offsets(common, group, partitions, deadline.left(LEAST_SECONDS))
    return {at: offset.offset for at, offset in offsets.items()}


def _read_ends(
    admin: AdminClient, positions: Mapping[TopicPartition, int], deadline: Deadline
) -> list[LogEnd]:
    # The other way round the number of hidden records could be negative.
    stable, high = (
        list_bounds(admin, positions, stable=stable, timeout=deadline.left(LEAST_SECONDS))
        for stable in (True, False)
    )
    return [
        LogEnd(
            partition,
            # What retention has deleted cannot be read any more: it is no lag.
            max(at, stable[partition][0]),
            stable[partition][1],
            high[partition][1],
            stable[partition][0],
        )
        for partition, at in sorted(positions.items())
    ]


def _read_hidden(config: Config, ends: Sequence[LogEnd], deadline: Deadline) -> NextRecords:
    """Read the first record behind each open transaction, which only an uncommitted read shows."""
    starts = {e.partition: max(e.position, e.stable) for e in ends if e.stable < e.high}
    if not starts:
        return {}
    with closing(Consumer({**config, "isolation.level": "read_uncommitted"})) as consumer:
        return _read_next(consumer, starts, deadline)


def _read_next(
    consumer: Consumer, starts: Mapping[TopicPartition, int], deadline: Deadline
) -> NextRecords:
    """Read the next record from each start."""
    records: dict[TopicPartition, Record | None] = {}
    if starts:
        for partition, read in read_from(consumer, starts, deadline):
            if isinstance(read, Record):
                records.setdefault(partition, read)
            elif read.code() == KafkaError._PARTITION_EOF:
                records.setdefault(partition, None)
            if len(records) == len(starts):
                break
    return records


def _age(record: Record, now: float) -> float:
    return max(now - record.timestamp / 1000, 0.0)
