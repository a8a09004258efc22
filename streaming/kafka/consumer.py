"""A group's member that owns its positions: where to start is asked of whoever stores them.

Fetching, ownership and the identity of topics live here; what is done with the messages does not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Final, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Mismatch, Unrecoverable
from streaming.events.record import UNREADABLE, Headers
from streaming.kafka.config import Config
from streaming.system.logs import RateLimitedLogger, get_logger

LookUp = Callable[[Sequence[PartitionOffset]], list[PartitionOffset]]

CALL_SECONDS: Final = 5.0
START_LOOK_SECONDS: Final = 0.01
PASSING: Final = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)


_headers = cast("Callable[[Message], Headers | None]", Message.headers)
_notice_a_failure = methodcaller("__len__")
"""Where the client fails and gives a result all the same, Python sees it at the next such call."""


def offset_at(
    place: tuple[str, int], offset: int, leader_epoch: int | None, metadata: str = ""
) -> PartitionOffset:
    """Give an offset as the client takes it; without an epoch, as of Kafka's old formats, too."""
    return PartitionOffset(*place, offset, metadata, -1 if leader_epoch is None else leader_epoch)


def headers_of(message: Message) -> Headers:
    """Give a message's headers; librdkafka always gives a list of pairs of text and bytes.

    A name that is not UTF-8 makes the client fail, and what it then keeps of the headers ends the
    process when they are asked for again: so they are replaced at once.
    """
    try:
        headers = _headers(message)
        if headers is None:
            return ()
        _notice_a_failure(headers)
    except (SystemError, UnicodeDecodeError):
        message.set_headers([UNREADABLE])
        return (UNREADABLE,)
    return headers


class ErrorWatch:
    """Takes the clients' error callback: remembers that no broker answers, logs once a second."""

    def __init__(self) -> None:
        self.all_brokers_down = False
        self._log = RateLimitedLogger()

    def __call__(self, error: KafkaError) -> None:
        """Take one error, from any of the clients' threads."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_brokers_down = True
        self._log.warning("kafka_error", code=error.name(), error=error.str())


class GroupConsumer:
    """A static member of a classic group, read committed, that starts where `look_up` says.

    `look_up` gives for each partition its next offset (negative: from the beginning) and raises
    `Mismatch` where going on would lose data; its error reaches the caller of `fetch`.
    """

    def __init__(self, config: Config, topics: Sequence[str], look_up: LookUp) -> None:
        self.errors = ErrorWatch()
        self._look_up = look_up
        self._failure: Exception | None = None
        self._void: set[tuple[str, int]] = set()
        self._starts: dict[tuple[str, int], int] = {}
        self._consumer = Consumer({**config, "error_cb": self.errors})
        self._consumer.subscribe(
            list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def fetch(self, maximum: int, linger: float) -> list[Message]:
        """Wait up to 100 ms for a first message, then `linger` seconds for up to `maximum`.

        Raises `Unrecoverable` for what only a new process mends, `Mismatch` for a position that
        the log does not have.
        """
        self._void.clear()
        first = self._consumer.poll(0.1)
        messages = [] if first is None else [first]
        if messages:
            messages += self._consumer.consume(maximum - 1, linger)
        if self._failure is not None:
            raise self._failure
        good = [message for message in messages if message.error() is None]
        if len(good) < len(messages):
            self._look_at_errors(messages)
        if not self._void:
            return good
        return self._drop_void(good)

    def _drop_void(self, messages: list[Message]) -> list[Message]:
        """Drop what belongs to partitions that were taken away during the fetch."""
        void = self._void
        kept = [m for m in messages if (m.topic(), m.partition()) not in void]
        self.rewind([p for p in self.assignment() if (p.topic, p.partition) in void])
        return kept

    def assignment(self) -> list[PartitionOffset]:
        """Give the partitions that this member owns now."""
        return self._consumer.assignment()

    def positions(self) -> dict[tuple[str, int], PartitionOffset]:
        """Give the position in each owned partition that was read, past transaction markers.

        With the leader epoch of what stands before it, by which a later assignment notices a log
        that was cut meanwhile and grew again.
        """
        found = self._consumer.position(self.assignment())
        return {(p.topic, p.partition): p for p in found if p.offset >= 0}

    def rewind(self, partitions: Sequence[PartitionOffset]) -> None:
        """Go back to where the stored positions are, dropping what was read ahead."""
        for partition in self._started(partitions):
            try:
                self._consumer.seek(partition)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    raise Unrecoverable(f"cannot seek: {error.args[0].str()}") from None

    def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the position in each owned partition and its end; -1 before the first answer."""
        found = self._consumer.position(self.assignment())
        positions = {(p.topic, p.partition): p.offset for p in found}
        return {
            place: (at if at >= 0 else max(self._starts.get(place, 0), 0), self._end(place))
            for place, at in positions.items()
        }

    def group_metadata(self) -> object:
        """Give what a transaction needs to fence by this member's generation."""
        return self._consumer.consumer_group_metadata()

    def committed(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Ask the broker for the group's committed offsets."""
        return self._consumer.committed(list(partitions), timeout=CALL_SECONDS)

    def commit_for_monitoring(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Commit positions without waiting; nothing depends on them but those who watch lag."""
        offsets = [PartitionOffset(*place, offset) for place, offset in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            get_logger().debug("commit_for_monitoring_failed", error=error.args[0].str())

    def broker_answers(self) -> bool:
        """Probe the broker for at most a second, after it was reported down."""
        if self.errors.all_brokers_down:
            try:
                self._consumer.list_topics(timeout=1)
            except KafkaException:
                return False
            self.errors.all_brokers_down = False
        return True

    def close(self) -> None:
        """Leave without giving up the static membership, so that a restart goes on at once."""
        self._consumer.close()

    def _end(self, place: tuple[str, int]) -> int:
        _, high = self._consumer.get_watermark_offsets(PartitionOffset(*place), cached=True)
        return max(high, -1)

    def _started(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        found = self._look_up(partitions) if partitions else []
        for partition in found:
            self._starts[partition.topic, partition.partition] = partition.offset
            if partition.offset < 0:
                partition.offset = OFFSET_BEGINNING
        return found

    def _assign(self, consumer: Consumer, partitions: list[PartitionOffset]) -> None:
        try:
            started = self._started(partitions)
            consumer.incremental_assign(started)
            self._validate(started)
        except Exception as error:
            self._failure = error
            consumer.incremental_assign([])

    def _validate(self, partitions: Sequence[PartitionOffset]) -> None:
        """Have the leader compare the positions' epochs with its log, which only a seek does.

        A log that was cut and has grown again is then an error of the next fetch.
        """
        for partition in partitions:
            if partition.offset > 0 and partition.leader_epoch is not None:
                self._seek_when_started(partition)

    def _seek_when_started(self, partition: PartitionOffset) -> None:
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            try:
                return self._consumer.seek(partition)
            except KafkaException as error:
                starting = error.args[0].code() == KafkaError._STATE
                if not starting or time.monotonic() > deadline:
                    raise Unrecoverable(f"cannot seek: {error.args[0].str()}") from None
            time.sleep(START_LOOK_SECONDS)

    def _revoke(self, consumer: Consumer, partitions: list[PartitionOffset]) -> None:
        self._void.update((p.topic, p.partition) for p in partitions)
        consumer.incremental_unassign(partitions)

    def _look_at_errors(self, messages: Sequence[Message]) -> None:
        """Note the errors that pass by themselves; raise for the first other one."""
        for message in messages:
            error = message.error()
            if error is not None:
                self._look_at(error, f"{message.topic()}-{message.partition()}", message.offset())

    def _look_at(self, error: KafkaError, partition: str, offset: int | None) -> None:
        place = partition if offset is None else f"{partition} at {offset}"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Mismatch(
                f"The next record of {place} is no longer (or not yet) in the log: {error.str()}."
                " Was the topic truncated, or deleted and created again, or did retention delete"
                " what was not read? See `purchases offsets list`, and go on with `purchases"
                " offsets reset`."
            )
        if error.code() not in PASSING and not error.retriable():
            raise Unrecoverable(f"the consumer failed at {place}: {error.str()}")
        self.errors(error)
