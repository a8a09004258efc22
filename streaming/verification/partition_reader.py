"""What one process does of a comparison: it reads its partitions, and judges what it read.

`topic_checks` plans the steps and puts their results together. A step takes and returns values
alone, so that `reader_processes` can send them to a process.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from mmap import mmap

from confluent_kafka import Message
from msgspec import Struct

from streaming.events.record import TopicPartition
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.system.home import Home
from streaming.verification.check import Check
from streaming.verification.checkpoint import Checkpoint, is_new_dead_letter, require_first_event
from streaming.verification.dead_letter_checks import (
    DeadLetterComparison,
    JudgedDeadLetters,
    OriginId,
)
from streaming.verification.event_checks import EventComparison, RedrivenEvent
from streaming.verification.outputs import Attempt, JudgedPurchases, OutputCounts, memory_bytes
from streaming.verification.pseudonyms import read_pseudonyms
from streaming.verification.records import PublishedEvent, headers_of, read_published
from streaming.verification.retention import FirstJudged
from streaming.verification.topic_reader import Range, open_reader, read_ranges

OnRecords = Callable[[int], None]
"""It gets how many records were read since the last call."""
Unreadable = dict[tuple[TopicPartition, int], int]
READABLE = "analytics is readable"


class Plan(Struct, frozen=True, kw_only=True):
    """What the readers share, and which `purchases` number `own` of them reads.

    `topics` are names by id, `all_purchases` the ranges of every reader.
    """

    servers: str
    topics: dict[bytes, str]
    all_purchases: dict[TopicPartition, Range]
    purchases: dict[TopicPartition, Range]
    own: int
    readers: int


class DeadLetterPlan(Struct, frozen=True, kw_only=True):
    """What one reader alone reads: all dead letters, because they are few.

    `analytics` and `stored` are first offset and position of each partition of both outputs.
    """

    ranges: dict[TopicPartition, Range]
    analytics: dict[int, Range]
    stored: dict[int, Range]


class EventPlan(Struct, frozen=True, kw_only=True):
    """Which partitions of `analytics` a reader reads, and up to where they are stored.

    `oldest` are the least append times of purchases, `since` is what `deleted_until` returns.
    """

    oldest: dict[TopicPartition, int]
    ranges: dict[TopicPartition, Range]
    stored: dict[int, Range]
    analytics_id: str
    since: datetime | None
    checkpoint: Checkpoint | None
    dead_letters: DeadLetterPlan | None


class EventReading(Struct, frozen=True, kw_only=True):
    """What a reader's events came to: see `OutputCounts`, `FirstJudged` and `EventComparison`."""

    first: dict[TopicPartition, int]
    readable: Check
    without_record: Check
    not_storable: Collection[tuple[TopicPartition, int]]
    redriven: list[RedrivenEvent]
    refused_again: Counter[Attempt]
    unreadable: Unreadable


class Question(Struct, frozen=True, kw_only=True):
    """What is to be judged: purchases from their first offsets on, and the events as counted.

    `redriven`, `since` and `proven` are for the reader of the dead letters.
    """

    first_offsets: dict[TopicPartition, int]
    not_storable: Collection[tuple[TopicPartition, int]]
    counted: dict[int, tuple[int, int]]
    whole: Collection[int]
    redriven: list[RedrivenEvent]
    since: datetime | None
    proven: Collection[OriginId]
    after: int


class Judgement(Struct, frozen=True):
    """What one reader judged; `dead_letters` are None unless it read them."""

    purchases: JudgedPurchases
    events: Check
    dead_letters: JudgedDeadLetters | None


class PartitionReader:
    """One reader with its snapshot of the store; `memory` is what all readers share."""

    def __init__(
        self, settings: Settings, store: StoreConnection, memory: Callable[[int], mmap]
    ) -> None:
        self._settings = settings
        self._names = Names.of(settings)
        self._store = store
        self._memory = memory
        self._dead_letters: DeadLetterComparison | None = None

    def read_purchases(self, plan: Plan, on_records: OnRecords) -> dict[TopicPartition, int]:
        """Note every purchase of its partitions; return the least append times."""
        self._servers, self._topics = plan.servers, plan.topics
        self._unreadable: Unreadable = {}
        # Shared, because the output of a purchase may be in a partition that another reader reads.
        memory = self._memory(memory_bytes(plan.all_purchases, plan.readers))
        outputs = OutputCounts(plan.topics, plan.all_purchases, memory, plan.readers, plan.own)
        self._outputs = outputs
        for message in self._read(plan.purchases, on_records):
            outputs.add_purchase(
                (message.topic() or "", message.partition() or 0),
                message.offset() or 0,
                message.timestamp()[1],
                headers_of(message),
            )
        return outputs.oldest_times()

    def read_events(self, plan: EventPlan, on_records: OnRecords) -> EventReading:
        """Count the events of its partitions for their purchases, and keep them for `judge`."""
        outputs, checkpoint = self._outputs, plan.checkpoint
        outputs.set_oldest_times(plan.oldest)
        judged = FirstJudged(plan.since)
        self._events = events = EventComparison(
            self._store,
            self._names.redrive,
            plan.stored,
            plan.analytics_id,
            read_pseudonyms(self._store, Home(self._settings.home).erasures),
            0 if checkpoint is None else checkpoint.row,
        )
        readable = Check(READABLE)
        for message in self._read(plan.ranges, on_records):
            readable.compared += 1
            event = _read_event(message)
            # Asked once: the client makes a new object at each call, for each record.
            number, offset = message.partition() or 0, message.offset() or 0
            if events.take_not_storable(number, offset):
                if isinstance(event, PublishedEvent):
                    outputs.add_not_storable(event)
            elif isinstance(event, PublishedEvent):
                if checkpoint is not None:
                    require_first_event(checkpoint, message, event)
                outputs.add_event(event)
                judged.add_event(event)
                events.add_event(number, offset, message, event)
            elif events.is_below_position(number, offset):
                readable.differ(
                    f"{message.topic()}-{number} at {offset} is no analytics"
                    f" event ({event}), and dead_letter has no row of it."
                )
        if plan.dead_letters is not None:
            self._read_dead_letters(plan.dead_letters, checkpoint, on_records)
        return EventReading(
            first=judged.first,
            readable=readable,
            without_record=outputs.without_record,
            not_storable=outputs.not_storable,
            redriven=events.redriven,
            refused_again=outputs.refused_again,
            unreadable=self._unreadable,
        )

    def judge(self, question: Question, _: OnRecords) -> Judgement:
        """Judge its purchases, once all readers have read, and compare its outputs with rows."""
        self._outputs.not_storable = set(question.not_storable)
        dead_letters = self._dead_letters
        if dead_letters is not None:
            dead_letters.add_redriven(question.redriven)
        return Judgement(
            self._outputs.judge(question.first_offsets),
            self._events.check(question.counted, question.whole),
            None
            if dead_letters is None
            else dead_letters.judge(question.since, question.proven, question.after),
        )

    def _read_dead_letters(
        self, plan: DeadLetterPlan, checkpoint: Checkpoint | None, on_records: OnRecords
    ) -> None:
        self._dead_letters = dead_letters = DeadLetterComparison(
            self._store, plan.analytics, plan.stored
        )
        for message in self._read(plan.ranges, on_records):
            headers = headers_of(message)
            if checkpoint is None or is_new_dead_letter(checkpoint, self._topics, message, headers):
                self._outputs.add_dead_letter(headers)
            dead_letters.add(message)

    def _read(
        self, ranges: Mapping[TopicPartition, Range], on_records: OnRecords
    ) -> Iterator[Message]:
        group = self._names.processor_group
        with closing(open_reader(self._settings, self._servers, group)) as reader:
            for messages in read_ranges(reader, ranges):
                yield from messages
                on_records(len(messages))
            self._unreadable |= reader.unreadable


def _read_event(message: Message) -> PublishedEvent | str:
    """Return the event of a record of `analytics`, or why it is none."""
    try:
        return read_published(message.value() or b"")
    except (ValueError, RecursionError) as error:
        return str(error)
