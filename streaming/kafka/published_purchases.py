"""Purchases that are published although their group's offsets do not say so.

A broker that forgets the end of a transaction (see `hanging_transactions`) may have written it to
some partitions and not to others. What to do about such purchases is the processor's matter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.events.provenance import read_provenance
from streaming.events.record import Record, TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.log_reader import read_to_ends
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.runtime.limits import RECOVERY_CALL_SECONDS

CLOCK_SKEW_MILLISECONDS: Final = 60_000
"""By how much clocks may differ: a broker's stamps purchases, a processor's what it publishes."""
MOST_OFFSETS: Final = 10_000
"""How far a transaction moves an offset: by the processor's batch of 5,000, and as many markers of
purchases' own transactions. What is published further ahead is of an earlier, repeated run."""


def list_published(
    common: Config,
    group: str,
    read: Sequence[TopicPartition],
    written: Sequence[TopicPartition],
    heartbeat: Callable[[], bool],
) -> dict[TopicPartition, int]:
    """Return the offset behind the last published purchase, by partition of `read`.

    Counted are purchases at or behind the group's offset, less than `MOST_OFFSETS` from it, of
    which something committed on `written` was made. An open transaction changes nothing of that
    offset. `heartbeat` is called for each record that is read: all since the first of those
    purchases. Raises `Unavailable` if it says to stop, that or `KafkaException` if the brokers do
    not answer.
    """
    first = _first_times(common, group, _list_unread(common, group, read), heartbeat)
    if not first:
        return {}
    since = min(time for _, time in first.values()) - CLOCK_SKEW_MILLISECONDS
    published: dict[TopicPartition, int] = {}
    starts = _offsets_at(common, group, written, since)
    for record in _read(common, group, starts, heartbeat):
        source = read_provenance(record.value, record.headers)
        if source is None or source[0] not in first:
            continue
        partition, offset = source
        begin, time = first[partition]
        # An event that is older than the purchase was made of another topic of this name.
        is_of_topic = record.timestamp >= time - CLOCK_SKEW_MILLISECONDS
        if is_of_topic and begin <= offset < begin + MOST_OFFSETS:
            published[partition] = max(offset + 1, published.get(partition, 0))
    return published


def _list_unread(
    common: Config, group: str, read: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the group's offset of each partition that has something at or behind it."""
    # Not the last stable offset, because what is behind an open transaction may be published too.
    bounds = list_bounds(AdminClient(common), read, stable=False, timeout=RECOVERY_CALL_SECONDS)
    committed = committed_offsets(common, group, read, RECOVERY_CALL_SECONDS)
    offsets = {
        at: max(first, committed[at].offset if at in committed else 0)
        for at, (first, _) in bounds.items()
    }
    return {at: offset for at, offset in offsets.items() if offset < bounds[at][1]}


def _first_times(
    common: Config,
    group: str,
    starts: Mapping[TopicPartition, int],
    heartbeat: Callable[[], bool],
) -> dict[TopicPartition, tuple[int, int]]:
    """Return offset and time (ms) of the first record from each start on, where there is one."""
    first: dict[TopicPartition, tuple[int, int]] = {}
    for record in _read(common, group, starts, heartbeat):
        first.setdefault((record.topic, record.partition), (record.offset, record.timestamp))
        if len(first) == len(starts):
            break
    return first


def _offsets_at(
    common: Config, group: str, partitions: Sequence[TopicPartition], milliseconds: int
) -> dict[TopicPartition, int]:
    """Return the first offset since a time of each partition that has one."""
    asked = [PartitionOffset(*partition, milliseconds) for partition in partitions]
    config: Config = {**common, "group.id": group, "enable.auto.commit": False}
    with closing(Consumer(config)) as consumer:
        offsets = consumer.offsets_for_times(asked, timeout=RECOVERY_CALL_SECONDS)
    return {(at.topic, at.partition): at.offset for at in offsets if at.offset >= 0}


def _read(
    common: Config,
    group: str,
    starts: Mapping[TopicPartition, int],
    heartbeat: Callable[[], bool],
) -> Iterator[Record]:
    for record in read_to_ends(common, group, starts, RECOVERY_CALL_SECONDS):
        if not heartbeat():
            raise Unavailable("asked to stop while what was published is read")
        yield record
