"""How far the stored figures are behind the log, asked of the brokers from outside the apps.

Only asking, with a short deadline, and without joining a group; what is stored is given.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from streaming.errors import Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import Config, common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.settings import Settings

CLIENT: Final = "lag"
SLICE_SECONDS: Final = 0.3
"""Within it a client that is refused has tried twice, each time another address of a name."""


class TopicMissing(Unavailable):
    """The cluster answers, but does not have a topic, or does not let us see it."""


@dataclass(frozen=True)
class Lag:
    """Records that are not in the figures yet, and the age in seconds of the oldest of them.

    `seconds` is 0 where there are none, and None where the oldest could not be read in time.
    """

    records: int
    seconds: float | None


@dataclass(frozen=True)
class PartitionLag:
    """How far one partition's stored `position` is from its `end` (the last stable offset).

    `seconds` is the age of the next unread record, as in `Lag`. `hidden_records` stand behind an
    open transaction, `hidden_seconds` is the age of the first of them.
    """

    topic: str
    partition: int
    position: int
    end: int
    records: int
    seconds: float | None
    hidden_records: int
    hidden_seconds: float | None


def read_lag(settings: Settings, stored: Mapping[int, int], deadline: float) -> Lag:
    """Compare the logs' ends with the positions: `stored` on `analytics`, the processor's before.

    A partition without a position counts from its beginning; `deadline` is in seconds. Raises
    `Unavailable` where the cluster does not answer in time, `TopicMissing` where it lacks one.
    """
    names = Names.of(settings)
    topics = [names.purchases, names.analytics]
    places = {(names.analytics, partition): position for partition, position in stored.items()}
    return lag_in_all(read_partitions(settings, topics, places, deadline))


def lag_in_all(partitions: Sequence[PartitionLag]) -> Lag:
    """Sum the records of partitions, and give the age of the oldest."""
    behind = [partition.seconds for partition in partitions if partition.records]
    known = [seconds for seconds in behind if seconds is not None]
    records = sum(partition.records for partition in partitions)
    return Lag(records, max(known, default=0.0) if len(known) == len(behind) else None)


def read_partitions(
    settings: Settings,
    topics: Sequence[str],
    stored: Mapping[TopicPartition, int],
    deadline: float,
    *,
    patient: bool = True,
) -> list[PartitionLag]:
    """Look at each partition of the `topics`; positions are `stored`, but those on `purchases`.

    Without being `patient` brokers that refuse a connection are not waited for. Otherwise as
    `read_lag`.
    """
    names, servers = Names.of(settings), bootstrap_servers(settings)
    until = time.monotonic() + deadline
    client: Config = {
        **consumer_config(settings, servers, CLIENT, names.processor_group),
        "enable.partition.eof": True,
    }
    refusals: list[KafkaError] = []

    def hear(error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            refusals.append(error)

    consumer = Consumer({**client, "error_cb": hear})
    try:
        places = _partitions(_known(consumer, refusals, until, patient=patient), topics)
        admin = AdminClient(common_config(settings, servers, CLIENT))
        offsets = dict(stored)
        if names.purchases in topics:
            committed = committed_offsets(admin, names.processor_group, _left(until))
            offsets |= {place: partition.offset for place, partition in committed.items()}
        bounds = _bounds(admin, {place: offsets.get(place, -1) for place in places}, until)
        next_at = _timestamps(
            consumer, {b.place: b.position for b in bounds if b.position < b.stable}, until
        )
        hidden = {b.place: max(b.position, b.stable) for b in bounds if b.stable < b.high}
        hidden_at = _hidden_timestamps(client, hidden, until)
    except KafkaException as error:
        raise Unavailable(f"The broker does not answer: {error.args[0].str()}.") from None
    finally:
        consumer.close()
    now = time.time()
    return [_partition_lag(bound, next_at, hidden_at, now) for bound in bounds]


@dataclass(frozen=True)
class _Bound:
    place: TopicPartition
    position: int
    stable: int
    high: int


def _known(
    consumer: Consumer, refusals: Sequence[KafkaError], until: float, *, patient: bool
) -> ClusterMetadata:
    """Ask for the topics; without patience no longer than until all brokers refused twice."""
    seconds = _left(until) if patient else min(SLICE_SECONDS, _left(until))
    found: ClusterMetadata
    try:
        found = consumer.list_topics(timeout=seconds)
    except KafkaException:
        consumer.poll(0)
        # Once is heard already where only the first address of a name refuses.
        if patient or len(refusals) > 1:
            raise
        found = consumer.list_topics(timeout=_left(until))
    return found


def _partitions(metadata: ClusterMetadata, topics: Sequence[str]) -> list[TopicPartition]:
    known = metadata.topics
    for topic in topics:
        if topic not in known or known[topic].error is not None:
            raise TopicMissing(f"The topic {topic} is missing, or may not be seen by this user.")
    return [(topic, partition) for topic in topics for partition in known[topic].partitions]


def _bounds(
    admin: AdminClient, positions: Mapping[TopicPartition, int], until: float
) -> list[_Bound]:
    stable = list_bounds(admin, positions, stable=True, timeout=_left(until))
    high = list_bounds(admin, positions, stable=False, timeout=_left(until))
    return [
        _Bound(place, max(at, stable[place][0]), stable[place][1], high[place][1])
        for place, at in sorted(positions.items())
    ]


def _hidden_timestamps(
    client: Config, starts: Mapping[TopicPartition, int], until: float
) -> dict[TopicPartition, tuple[int, int] | None]:
    """Read the first record behind each open transaction, which only an uncommitted read shows."""
    if not starts:
        return {}
    consumer = Consumer({**client, "isolation.level": "read_uncommitted"})
    try:
        return _timestamps(consumer, starts, until)
    finally:
        consumer.close()


def _timestamps(
    consumer: Consumer, starts: Mapping[TopicPartition, int], until: float
) -> dict[TopicPartition, tuple[int, int] | None]:
    """Give offset and timestamp (ms) of the next record from each start, by place.

    None where the log ends first (only markers were left of it); nothing where no answer came.
    """
    consumer.assign([PartitionOffset(*place, start) for place, start in starts.items()])
    found: dict[TopicPartition, tuple[int, int] | None] = {}
    while len(found) < len(starts) and time.monotonic() < until:
        message = consumer.poll(max(until - time.monotonic(), 0))
        if message is None:
            continue
        place = (str(message.topic()), message.partition() or 0)
        error = message.error()
        if error is None:
            found.setdefault(place, (message.offset() or 0, message.timestamp()[1]))
        elif error.code() == KafkaError._PARTITION_EOF:
            found.setdefault(place, None)
    return found


def _partition_lag(
    bound: _Bound,
    next_at: Mapping[TopicPartition, tuple[int, int] | None],
    hidden_at: Mapping[TopicPartition, tuple[int, int] | None],
    now: float,
) -> PartitionLag:
    records, seconds = bound.stable - bound.position, None
    if records <= 0 or next_at.get(bound.place, ()) is None:
        records, seconds = 0, 0.0
    elif read := next_at.get(bound.place):
        records, seconds = bound.stable - read[0], max(now - read[1] / 1000, 0.0)
    hidden = hidden_at.get(bound.place)
    return PartitionLag(
        topic=bound.place[0],
        partition=bound.place[1],
        position=bound.position,
        end=bound.stable,
        records=max(records, 0),
        seconds=seconds,
        hidden_records=bound.high - bound.stable,
        hidden_seconds=max(now - hidden[1] / 1000, 0.0) if hidden else None,
    )


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.05)
