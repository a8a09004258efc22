"""The topics against each other and against the database, at one moment while all goes on.

What a single comparison does is in `outputs`, `row_checks` and `positions`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import TypeVar

from confluent_kafka import Message
from msgspec import Struct

from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.system.home import Home
from streaming.units import rfc_3339
from streaming.verification.check import Check
from streaming.verification.checkpoint import (
    Checkpoint,
    StartOver,
    is_new_letter,
    require_first_event,
    require_same_logs,
    since_checkpoint,
    stored_places,
)
from streaming.verification.outputs import OutputCounts
from streaming.verification.positions import TopicPositions, check_identity, read_positions
from streaming.verification.pseudonyms import check_erased, read_pseudonyms
from streaming.verification.records import PublishedEvent, headers_of, read_published
from streaming.verification.retention import FirstJudged, deleted_until, time_of
from streaming.verification.row_checks import Place, RowComparison
from streaming.verification.topic_reader import Range, TopicReader, open_reader, read_ranges

Progress = Callable[[str, int, int], None]
Value = TypeVar("Value")


class TopicComparison(Struct, frozen=True):
    """The checks, the offsets that were compared (first, end), and since when (RFC 3339).

    `unreadable` are sentences about batches that nobody can unpack. `stored` are the dead letters
    whose event was found; without `positions` the topics were not compared.
    """

    checks: list[Check]
    offsets: dict[str, dict[int, Range]]
    since: str | None = None
    unreadable: list[str] = []
    positions: TopicPositions | None = None
    stored: Collection[Place] = ()


def check_topics(  # noqa: PLR0913, PLR0917 - what is compared, and from where on
    connection: StoreConnection,
    settings: Settings,
    cluster: Cluster,
    group: str,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> TopicComparison:
    """Compare the topics as far back as Kafka holds them, or from a checkpoint on.

    `group` is the consumer's. `progress` gets the topic, the records read and the offsets in all.
    Raises `Unavailable` if the brokers do not answer, and `StartOver` if nothing can rest on the
    checkpoint.
    """
    names = Names.of(settings)
    servers = cluster.bootstrap_servers
    with closing(open_reader(settings, servers, names.processor_group)) as reader:
        positions = read_positions(connection, settings, cluster, group, reader)
        identity = check_identity(positions, cluster)
        # In another log the same offsets are other records: each of them would be reported as a
        # difference.
        if identity.differing:
            return TopicComparison([identity], {})
        pseudonym_of = read_pseudonyms(connection, Home(settings.home).erasures)
        purchases = positions.processed()
        topics = {topic.topic_id: name for name, topic in cluster.topics.items()}
        analytics = positions.stored_ranges(names.analytics)
        whole = {number for number, (first, _) in analytics.items() if first == 0}
        if checkpoint is not None:
            require_same_logs(checkpoint, positions, cluster, names)
            purchases = {
                one: since_checkpoint(checkpoint, one, bounds) for one, bounds in purchases.items()
            }
            whole = set(analytics)
            analytics = {
                number: since_checkpoint(checkpoint, (names.analytics, number), bounds)
                for number, bounds in analytics.items()
            }
        outputs = OutputCounts(topics, purchases)
        # First the purchases, because an output is compared with the append time of its purchase.
        _read_purchases(reader, outputs, purchases, progress)
        dead_letters = positions.stored_ranges(names.dead_letters)
        analytics_id = topic_id_text(cluster.topics[names.analytics].topic_id)
        rows = RowComparison(
            connection, names.redrive, analytics, dead_letters, analytics_id, pseudonym_of
        )
        readable, judged = _read_outputs(
            reader, connection, names, positions, outputs, rows, progress, checkpoint, topics
        )
        unpacked = check_unpacked(reader.unreadable, positions.passed())
    first = judged.first_offsets(purchases)
    if checkpoint is not None:
        # Nothing that was published since is deleted, so each record can be judged.
        first = {one: start for one, (start, _) in purchases.items()}
    proven = set() if checkpoint is None else stored_places(checkpoint)
    stored = rows.stored_dead_letters()
    if checkpoint is not None and (not proven <= stored or rows.has_rows_of_others(checkpoint.row)):
        raise StartOver
    read = by_topic({one: (first[one], end) for one, (_, end) in purchases.items()})
    oldest = outputs.oldest(first)
    return TopicComparison(
        checks=[
            identity,
            outputs.check(first),
            rows.check_stored_dead_letters(judged.since, proven),
            readable,
            unpacked,
            rows.check_events(_counted(positions, names, checkpoint), whole),
            rows.check_dead_letters(),
            check_erased(connection, pseudonym_of, 0 if checkpoint is None else checkpoint.row),
        ],
        offsets={**read, names.analytics: analytics, names.dead_letters: dead_letters},
        since=None if oldest is None else rfc_3339(time_of(oldest)),
        unreadable=[_unreadable_text(*batch) for batch in reader.unreadable.items()],
        positions=positions,
        stored=stored,
    )


def check_unpacked(
    unreadable: Mapping[tuple[TopicPartition, int], int], passed: Mapping[TopicPartition, int]
) -> Check:
    """Judge the batches that nobody can unpack: the app that reads the topic must be past them.

    Their records have no output, and nothing says what they were. `unreadable` has the offset
    behind each batch by partition and first offset, `passed` the offset up to which the app is.
    """
    check = Check("batches that can be unpacked")
    for (partition, first), end in unreadable.items():
        check.compared += 1
        if end > passed.get(partition, 0):
            check.differ(_unreadable_text((partition, first), end))
    return check


def _unreadable_text(batch: tuple[TopicPartition, int], end: int) -> str:
    ((topic, number), first) = batch
    return (
        f"{end - first:,} records of {topic}-{number} from {first} on cannot be unpacked, and are"
        " not verified."
    )


def by_topic(values: Mapping[TopicPartition, Value]) -> dict[str, dict[int, Value]]:
    """Return the values of partitions by topic, and there by the partition's number."""
    topics: dict[str, dict[int, Value]] = {}
    for (topic, number), value in values.items():
        topics.setdefault(topic, {})[number] = value
    return topics


def _counted(
    positions: TopicPositions, names: Names, checkpoint: Checkpoint | None
) -> dict[int, tuple[int, int]]:
    """Return how many records the consumer read of each partition, and how many of them twice."""
    before = {} if checkpoint is None else checkpoint.counted
    return {
        number: (records - before.get(number, (0, 0))[0], known - before.get(number, (0, 0))[1])
        for number, (records, known) in positions.counted(names.analytics).items()
    }


def _read_purchases(
    reader: TopicReader,
    outputs: OutputCounts,
    purchases: dict[TopicPartition, Range],
    progress: Progress,
) -> None:
    for message in _read(reader, purchases, "purchases", progress):
        outputs.add_purchase(
            (message.topic() or "", message.partition() or 0),
            message.offset() or 0,
            message.timestamp()[1],
            headers_of(message),
        )


def _read_outputs(  # noqa: PLR0913, PLR0917 - the two topics, and what each record is added to
    reader: TopicReader,
    connection: StoreConnection,
    names: Names,
    positions: TopicPositions,
    outputs: OutputCounts,
    rows: RowComparison,
    progress: Progress,
    checkpoint: Checkpoint | None,
    topic_ids: Mapping[bytes, str],
) -> tuple[Check, FirstJudged]:
    """Add every record of `analytics` and of the dead letters to what compares it."""
    topics = {names.analytics, names.dead_letters}
    ranges = {one: bounds for one, bounds in positions.bounds.items() if one[0] in topics}
    # Before the whole ranges are assigned, because finding a first record takes the reader's
    # assignment.
    judged = FirstJudged(deleted_until(reader, connection, names.analytics, ranges))
    if checkpoint is not None:
        # The dead letters whole, because they are few, and no digest holds their rows.
        ranges = {
            one: since_checkpoint(checkpoint, one, bounds) if one[0] == names.analytics else bounds
            for one, bounds in ranges.items()
        }
    readable = Check("analytics is readable")
    dead_letters = names.dead_letters
    for message in _read(reader, ranges, "outputs", progress):
        if message.topic() == dead_letters:
            headers = headers_of(message)
            if checkpoint is None or is_new_letter(checkpoint, topic_ids, message, headers):
                outputs.add_dead_letter(headers)
            rows.add_dead_letter(message)
            continue
        readable.compared += 1
        event = _published(message)
        # Asked once: the client makes a new object at each call, for each record.
        number, offset = message.partition() or 0, message.offset() or 0
        if rows.take_not_storable(number, offset):
            if isinstance(event, PublishedEvent):
                outputs.add_not_storable(event)
        elif isinstance(event, PublishedEvent):
            if checkpoint is not None:
                require_first_event(checkpoint, message, event)
            outputs.add_event(event)
            judged.add_event(event)
            rows.add_event(number, offset, message, event)
        elif rows.is_below_position(number, offset):
            readable.differ(
                f"{message.topic()}-{number} at {offset} is no analytics"
                f" event ({event}), and dead_letter has no row of it."
            )
    return readable, judged


def _published(message: Message) -> PublishedEvent | str:
    """Return the event of a record of `analytics`, or why it is none."""
    try:
        return read_published(message.value() or b"")
    except (ValueError, RecursionError) as error:
        return str(error)


def _read(
    reader: TopicReader, ranges: dict[TopicPartition, Range], what: str, progress: Progress
) -> Iterator[Message]:
    total = sum(end - first for first, end in ranges.values())
    done = 0
    for messages in read_ranges(reader, ranges):
        yield from messages
        done += len(messages)
        progress(what, done, total)
