"""What the processor has written before, seen to before it writes more.

What a broker forgot to end there is ended, and offsets that Kafka deleted are noticed; how is in
`kafka.hanging` and `kafka.deleted`. When it is called for is the processor's matter.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaException, Producer

from streaming.errors import Unavailable, Unrecoverable
from streaming.events.record import TopicPartition
from streaming.kafka import hanging_transactions, missing_offsets
from streaming.kafka.config import Config
from streaming.runtime.worker import Runtime


class Written:
    """The topics that a transactional producer writes, for the group that it reads with.

    All of it raises `Unrecoverable` where the brokers do not answer.
    """

    def __init__(
        self,
        common: Config,
        producer: Producer,
        topics: Sequence[str],
        group: str,
        runtime: Runtime,
    ) -> None:
        self._common = common
        self._producer = producer
        self._topics = topics
        self._group = group
        self._runtime = runtime

    def abort_what_was_left_open(self) -> None:
        """Abort what a forgotten abort left: with our next commit it would be published too."""
        with self._calls(hanging_transactions.MOST_SECONDS) as written:
            places = hanging_transactions.left_open(self._common, written, self._group)
            if places:
                hanging_transactions.abort_over(self._producer, places)

    def abort_with_offsets(self, topic: str, group_metadata: object) -> None:
        """Abort what is undecided together with the offsets of `topic`."""
        with self._calls(hanging_transactions.MOST_SECONDS) as written:
            hanging_transactions.abort_over(self._producer, written, (topic, group_metadata))

    def require_offsets(self) -> None:
        """Raise `Mismatch` where something was published, but the group has no offset at all."""
        with self._calls(missing_offsets.MOST_SECONDS) as written:
            missing_offsets.require_offsets(self._common, self._group, written)

    @contextmanager
    def _calls(self, seconds: int) -> Iterator[list[TopicPartition]]:
        """Let calls inside take that long, and give them all partitions of the topics."""
        self._runtime.heartbeat()
        try:
            with self._runtime.watchdog_limit(seconds):
                yield hanging_transactions.places_of(self._producer, self._topics)
        except KafkaException as error:
            raise Unrecoverable(f"cannot see to what was written: {error.args[0].str()}") from None
        except Unavailable as error:
            raise Unrecoverable(f"cannot see to what was written: {error}") from None
