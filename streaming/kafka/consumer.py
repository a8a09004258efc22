"""A member of a consumer group that starts where its caller says, and gives records.

Fetching, ownership of partitions and positions live here. What is done with the records does not,
nor where positions are stored.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Mismatch, Unrecoverable
from streaming.events.record import Record, TopicPartition
from streaming.kafka.client_errors import ErrorWatch, is_said_once, refusal_of
from streaming.kafka.config import Config
from streaming.kafka.offsets import list_partitions
from streaming.kafka.records import READ_BYTES, bytes_of, first_offsets, unpack
from streaming.kafka.unreadable_batch import UNREADABLE, unreadable_message
from streaming.runtime.limits import CALL_SECONDS
from streaming.system.deadline import Deadline
from streaming.system.logs import get_logger

LookUp = Callable[[Sequence[PartitionOffset]], list[PartitionOffset]]

FETCHER_START_SECONDS: Final = 0.01
"""Between two seeks, while the fetcher of a new assignment starts."""
CLOSE_SECONDS: Final = 2.0
"""How long a rebalance is waited for before closing; a process has 10 s to end in."""
UNPACKED_MESSAGES: Final = 50
"""Taken from the client at once, which makes objects of all their headers: some 70 bytes of four
sent (docs/decisions/0078)."""


class GroupConsumer:
    """A static member of a classic group, read committed, that starts where `look_up` says.

    It reads for `app` the topics that `topic_ids` names, each with its 16-byte id. Of these the
    group shares out all but the `followers`, which the owner of a partition 0 reads whole.
    `look_up` returns the next offset of each partition (negative: from the beginning), and raises
    `Mismatch` if going on would lose data. It is called inside `fetch` and `rewind`, and its error
    leaves by them.
    """

    def __init__(
        self,
        app: str,
        config: Config,
        topic_ids: Mapping[str, bytes],
        look_up: LookUp,
        followers: AbstractSet[str] = frozenset(),
    ) -> None:
        self.errors = ErrorWatch()
        self.refusal: str | None = None
        self._app = app
        self._config = config
        self._topic_ids = topic_ids
        self._look_up = look_up
        self._followers = followers
        self._failure: Exception | None = None
        self._is_assigned = False
        self._closing = False
        self._revoked: set[TopicPartition] = set()
        self._put_back: list[Record] = []
        self._unread: list[Message] = []
        self._is_paused = False
        self._starts: dict[TopicPartition, int] = {}
        self._consumer = Consumer({**config, "error_cb": self.errors})
        # Lost partitions need no more than revoked ones: callbacks run inside `fetch`, where no
        # transaction is open.
        shared = [topic for topic in topic_ids if topic not in followers]
        self._consumer.subscribe(
            shared, on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def fetch(self, maximum: int, linger: float) -> list[Record]:
        """Wait up to 100 ms for a first record, then `linger` seconds for up to `maximum`.

        Records that were put back come first, and what else there is without waiting. Large keys
        and headers make them fewer. Blocks for longer while the group rebalances, because assigning
        partitions looks their offsets up. Raises `Unrecoverable` for what only a new process mends,
        `Mismatch` for a position that the log does not have. If the broker forbids to read, it sets
        `refusal`.
        """
        self._revoked.clear()
        self.refusal = None
        records, self._put_back = self._put_back, []
        if not records and not self._unread:
            self._set_paused(is_paused=False)
        # `consume` alone would wait its whole timeout for `maximum` records of a trickle.
        first = self._consumer.poll(0 if records or self._unread else 0.1)
        self._unread += [] if first is None else [first]
        # Behind large ones that were put back nothing more is unpacked.
        if self._unread and not (self._is_paused and records):
            self._unpack(records, maximum, Deadline.after(linger))
        # A callback's exception would be lost in the client: it is kept, and leaves from here.
        if self._failure is not None:
            raise self._failure
        return self._drop_revoked(records) if self._revoked else records

    def _unpack(self, records: list[Record], maximum: int, end: Deadline) -> None:
        """Add those of unread messages, and of others that come until `end`, up to `maximum`.

        If that or `READ_BYTES` leaves something unread, the client pauses: it bounds what it reads
        ahead by values alone.
        """
        left = READ_BYTES - sum(map(bytes_of, records))
        while left > 0:
            room = maximum - len(records)
            more = 0 if self._is_paused else min(room, UNPACKED_MESSAGES) - len(self._unread)
            self._unread += self._consumer.consume(more, end.left()) if more > 0 else []
            if not self._unread or room <= 0:
                break
            unpacked = unpack(self._unread[:room], self._topic_ids, left)
            messages = self._unread[: unpacked.messages]
            self._unread = self._unread[unpacked.messages :]
            records += unpacked.records
            left -= unpacked.size
            # Errors are rare: they are only looked for if a message became no record.
            if len(unpacked.records) < unpacked.messages:
                self._handle_errors(messages, {(r.topic, r.partition) for r in records})
        self._set_paused(is_paused=bool(self._unread) or left <= 0)

    def put_back(self, records: Sequence[Record]) -> None:
        """Take back the last records of a fetch: they come again first, in their order.

        Until then positions and bounds stand before them. Of a partition that is revoked or rewound
        they are dropped, because they are read again.
        """
        self._put_back = list(records)

    def _set_paused(self, *, is_paused: bool) -> None:
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            change = self._consumer.pause if is_paused else self._consumer.resume
            change(self.assignment())

    def _forget(self, partitions: AbstractSet[TopicPartition]) -> None:
        self._put_back = [r for r in self._put_back if (r.topic, r.partition) not in partitions]
        owned = {(p.topic, p.partition) for p in self.assignment()}
        self._unread = [
            message
            for message in self._unread
            for at in [(message.topic(), message.partition())]
            if at not in partitions or (at in owned and is_said_once(message))
        ]
        self._set_paused(is_paused=bool(self._unread))

    def _drop_revoked(self, records: list[Record]) -> list[Record]:
        """Drop the records of partitions that were revoked during the fetch.

        One of these may have been assigned again meanwhile, and its records be of before that.
        """
        revoked = self._revoked
        kept = [record for record in records if (record.topic, record.partition) not in revoked]
        self._forget(revoked)
        self.rewind([p for p in self.assignment() if (p.topic, p.partition) in revoked])
        return kept

    def assignment(self) -> list[PartitionOffset]:
        """Return the partitions that this member owns now."""
        return self._consumer.assignment()

    def positions(self) -> dict[TopicPartition, PartitionOffset]:
        """Return the position in each owned partition that was read, past transaction markers.

        Each has the leader epoch of what stands before it, by which a later assignment notices a
        log that was cut meanwhile and grew again.
        """
        return {(p.topic, p.partition): p for p in self._read_positions() if p.offset >= 0}

    def rewind(self, partitions: Sequence[PartitionOffset]) -> None:
        """Go back to the stored positions, dropping what was read ahead.

        Raises what `look_up` does, and `Unrecoverable` if a seek fails.
        """
        # Before the seeks: a later resumption would go on where the client paused.
        self._forget({(p.topic, p.partition) for p in partitions})
        for partition in self._look_up_starts(partitions):
            try:
                self._consumer.seek(partition)
            except KafkaException as error:
                # A partition that was taken away meanwhile is looked up when it is assigned again.
                if error.args[0].code() != KafkaError._STATE:
                    raise Unrecoverable(f"cannot seek: {error.args[0].str()}") from None

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return position and end of each owned partition; an end is -1 before the first answer."""
        bounds = {}
        for at in self._read_positions():
            partition = (at.topic, at.partition)
            # The client knows no position before the first record.
            start = max(self._starts.get(partition, 0), 0)
            bounds[partition] = (at.offset if at.offset >= 0 else start, self._end(partition))
        return bounds

    def group_metadata(self) -> object:
        """Return what a transaction needs to fence by this member's generation (KIP-447)."""
        return self._consumer.consumer_group_metadata()

    def read_committed_offsets(
        self, partitions: Sequence[PartitionOffset]
    ) -> list[PartitionOffset]:
        """Return the group's committed offsets, asked of the broker; blocks for 5 s at most."""
        return self._consumer.committed(list(partitions), timeout=CALL_SECONDS)

    def commit_for_monitoring(self, positions: Mapping[TopicPartition, int]) -> None:
        """Commit positions without waiting; only tools that watch a group's lag read them."""
        offsets = [PartitionOffset(*partition, offset) for partition, offset in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Nothing depends on it, and the next batch commits again.
            get_logger().debug("commit_for_monitoring_failed", error=error.args[0].str())

    def broker_answers(self) -> bool:
        """Probe the broker for at most a second, after it was reported down."""
        if self.errors.all_brokers_down:
            try:
                # Only after an error, because each question blocks the loop for a round trip.
                self._consumer.list_topics(timeout=1)
            except KafkaException:
                return False
            self.errors.all_brokers_down = False
        return True

    def close(self) -> None:
        """Leave without giving up the static membership, so that a restart goes on at once.

        Blocks for `CLOSE_SECONDS` while the group rebalances. What is fetched meanwhile is dropped.
        """
        self._closing = True
        deadline = Deadline.after(CLOSE_SECONDS)
        # Closing begins with a revocation. The client takes an assignment that is still to be
        # served for that one, and waits for the answer forever (librdkafka #4884).
        self._consumer.poll(0)
        while not self._is_assigned and not deadline.is_over():
            self._consumer.poll(0.1)
        self._consumer.close()

    def _read_positions(self) -> list[PartitionOffset]:
        """Return the position of each owned partition, before what was put back or is unread."""
        positions = self._consumer.position(self.assignment())
        if self._put_back or self._unread:
            first = first_offsets(self._put_back, self._unread)
            # The epoch stays: that of a later record is as good for noticing a log that was cut.
            for at in positions:
                at.offset = first.get((at.topic, at.partition), at.offset)
        return positions

    def _end(self, partition: TopicPartition) -> int:
        # The cached watermark comes with each fetch response; to ask the broker would block.
        _, end = self._consumer.get_watermark_offsets(PartitionOffset(*partition), cached=True)
        return max(end, -1)

    def _look_up_starts(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        starts = self._look_up(partitions) if partitions else []
        for start in starts:
            self._starts[start.topic, start.partition] = start.offset
            if start.offset < 0:
                start.offset = OFFSET_BEGINNING
        return starts

    def _assign(self, consumer: Consumer, partitions: list[PartitionOffset]) -> None:
        self._is_assigned = True
        # A member of an earlier release was assigned these too, and comes back to what it had.
        partitions = [p for p in partitions if p.topic not in self._followers]
        if self._closing:
            # Nothing will be read: no position is looked up for it, nor left to the client.
            for partition in partitions:
                partition.offset = OFFSET_END
            return consumer.incremental_assign(partitions)
        try:
            starts = self._look_up_starts(partitions + self._following(partitions))
            consumer.incremental_assign(starts)
            if self._is_paused:
                consumer.pause(starts)
            self._validate(starts)
        except Exception as error:
            self._failure = error
            # If a callback assigns nothing, the client assigns the partitions as it likes.
            consumer.incremental_assign([])

    def _following(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Return all partitions of the followers, if a partition 0 is assigned."""
        if all(p.partition != 0 for p in partitions):
            return []
        return list_partitions(self._consumer, self._followers, CALL_SECONDS)

    def _validate(self, starts: Sequence[PartitionOffset]) -> None:
        """Have the leader compare the positions' epochs with its log, which only a seek does.

        A log that was cut and has grown again is then an error of the next fetch.
        """
        for start in starts:
            # Before offset 0 nothing stands that could have been cut.
            if start.offset > 0 and start.leader_epoch is not None:
                self._seek_once_started(start)

    def _seek_once_started(self, start: PartitionOffset) -> None:
        """Seek, waiting for a fetcher that was assigned a moment ago: it refuses until it runs."""
        deadline = Deadline.after(CALL_SECONDS)
        while True:
            try:
                return self._consumer.seek(start)
            except KafkaException as error:
                starting = error.args[0].code() == KafkaError._STATE
                if not starting or deadline.is_over():
                    raise Unrecoverable(f"cannot seek: {error.args[0].str()}") from None
            time.sleep(FETCHER_START_SECONDS)

    def _revoke(self, consumer: Consumer, partitions: list[PartitionOffset]) -> None:
        self._is_assigned = False
        partitions = [p for p in partitions if p.topic not in self._followers]
        if any(p.partition == 0 for p in partitions):
            partitions += [p for p in self.assignment() if p.topic in self._followers]
        # The fetch that serves this callback drops their records, before an app sees them.
        self._revoked.update((p.topic, p.partition) for p in partitions)
        if self._is_paused:
            # The client keeps a pause over a revocation: the partition would come back with it.
            consumer.resume(partitions)
        consumer.incremental_unassign(partitions)

    def _handle_errors(
        self, messages: Sequence[Message], fetched: AbstractSet[TopicPartition]
    ) -> None:
        """Note the errors that pass by themselves; raise for the first other one.

        A batch that cannot be unpacked is met again with the next fetch: until the records before
        it, of a partition that is in `fetched`, are committed, the reset would pass over them.
        """
        for message in messages:
            error = message.error()
            if error is not None and error.code() == UNREADABLE:
                if (message.topic(), message.partition()) not in fetched:
                    raise Mismatch(unreadable_message(self._config, message, self._app))
            elif error is not None:
                at = "" if message.offset() is None else f" at {message.offset()}"
                position = f"{message.topic()}-{message.partition()}{at}"
                # Not raised, because what was fetched along with it would be skipped.
                self.refusal = refusal_of(error, position, self.errors) or self.refusal
