"""How far the stored figures are behind the log, asked of the brokers from outside the apps.

Only asking, with a short deadline, and without joining a group; what is stored is given.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import Place, list_bounds
from streaming.settings import Settings

CLIENT: Final = "lag"


@dataclass(frozen=True)
class Lag:
    """Records that are not in the figures yet, and the age in seconds of the oldest of them.

    `seconds` is 0 where there are none, and None where the oldest could not be read in time.
    """

    records: int
    seconds: float | None


def read_lag(settings: Settings, servers: str, stored: Mapping[int, int], deadline: float) -> Lag:
    """Compare the logs' ends with the positions: `stored` on `analytics`, the processor's before.

    A partition without a position counts from its beginning; `deadline` is in seconds. Raises
    `Unavailable` where the cluster does not answer in time, or lacks a topic.
    """
    names = Names.of(settings)
    until = time.monotonic() + deadline
    consumer = Consumer(
        {
            **consumer_config(settings, servers, CLIENT, names.processor_group),
            "enable.partition.eof": True,
        }
    )
    try:
        places = _partitions(consumer, [names.purchases, names.analytics], until)
        positions = _committed(consumer, [p for p in places if p[0] == names.purchases], until)
        positions |= {p: stored.get(p[1], -1) for p in places if p[0] == names.analytics}
        behind = _behind(settings, servers, positions, until)
        return _measured(consumer, behind, until)
    except KafkaException as error:
        raise Unavailable(f"The broker does not answer: {error.args[0].str()}.") from None
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topics: Sequence[str], until: float) -> list[Place]:
    known = consumer.list_topics(timeout=_left(until)).topics
    for topic in topics:
        if topic not in known or known[topic].error is not None:
            raise Unavailable(f"The topic {topic} is missing.")
    return [(topic, partition) for topic in topics for partition in known[topic].partitions]


def _committed(consumer: Consumer, places: Sequence[Place], until: float) -> dict[Place, int]:
    found = consumer.committed([TopicPartition(*place) for place in places], timeout=_left(until))
    return {(p.topic, p.partition): p.offset for p in found}


def _behind(
    settings: Settings, servers: str, positions: Mapping[Place, int], until: float
) -> dict[Place, tuple[int, int]]:
    """Give position and end (the last stable offset) of each partition that is not at its end."""
    admin = AdminClient(common_config(settings, servers, CLIENT))
    bounds = list_bounds(admin, positions, stable=True, timeout=_left(until))
    starts = {place: max(at, bounds[place][0]) for place, at in positions.items()}
    return {place: (at, bounds[place][1]) for place, at in starts.items() if at < bounds[place][1]}


def _measured(consumer: Consumer, behind: Mapping[Place, tuple[int, int]], until: float) -> Lag:
    """Read the next record of each partition; where none comes, only markers were left of it."""
    consumer.assign([TopicPartition(*place, start) for place, (start, _) in behind.items()])
    waiting = dict(behind)
    records, oldest = 0, None
    while waiting and time.monotonic() < until:
        message = consumer.poll(max(until - time.monotonic(), 0))
        if message is None:
            continue
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            continue
        bounds = waiting.pop((str(message.topic()), message.partition() or 0), None)
        if bounds is not None and error is None:
            records += bounds[1] - (message.offset() or 0)
            oldest = min(message.timestamp()[1], oldest or message.timestamp()[1])
    records += sum(end - start for start, end in waiting.values())
    if not records:
        return Lag(0, 0.0)
    late = None if waiting or oldest is None else max(time.time() - oldest / 1000, 0.0)
    return Lag(records, late)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.05)
