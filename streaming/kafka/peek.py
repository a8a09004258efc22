"""Looking at a topic: its newest records, or those from a time or an offset on; by key.

Reads without a group and commits nothing, so that no app is disturbed. Records hold personal data:
who may ask is the caller's decision, and nothing of them is logged.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Final

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.errors import NotFound, UsageError
from streaming.events.dead_letter import escaped_text
from streaming.events.record import Record, TopicPartition
from streaming.kafka.acls import Rule
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import list_bounds
from streaming.kafka.preflight import preflight
from streaming.kafka.records import read_record
from streaming.kafka.retry import answer
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.units import record_time

CLIENT: Final = "peek"
READ_SECONDS: Final = 10.0
"""A browser waits for longer; a search that is not done by then says so."""
MAX_SCANNED: Final = 200_000
"""Records of one look, some tens of MB: a key may be in the last of them."""
SPARE: Final = 8
"""Offsets read for each record that is shown: in `analytics` most may be transactions' markers."""
MAX_VALUE_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 100
"""Of a record both are shown up to here only, so that an answer stays small."""
MAX_START: Final = 24
"""Characters of a partition and an offset of 64 bits."""
BATCH: Final = 500
"""Records that one call hands over: between two calls the time is looked at."""

Bounds = dict[TopicPartition, tuple[int, int]]


class PeekRequest(Struct, frozen=True):
    """Which records of a topic, `limit` of them at most.

    From `since` (epoch ms) or `start` (partition, offset) on the first ones, else the newest.
    """

    topic: str
    key: bytes | None = None
    since: int | None = None
    start: tuple[int, int] | None = None
    limit: int = 10

    @property
    def goes_forward(self) -> bool:
        """Whether the first records are meant, and not the newest."""
        return self.since is not None or self.start is not None


class PeekedRecord(Struct, frozen=True):
    """A record as text, in which bytes that are none are escaped; a tombstone has no value.

    `timestamp` is RFC 3339 in UTC, null if it is no time. A value is `value_bytes` long, of which
    64 KiB are here at most, and of the headers a hundred.
    """

    topic: str
    partition: int
    offset: int
    timestamp: str | None
    key: str | None
    value: str | None
    value_bytes: int
    headers: tuple[tuple[str, str | None], ...]


PartitionRecords = deque[tuple[int, PeekedRecord]]
"""Records of a partition, each with its own time (ms)."""


class Peek(Struct, frozen=True):
    """Records by their time, and how many were looked at; `complete` unless a limit ended it."""

    records: tuple[PeekedRecord, ...]
    scanned: int
    complete: bool


def topic_named(settings: Settings, name: str) -> str:
    """Return the full name of a topic of the deployment, given with or without its namespace.

    Raises `NotFound` for any other name.
    """
    names = Names.of(settings)
    topics = {topic.removeprefix(f"{names.namespace}."): topic for topic in names.topics}
    if name in names.topics or name in topics:
        return topics.get(name, name)
    raise NotFound(f"{name!r} is no topic of this deployment; it has {', '.join(topics)}.")


def read_start(text: str) -> tuple[int, int]:
    """Read `PARTITION:OFFSET`. Raises `UsageError` for any other text."""
    partition, separator, offset = text.partition(":")
    if not (separator and partition.isdecimal() and offset.isdecimal() and len(text) <= MAX_START):
        raise UsageError(f"{text!r} is not PARTITION:OFFSET, such as 2:4711.")
    return int(partition), int(offset)


def peek(settings: Settings, request: PeekRequest) -> Peek:
    """Return committed records that fit, in ten seconds at most.

    Raises `PurchasesError` if the topic or the permission to read it lacks, `Unavailable` if the
    brokers do not answer.
    """
    with _open(settings, request.topic) as (consumer, bounds):
        starts = _starts(consumer, request, bounds)
        fitting, scanned, complete = _scan(consumer, request, starts, bounds)
    records = sorted(
        chain.from_iterable(fitting.values()),
        # By their own times, because partitions have no order between them.
        key=lambda one: (one[0], one[1].partition, one[1].offset),
    )
    kept = records[: request.limit] if request.goes_forward else records[-request.limit :]
    return Peek(tuple(record for _, record in kept), scanned, complete)


def follow(
    settings: Settings, topic: str, key: bytes | None, goes_on: Callable[[], bool]
) -> Iterator[PeekedRecord]:
    """Yield the records that come from now on, as long as it `goes_on`. Raises what `peek` does."""
    with _open(settings, topic) as (consumer, bounds):
        ends = [PartitionOffset(*partition, end) for partition, (_, end) in bounds.items()]
        consumer.assign(ends)
        while goes_on():
            for message in consumer.consume(BATCH, 0.2):
                if message.error() is None and _fits(record := read_record(message), key):
                    yield peeked_record(record)


def peeked_record(record: Record) -> PeekedRecord:
    """Return a record as text."""
    value = record.value
    cut = None if value is None else value[:MAX_VALUE_BYTES].decode(errors="backslashreplace")
    return PeekedRecord(
        record.topic,
        record.partition,
        record.offset,
        record_time(record.timestamp),
        escaped_text(record.key),
        cut,
        len(value or b""),
        tuple((name, escaped_text(content)) for name, content in record.headers[:MAX_HEADERS]),
    )


@contextmanager
def _open(settings: Settings, topic: str) -> Iterator[tuple[Consumer, Bounds]]:
    cluster = preflight(settings, [Rule("topic", topic, "READ")])
    servers = cluster.bootstrap_servers
    admin = AdminClient(common_config(settings, servers, CLIENT))
    partitions = [(topic, number) for number in range(cluster.topics[topic].partitions)]
    bounds = list_bounds(admin, partitions, stable=True, timeout=CALL_SECONDS)
    config = consumer_config(settings, servers, CLIENT, CLIENT)
    with closing(Consumer({**config, "queued.max.messages.kbytes": 32_768})) as consumer:
        # Else the leader of a topic that is new to this client is only looked for once a second.
        answer(lambda seconds: consumer.list_topics(topic, timeout=seconds))
        yield consumer, bounds


def _starts(consumer: Consumer, request: PeekRequest, bounds: Bounds) -> dict[TopicPartition, int]:
    """Return the offset at which each partition is read from; those without records are absent."""
    if request.start is not None:
        number, offset = request.start
        partition = (request.topic, number)
        if partition not in bounds:
            raise NotFound(f"{request.topic} has no partition {number}.")
        starts = {partition: max(offset, bounds[partition][0])}
    elif request.since is not None:
        # Kafka takes a negative time for a question after the first or the last offset.
        asked = [PartitionOffset(*partition, max(request.since, 0)) for partition in bounds]
        times = answer(lambda seconds: consumer.offsets_for_times(asked, timeout=seconds))
        starts = {(at.topic, at.partition): at.offset for at in times if at.offset >= 0}
    else:
        # A key may be in any record, so all that may be read is. Else a few more than are shown are
        # enough.
        all_of_it = MAX_SCANNED // len(bounds)
        span = all_of_it if request.key is not None else min(request.limit * SPARE, all_of_it)
        starts = {partition: max(first, end - span) for partition, (first, end) in bounds.items()}
    return {partition: start for partition, start in starts.items() if start < bounds[partition][1]}


def _scan(
    consumer: Consumer, request: PeekRequest, starts: dict[TopicPartition, int], bounds: Bounds
) -> tuple[dict[int, PartitionRecords], int, bool]:
    """Read each partition to its end; return what fits by partition, and how many were read.

    No partition keeps more than the limit, as text, because records may have megabytes.
    """
    fitting: dict[int, PartitionRecords] = {
        number: deque(maxlen=request.limit) for _, number in starts
    }
    scanned, deadline = 0, time.monotonic() + READ_SECONDS
    partitions = [PartitionOffset(*partition, start) for partition, start in starts.items()]
    consumer.assign(partitions)
    while partitions and scanned < MAX_SCANNED and time.monotonic() < deadline:
        messages = [m for m in consumer.consume(BATCH, 0.05) if m.error() is None]
        scanned += len(messages)
        for record in map(read_record, messages):
            here = fitting[record.partition]
            has_room = not request.goes_forward or len(here) < request.limit
            if has_room and _fits(record, request.key):
                here.append((record.timestamp, peeked_record(record)))
        # What was committed after the ends were asked for is not waited for.
        if all(
            at.offset >= bounds[at.topic, at.partition][1] for at in consumer.position(partitions)
        ):
            return fitting, scanned, True
        if request.goes_forward and all(len(here) == request.limit for here in fitting.values()):
            return fitting, scanned, True
    return fitting, scanned, not partitions


def _fits(record: Record, key: bytes | None) -> bool:
    return key is None or record.key == key
