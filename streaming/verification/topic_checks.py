"""The topics against each other and against the database, at one moment while all goes on.

The order matters: the database's snapshot first, then the processor's committed offsets, then the
ends of its outputs. So whatever a later step could show is there when it is looked for.
"""

from collections.abc import Callable
from contextlib import closing

from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import list_bounds
from streaming.kafka.preflight import Cluster
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.units import rfc_3339
from streaming.verification.check import Check
from streaming.verification.records import headers_of, read_published
from streaming.verification.retention import Horizon, deleted_until, made_at
from streaming.verification.row_checks import StoredRecords
from streaming.verification.topic_reader import (
    CALL_SECONDS,
    Take,
    committed_offsets,
    open_reader,
    read_ranges,
)
from streaming.verification.trace import Trace

Progress = Callable[[str, int, int], None]
Range = tuple[int, int]


class Position(Struct, frozen=True):
    """A stored position: the next offset, how many records were read, and of which topic.

    Of the records `duplicates` were known: read twice, where a person moved the position back.
    """

    next_offset: int
    records: int
    duplicates: int
    topic_id: str
    cluster_id: str


class Moment(Struct, frozen=True):
    """What is compared up to where: all positions as they were at one moment."""

    stored: dict[TopicPartition, Position]
    committed: dict[TopicPartition, tuple[int, str | None]]
    bounds: dict[TopicPartition, Range]


class Compared(Struct):
    """The checks, the offsets that were compared (first, end), and since when (RFC 3339)."""

    checks: list[Check]
    offsets: dict[str, dict[int, Range]]
    since: str | None = None


def check_topics(
    connection: StoreConnection,
    settings: Settings,
    cluster: Cluster,
    group: str,
    progress: Progress,
) -> Compared:
    """Read the three topics as far back as Kafka holds them, and compare; `group` is ours.

    `progress` is told the topic, records read and offsets in all. Raises `Unavailable` where the
    brokers do not answer.
    """
    names = Names.of(settings)
    servers = cluster.bootstrap_servers
    with closing(open_reader(settings, servers, names.processor_group)) as reader:
        moment = _moment(connection, settings, cluster, group, reader)
        identity = _check_identity(moment, cluster, names.purchases)
        if identity.differing:
            return Compared([identity], {})
        trace, purchases = _trace(reader, moment, cluster, names, progress)
        outputs = {
            place: bounds for place, bounds in moment.bounds.items() if place[0] != names.purchases
        }
        since = deleted_until(reader, connection, names.analytics, outputs)
        horizon = Horizon(since)
        analytics = _below(moment, names.analytics)
        letters = _below(moment, names.dead_letters)
        records = StoredRecords(connection, analytics, letters)
        readable = Check("analytics is readable")
        takes = {
            names.analytics: _event_taker(trace, horizon, records, readable),
            names.dead_letters: _letter_taker(trace, records),
        }
        read_ranges(reader, outputs, takes, _counting(progress, "outputs", outputs))
    judged = horizon.bounds(purchases)
    counted = {
        p: (s.records, s.duplicates) for (t, p), s in moment.stored.items() if t == names.analytics
    }
    earliest = trace.earliest(judged)
    return Compared(
        checks=[
            identity,
            trace.check(judged),
            readable,
            records.check_events(counted),
            records.check_letters(),
        ],
        offsets={
            names.purchases: {p: (judged[p], end) for p, (_, end) in purchases.items()},
            names.analytics: analytics,
            names.dead_letters: letters,
        },
        since=None if earliest is None else rfc_3339(made_at(earliest)),
    )


def _moment(
    connection: StoreConnection,
    settings: Settings,
    cluster: Cluster,
    group: str,
    reader: Consumer,
) -> Moment:
    rows = connection.execute(
        "SELECT topic, partition, next_offset, records, duplicates, topic_id, cluster_id"
        " FROM stream_offset WHERE consumer_group = ?",
        (group,),
    )
    stored = {(row[0], row[1]): Position(*row[2:]) for row in rows}
    purchases = Names.of(settings).purchases
    places = [
        (name, number)
        for name, topic in cluster.topics.items()
        for number in range(topic.partitions)
    ]
    committed = committed_offsets(reader, [place for place in places if place[0] == purchases])
    admin = AdminClient(common_config(settings, cluster.bootstrap_servers, "verify"))
    return Moment(stored, committed, list_bounds(admin, places, stable=False, timeout=CALL_SECONDS))


def _check_identity(moment: Moment, cluster: Cluster, purchases: str) -> Check:
    """Compare cluster, topics and the logs' ends with what the positions say."""
    check = Check("cluster and topics")
    for (topic, number), position in sorted(moment.stored.items()):
        check.compared += 1
        known = cluster.topics.get(topic)
        _, end = moment.bounds.get((topic, number), (0, -1))
        if position.cluster_id != cluster.cluster_id:
            check.differ(
                f"The position of {topic}-{number} is of cluster {position.cluster_id}, this one"
                f" is {cluster.cluster_id}."
            )
        elif known is None or topic_id_text(known.topic_id) != position.topic_id:
            check.differ(f"{topic} was deleted and created again since {number} was read.")
        elif position.next_offset > end:
            check.differ(
                f"The position of {topic}-{number} is {position.next_offset}, but its log ends at"
                f" {end}."
            )
    expected = topic_id_text(cluster.topics[purchases].topic_id)
    for (topic, number), (offset, topic_id) in sorted(moment.committed.items()):
        check.compared += 1
        if offset >= 0 and topic_id and topic_id != expected:
            check.differ(f"{topic} was deleted and created again since {number} was processed.")
        elif offset > moment.bounds[topic, number][1]:
            check.differ(
                f"The processor's offset of {topic}-{number} is {offset}, its log ends at"
                f" {moment.bounds[topic, number][1]}."
            )
    return check


def _trace(
    reader: Consumer, moment: Moment, cluster: Cluster, names: Names, progress: Progress
) -> tuple[Trace, dict[int, Range]]:
    """Read `purchases` up to the processor's committed offsets."""
    ranges = {
        place: (moment.bounds[place][0], max(offset, moment.bounds[place][0]))
        for place, (offset, _) in moment.committed.items()
    }
    numbered = {number: bounds for (_, number), bounds in ranges.items()}
    trace = Trace(names.purchases, cluster.topics[names.purchases].topic_id, numbered)
    takes = {names.purchases: trace.purchase}
    read_ranges(reader, ranges, takes, _counting(progress, names.purchases, ranges))
    return trace, numbered


def _below(moment: Moment, topic: str) -> dict[int, Range]:
    """Give for each partition what Kafka still holds below the stored position."""
    ranges = {}
    for (name, number), (first, _) in moment.bounds.items():
        if name == topic:
            position = moment.stored.get((name, number))
            ranges[number] = (first, max(first, position.next_offset if position else first))
    return ranges


def _event_taker(trace: Trace, horizon: Horizon, records: StoredRecords, readable: Check) -> Take:
    def take(message: Message) -> None:
        readable.compared += 1
        try:
            event = read_published(message.value() or b"")
        except ValueError as error:
            readable.differ(
                f"{message.topic()}-{message.partition()} at {message.offset()} is no analytics"
                f" event: {error}."
            )
            return
        trace.event(event)
        if horizon.bounded:
            horizon.event(event)
        records.event(message, event)

    return take


def _letter_taker(trace: Trace, records: StoredRecords) -> Take:
    def take(message: Message) -> None:
        trace.letter(headers_of(message))
        records.letter(message)

    return take


def _counting(
    progress: Progress, what: str, ranges: dict[TopicPartition, Range]
) -> Callable[[int], None]:
    total = sum(end - first for first, end in ranges.values())
    done = 0

    def count(records: int) -> None:
        nonlocal done
        done += records
        progress(what, done, total)

    return count
