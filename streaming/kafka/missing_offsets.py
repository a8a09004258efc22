"""Noticing that Kafka has deleted a group's offsets: with their topic, or when they expired.

A transaction commits what was published together with the offsets of what it was made of. So a
group that has published has offsets; without one the first start and a topic that was made anew
would look the same. What is said of it here is the processor's; where it is asked, the callers'.
"""

import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import Mismatch, Unavailable
from streaming.events.provenance import read_provenance
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.consumer import PASSING
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.records import headers_of

CALL_SECONDS: Final = 2.0
READING_SECONDS: Final = 6.0
SETTLING_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.1
MOST_SECONDS: Final = 25
"""What all calls of one function together may take."""


def require_offsets(common: Config, group: str, places: Sequence[TopicPartition]) -> None:
    """Raise `Mismatch` where the group's offsets were deleted; else as `published_without`."""
    published = published_without(common, group, places)
    if published is not None:
        topic, number = published
        raise Mismatch(
            f"The group {group} has no position any more, but has published before (see"
            f" {topic}-{number}). Either its topic was deleted and created again: what the old one"
            " still held and was not read is lost. Or nothing was processed for so long that Kafka"
            " deleted the offsets (offsets.retention.minutes): only what it has deleted unread"
            " meanwhile is lost. See `purchases offsets list`, and go on with"
            " `purchases offsets reset processor --to earliest`."
        )


def published_without(
    common: Config, group: str, places: Sequence[TopicPartition]
) -> TopicPartition | None:
    """Give which of `places` was published to, if `group` has no offset at all; or None.

    Raises `Unavailable` or `KafkaException` where the brokers do not answer.
    """
    admin = AdminClient(common)
    if committed_offsets(admin, group, CALL_SECONDS):
        return None
    found = _published_to(admin, common, group, places)
    # Of a transaction that is just being committed, each partition is told by itself.
    until = time.monotonic() + SETTLING_SECONDS
    while found is not None and time.monotonic() < until:
        if committed_offsets(admin, group, CALL_SECONDS):
            return None
        time.sleep(LOOK_SECONDS)
    return found


def _published_to(
    admin: AdminClient, common: Config, group: str, places: Sequence[TopicPartition]
) -> TopicPartition | None:
    """Read until the first record that a processor committed; else see where some were deleted.

    What was aborted and what others wrote is passed over.
    """
    bounds = list_bounds(admin, places, stable=True, timeout=CALL_SECONDS)
    left = {place: first for place, (first, end) in bounds.items() if first < end}
    reading: Config = {
        **common,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    consumer, until = Consumer(reading), time.monotonic() + READING_SECONDS
    try:
        consumer.assign([PartitionOffset(*place, first) for place, first in left.items()])
        while left:
            message = consumer.poll(max(until - time.monotonic(), 0))
            if message is None:
                raise Unavailable("the broker does not give in time what was published")
            place, error = (str(message.topic()), message.partition() or 0), message.error()
            if error is None:
                if read_provenance(message.value(), headers_of(message)) is not None:
                    return place
            elif error.code() == KafkaError._PARTITION_EOF:
                left.pop(place, None)
            elif error.code() not in PASSING:
                raise Unavailable(f"what was published cannot be read: {error.str()}")
    finally:
        consumer.close()
    return next((place for place, (first, _) in bounds.items() if first > 0), None)
