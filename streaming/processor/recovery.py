"""What the processor does before it writes: fence, end hanging transactions, notice lost offsets.

How that is done is in `kafka.hanging_transactions` and `kafka.missing_offsets`. When it is due is
the processor's matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Unavailable, Unrecoverable
from streaming.events.record import TopicPartition
from streaming.kafka import hanging_transactions, missing_offsets
from streaming.kafka.config import Config
from streaming.kafka.consume_loop import await_permissions
from streaming.kafka.names import Names
from streaming.kafka.offsets import offset_at
from streaming.kafka.preflight import preflight_processor
from streaming.kafka.published_purchases import list_published
from streaming.runtime.limits import CALL_SECONDS, RECOVERY_WATCHDOG_SECONDS
from streaming.runtime.worker import Runtime
from streaming.settings import Settings


class Recovery:
    """Recovery of the topics that the processor writes, for its group, which reads `read`.

    All of it raises `Unrecoverable` if the brokers do not answer.
    """

    def __init__(
        self,
        common: Config,
        producer: Producer,
        names: Names,
        read: Sequence[str],
        runtime: Runtime,
    ) -> None:
        self._common = common
        self._producer = producer
        self._written = [names.analytics, names.dead_letters]
        self._read = read
        self._group = names.processor_group
        self._runtime = runtime

    def abort_hanging(self) -> None:
        """Abort what a forgotten abort left open: our next commit would publish it too."""
        with self._recovery() as partitions:
            hanging = hanging_transactions.list_hanging(
                self._common, partitions, self._group, self._partitions(self._read)
            )
            if hanging:
                hanging_transactions.abort_over(self._producer, hanging)

    def end_undecided(
        self,
        partitions: Sequence[PartitionOffset],
        metadata: Mapping[str, str],
        group_metadata: object,
    ) -> None:
        """End what is undecided of the offsets of `partitions`: commit it, else abort it.

        `metadata` is what an offset is committed with, by topic.
        """
        group = [(at.topic, at.partition) for at in partitions]
        with self._recovery() as written:
            published = list_published(
                self._common, self._group, group, written, self._runtime.heartbeat
            )
            if published:
                # Their transaction was committed, and with it its offsets of all partitions, which
                # the broker still has.
                partition = min(published)
                at = offset_at(partition, published[partition], None, metadata[partition[0]])
                hanging_transactions.commit_over(self._producer, at, group_metadata)
            else:
                offsets = (partitions[0].topic, group_metadata)
                hanging_transactions.abort_over(self._producer, written, offsets)

    def require_offsets(self) -> None:
        """Raise `Mismatch` if something was published, but the group has no offset at all."""
        with self._recovery() as partitions:
            # What was published proves that the group had offsets once.
            read = self._partitions(self._read)
            missing_offsets.require_offsets(self._common, self._group, read, partitions)

    @contextmanager
    def _recovery(self) -> Iterator[list[TopicPartition]]:
        """Provide all partitions that are written, and let the watchdog bear with a recovery."""
        self._runtime.heartbeat()
        try:
            # A coordinator that was just elected loads its log first, and answers late.
            with self._runtime.watchdog_limit(RECOVERY_WATCHDOG_SECONDS):
                yield self._partitions(self._written)
        except KafkaException as error:
            raise Unrecoverable(f"cannot recover: {error.args[0].str()}") from None
        except Unavailable as error:
            raise Unrecoverable(f"cannot recover: {error}") from None

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        # Asked each time, because partitions may have been added since (docs/postmortems/0008).
        return hanging_transactions.list_topic_partitions(self._producer, topics)


def fence(producer: Producer, settings: Settings, runtime: Runtime) -> bool:
    """Fence an earlier holder of the transactional id, and end its transaction.

    Waits while that is not permitted. Returns False if asked to stop meanwhile. Raises
    `Unavailable` if it may be tried again, else `Unrecoverable`.
    """
    try:
        producer.init_transactions(CALL_SECONDS)
    except KafkaException as error:
        if error.args[0].retriable():
            raise Unavailable("broker") from None
        if error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            slots = [runtime.status.slot]
            await_permissions(lambda: preflight_processor(settings, slots, patient=False), runtime)
            # Asked to stop while it waited, which is no failure.
            if not runtime.heartbeat():
                return False
        # After a fatal error the producer is useless; a new process has another.
        raise Unrecoverable(f"cannot start: {error.args[0].str()}") from None
    return True
