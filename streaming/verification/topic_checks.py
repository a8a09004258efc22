"""The topics against each other and against the database, at one moment while all goes on.

What is read by whom is planned here, and what the readers found is put together. What a single
comparison does is in `outputs`, `event_checks`, `dead_letter_checks` and `positions`.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import closing
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.system.home import Home
from streaming.units import rfc_3339
from streaming.verification.check import Check, sum_checks
from streaming.verification.checkpoint import (
    Checkpoint,
    StartOver,
    require_same_logs,
    since_checkpoint,
    stored_origins,
)
from streaming.verification.dead_letter_checks import JudgedDeadLetters, OriginId
from streaming.verification.event_checks import CHECK as EVENTS
from streaming.verification.outputs import CHECK as PURCHASES
from streaming.verification.outputs import check_outputs
from streaming.verification.partition_reader import (
    READABLE,
    DeadLetterPlan,
    EventPlan,
    EventReading,
    Judgement,
    PartitionReader,
    Plan,
    Question,
    Unreadable,
)
from streaming.verification.positions import TopicPositions, check_identity, read_positions
from streaming.verification.pseudonyms import check_erased, read_pseudonyms
from streaming.verification.reader_processes import Readers
from streaming.verification.retention import FirstJudged, deleted_until, time_of
from streaming.verification.topic_reader import Range, Ranges, TopicReader, open_reader

Progress = Callable[[str, int, int], None]
Key = TypeVar("Key", bound=Hashable)
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
    stored: Collection[OriginId] = ()


class _Run(Struct, frozen=True):
    """One comparison: who reads, up to where, and from which checkpoint on."""

    connection: StoreConnection
    settings: Settings
    cluster: Cluster
    readers: Readers
    progress: Progress
    checkpoint: Checkpoint | None
    names: Names
    positions: TopicPositions

    def since(self, ranges: Ranges) -> dict[TopicPartition, Range]:
        """Return what of the ranges the checkpoint does not have."""
        if self.checkpoint is None:
            return dict(ranges)
        return {
            one: since_checkpoint(self.checkpoint, one, bounds) for one, bounds in ranges.items()
        }

    def bounds(self, topic: str) -> dict[TopicPartition, Range]:
        """Return what Kafka holds of a topic."""
        return {one: bounds for one, bounds in self.positions.bounds.items() if one[0] == topic}

    def stored_ranges(self) -> dict[int, Range]:
        """Return what is compared of each partition of `analytics` below the stored position."""
        topic = self.names.analytics
        ranges = self.positions.stored_ranges(topic)
        since = self.since({(topic, number): bounds for number, bounds in ranges.items()})
        return {number: bounds for (_, number), bounds in since.items()}

    def whole(self) -> set[int]:
        """Return the partitions of `analytics` of which all is held that was counted."""
        return {
            number
            for number, (first, _) in self.positions.stored_ranges(self.names.analytics).items()
            if first == 0 or self.checkpoint is not None
        }

    def count_new(self) -> dict[int, tuple[int, int]]:
        """Return how many records the consumer read of each partition, and how many twice."""
        before = {} if self.checkpoint is None else self.checkpoint.counted
        return {
            number: (records - before.get(number, (0, 0))[0], again - before.get(number, (0, 0))[1])
            for number, (records, again) in self.positions.count_read(self.names.analytics).items()
        }

    def on_records(self, what: str, ranges: Ranges) -> Callable[[int], None]:
        """Return a function that adds to the records read, and shows their sum."""
        total, done = sum(end - first for first, end in ranges.values()), 0
        processes = f" in {self.readers.number} processes" if self.readers.number > 1 else ""

        def add(records: int) -> None:
            nonlocal done
            done += records
            self.progress(f"{what}{processes}", done, total)

        return add


def check_topics(  # noqa: PLR0913, PLR0917 - what is compared, by whom, and from where on
    connection: StoreConnection,
    settings: Settings,
    cluster: Cluster,
    group: str,
    readers: Readers,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> TopicComparison:
    """Compare the topics as far back as Kafka holds them, or from a checkpoint on.

    `group` is the consumer's. `progress` gets what is read, the records read and the offsets in
    all. Raises `Unavailable` if the brokers do not answer, and `StartOver` if nothing can rest on
    the checkpoint.
    """
    names = Names.of(settings)
    with closing(open_reader(settings, cluster.bootstrap_servers, names.processor_group)) as reader:
        positions = read_positions(connection, settings, cluster, group, reader)
        identity = check_identity(positions, cluster)
        # In another log the same offsets are other records: each of them would be reported as a
        # difference.
        if identity.differing:
            return TopicComparison([identity], {})
        if checkpoint is not None:
            require_same_logs(checkpoint, positions, cluster, names)
        run = _Run(connection, settings, cluster, readers, progress, checkpoint, names, positions)
        judged = FirstJudged(_deleted_until(run, reader))
        unreadable = reader.unreadable
    return _compare(run, identity, judged, unreadable)


def _deleted_until(run: _Run, reader: TopicReader) -> datetime | None:
    outputs = run.bounds(run.names.analytics) | run.bounds(run.names.dead_letters)
    after = 0 if run.checkpoint is None else run.checkpoint.row_of_logs
    return deleted_until(reader, run.connection, run.names.analytics, outputs, after)


def _compare(
    run: _Run, identity: Check, judged: FirstJudged, unreadable: Unreadable
) -> TopicComparison:
    """Read the topics, judge each record, and put together what the readers found."""
    names, positions, checkpoint = run.names, run.positions, run.checkpoint
    purchases = run.since(positions.processed_ranges())
    parts = _read_events(run, _read_purchases(run, purchases), judged)
    for part in parts:
        judged.take(part.first)
        unreadable |= part.unreadable
    # Since a checkpoint nothing that was published is deleted, so each record can be judged.
    first = (
        judged.first_offsets(purchases)
        if checkpoint is None
        else {one: start for one, (start, _) in purchases.items()}
    )
    proven = set() if checkpoint is None else stored_origins(checkpoint)
    judgements = _judge(run, parts, first, judged.since, proven)
    dead_letters = next(part.dead_letters for part in judgements if part.dead_letters is not None)
    is_changed = not proven <= dead_letters.stored or dead_letters.rows_of_others
    if checkpoint is not None and is_changed:
        raise StartOver
    oldest = [part.purchases.oldest for part in judgements if part.purchases.oldest is not None]
    return TopicComparison(
        checks=[identity, *_checks(run, parts, judgements, dead_letters, unreadable)],
        offsets={
            **by_topic({one: (first[one], end) for one, (_, end) in purchases.items()}),
            names.analytics: run.stored_ranges(),
            names.dead_letters: positions.stored_ranges(names.dead_letters),
        },
        since=rfc_3339(time_of(min(oldest))) if oldest else None,
        unreadable=[_unreadable_text(*batch) for batch in unreadable.items()],
        positions=positions,
        stored=dead_letters.stored,
    )


def _read_purchases(run: _Run, purchases: dict[TopicPartition, Range]) -> dict[TopicPartition, int]:
    """Let the readers read the purchases, each its partitions; return the least append times.

    Before the outputs, because an output is compared with the append time of its purchase.
    """
    plans = [
        Plan(
            servers=run.cluster.bootstrap_servers,
            topics={topic.topic_id: name for name, topic in run.cluster.topics.items()},
            all_purchases=purchases,
            purchases={one: purchases[one] for one in share},
            own=own,
            readers=run.readers.number,
        )
        for own, share in enumerate(share_out(purchases, run.readers.number))
    ]
    on_records = run.on_records("purchases", purchases)
    oldest: dict[TopicPartition, int] = {}
    for part in run.readers.run(PartitionReader.read_purchases, plans, on_records):
        oldest |= part
    return oldest


def _read_events(
    run: _Run, oldest: dict[TopicPartition, int], judged: FirstJudged
) -> list[EventReading]:
    """Let the readers read `analytics`, each its partitions, and the first the dead letters."""
    names, stored = run.names, run.stored_ranges()
    events = run.since(run.bounds(names.analytics))
    # The dead letters whole, because they are few, and no digest holds their rows.
    dead_letters = DeadLetterPlan(
        ranges=run.bounds(names.dead_letters),
        analytics=stored,
        stored=run.positions.stored_ranges(names.dead_letters),
    )
    plans = [
        EventPlan(
            oldest=oldest,
            ranges={one: events[one] for one in share},
            stored={number: stored[number] for _, number in share},
            analytics_id=topic_id_text(run.cluster.topics[names.analytics].topic_id),
            since=judged.since,
            checkpoint=run.checkpoint,
            dead_letters=None if number else dead_letters,
        )
        for number, share in enumerate(share_out(events, run.readers.number))
    ]
    on_records = run.on_records("outputs", events | dead_letters.ranges)
    return run.readers.run(PartitionReader.read_events, plans, on_records)


def _judge(
    run: _Run,
    parts: list[EventReading],
    first: dict[TopicPartition, int],
    since: datetime | None,
    proven: set[OriginId],
) -> list[Judgement]:
    """Let each reader judge what it read, now that all have read."""
    counted, events = run.count_new(), run.since(run.bounds(run.names.analytics))
    not_storable = set().union(*(part.not_storable for part in parts))
    redriven = [event for part in parts for event in part.redriven]
    whole = run.whole()
    questions = [
        Question(
            first_offsets=first,
            not_storable=not_storable,
            counted={number: counted[number] for _, number in share if number in counted},
            whole=whole,
            redriven=redriven,
            since=since,
            proven=proven,
            after=0 if run.checkpoint is None else run.checkpoint.row,
        )
        for share in share_out(events, run.readers.number)
    ]
    run.progress("the rows", 0, 0)
    return run.readers.run(PartitionReader.judge, questions, lambda _: None)


def _checks(
    run: _Run,
    parts: list[EventReading],
    judgements: list[Judgement],
    dead_letters: JudgedDeadLetters,
    unreadable: Unreadable,
) -> list[Check]:
    pseudonym_of = read_pseudonyms(run.connection, Home(run.settings.home).erasures)
    return [
        check_outputs(
            [part.purchases for part in judgements],
            sum_checks(PURCHASES, [part.without_record for part in parts]),
            parts[0].refused_again,
        ),
        dead_letters.events,
        sum_checks(READABLE, [part.readable for part in parts]),
        check_unpacked(unreadable, run.positions.read_offsets()),
        sum_checks(EVENTS, [part.events for part in judgements]),
        dead_letters.rows,
        check_erased(
            run.connection, pseudonym_of, 0 if run.checkpoint is None else run.checkpoint.row
        ),
    ]


def share_out(sizes: Mapping[Key, Range], number: int) -> list[list[Key]]:
    """Share partitions out among so many readers, the largest first to whom has the least."""
    shares: list[list[Key]] = [[] for _ in range(number)]
    loads = [0] * number
    for one, (first, end) in sorted(sizes.items(), key=lambda item: item[1][0] - item[1][1]):
        least = loads.index(min(loads))
        shares[least].append(one)
        loads[least] += end - first
    return shares


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
