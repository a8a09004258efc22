"""PurchaseProcessorApp: consume, validate, enrich, republish and dead-letter, exactly once.

One Kafka transaction per batch holds outputs, dead letters and offsets. This module is the worker
process of one slot; the loop is in `kafka.consume_loop`, the pure middle is `transform`. It never
opens the database.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.apps import PROCESSOR
from streaming.errors import Mismatch, Unrecoverable
from streaming.events.identifiers import topic_id_text
from streaming.events.record import Record, TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config, consumer_config, transactional_config
from streaming.kafka.consume_loop import await_permissions, consume, wait_while_unavailable
from streaming.kafka.consumer import GroupConsumer
from streaming.kafka.identity import Identity, IdentityWatch
from streaming.kafka.leading_records import LeadingRecords
from streaming.kafka.names import Names
from streaming.kafka.offsets import offset_at
from streaming.kafka.preflight import preflight_processor
from streaming.kafka.purchase_rules import purchase_rules
from streaming.kafka.recorded_settings import (
    RecordedSettings,
    offset_metadata,
    require_settings_of,
    topic_id_in,
)
from streaming.kafka.registry.schemas import schema_cache
from streaming.kafka.rejection import rejection_reason
from streaming.kafka.standby import await_turn
from streaming.kafka.topics import DEAD_LETTER_BYTES
from streaming.processor.framed_records import learn_schemas
from streaming.processor.recovery import Recovery, fence
from streaming.processor.transform import BatchSummary, Output, transform
from streaming.runtime.limits import CALL_SECONDS, OFFSETS_SECONDS, OFFSETS_WATCHDOG_SECONDS
from streaming.runtime.worker import Runtime, run_worker
from streaming.settings import Settings
from streaming.system.logs import get_logger
from streaming.units import rfc_3339

BATCH_RECORDS: Final = 5_000
"""At most in a transaction: its fixed cost is small against so many. An abort repeats them all."""
ABORTS_IN_TURN: Final = 5
"""After so many the worker ends, and the supervisor's delay grows: a new client may do better."""
PERHAPS_FORBIDDEN: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._STATE,  # noqa: SLF001 - librdkafka's name
)
"""After these a permission may be lacking. `_STATE` says only that the transaction had failed."""


class PurchaseProcessorApp:
    """The processor of one slot, from `purchases` to `analytics` and `purchases.dlq`.

    It reads `purchases.redrive` too, if `identity` has it. `producer` has initialised its
    transactions; a dead letter has at most `dead_letter_bytes`.
    """

    name: str = PROCESSOR.name
    batch_records: int = BATCH_RECORDS

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        producer: Producer,
        identity: Identity,
        dead_letter_bytes: int,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._producer = producer
        self._names = names = Names.of(settings)
        self._schemas = schema_cache(settings)
        self._rules = purchase_rules(settings, self._schemas)
        read = {
            name: identity.topic_ids[name]
            for name in names.read_by(PROCESSOR)
            if name in identity.topic_ids
        }
        self._topic_ids = {name: topic_id_text(topic_id) for name, topic_id in read.items()}
        recorded = RecordedSettings.of(settings)
        self._offset_metadata = {
            name: offset_metadata(topic_id, recorded) for name, topic_id in self._topic_ids.items()
        }
        self._dead_letter_bytes = dead_letter_bytes
        self._committed: dict[TopicPartition, int] = {}
        self._aborts = 0
        self._is_recovered = False
        servers, client = bootstrap_servers(settings), runtime.name
        group = names.processor_group
        self._recovery = Recovery(
            common_config(settings, servers, client),
            producer,
            names,
            list(read),
            runtime,
        )
        self.consumer = GroupConsumer(
            self.name,
            consumer_config(settings, servers, client, group, client),
            read,
            self._look_up,
            # Shared out too, they would count as much as `purchases` (docs/decisions/0076).
            followers=read.keys() & {names.redrive},
        )

    def handle(self, batch: Sequence[Record]) -> None:
        """Publish what the batch becomes, with its offsets, in one transaction; or abort it.

        What is not done in time is put back, and is the next batch. So is all of it while the
        schema registry does not answer.
        """
        # Before a transaction begins, which would not outlive a wait for the registry.
        if self._schemas is not None and not learn_schemas(self._schemas, batch, self._runtime):
            self.consumer.put_back(batch)
            return
        leading = LeadingRecords(batch)
        try:
            self._producer.begin_transaction()
            summary = self._publish(leading)
            # Before the offsets are taken: they must be those behind the last record published.
            self.consumer.put_back(batch[leading.count :])
            self._commit(self._offsets())
        except KafkaException as error:
            self._abort(error)
        else:
            # Only what was committed: an aborted batch comes again, and would be counted twice.
            self._count(batch[: leading.count], summary)

    def idle(self) -> None:
        """Commit positions that moved past transaction markers, so that lag can reach 0."""
        # A marker is no record, but it takes an offset: without this the lag would stay at 1.
        moved = [
            offset
            for offset in self._offsets()
            if offset.offset > self._committed.get((offset.topic, offset.partition), 0)
        ]
        if moved:
            try:
                self._producer.begin_transaction()
                self._commit(moved)
            except KafkaException as error:
                self._abort(error)

    def require_permissions(self) -> None:
        """Raise `PurchasesError` naming the permissions that are lacking."""
        preflight_processor(self._settings, [self._runtime.status.slot], patient=False)

    def _look_up(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Look up the group's committed offsets, refusing those of another topic of this name."""
        try:
            offsets = self.consumer.read_committed_offsets(partitions)
        except KafkaException as error:
            # Offsets of a transaction that nobody ends are not answered while it is open.
            if error.args[0].code() == KafkaError._TIMED_OUT:  # noqa: SLF001 - librdkafka's name
                group = self.consumer.group_metadata()
                self._recovery.end_undecided(partitions, self._offset_metadata, group)
            raise Unrecoverable(f"no answer about the offsets: {error.args[0].str()}") from None
        for offset in offsets:
            if offset.error is not None:
                raise Unrecoverable(f"no answer about the offsets: {offset.error.str()}")
            self._require_same_topic(offset)
            self._committed[offset.topic, offset.partition] = offset.offset
        require_settings_of(offsets, self._settings)
        # At the start and after an abort only: a broker forgets the end of a transaction then
        # (docs/decisions/0013).
        if not self._is_recovered:
            self._recovery.abort_hanging()
            # One without an offset was added. A group without any is new, or lost them.
            if all(offset.offset < 0 for offset in offsets):
                self._recovery.require_offsets()
            self._is_recovered = True
        return offsets

    def _require_same_topic(self, offset: PartitionOffset) -> None:
        topic_id = topic_id_in(offset.metadata)
        # An offset without an id is another tool's: then nothing can be compared.
        if topic_id and topic_id != self._topic_ids[offset.topic] and offset.offset >= 0:
            raise Mismatch(
                f"The committed offset {offset.offset} of {offset.topic}-{offset.partition} is of a"
                " topic that was deleted and created again; what it still held and was not read is"
                " lost. See `purchases offsets list`, and go on with `purchases offsets reset"
                " processor --to earliest`."
            )

    def _publish(self, records: Iterable[Record]) -> BatchSummary:
        """Transform the records and hand the outputs to the producer.

        One by one, because what was just made is still in the processor's caches.
        """
        rules, most_bytes = self._rules, self._dead_letter_bytes
        analytics, dead_letters = self._names.analytics, self._names.dead_letters
        # One for the batch, so the consumer reads the text once too.
        processed_at = rfc_3339(datetime.now(UTC))
        summary = BatchSummary()
        for record in records:
            output = transform(record, rules, processed_at, most_bytes)
            if output.reason is None:
                self._send(analytics, output)
                summary.without_price += output.without_price
                if output.unknown_fields:
                    summary.unknown_fields.update(output.unknown_fields)
            else:
                self._send(dead_letters, output)
                summary.refused.append(output)
        return summary

    def _send(self, topic: str, output: Output) -> None:
        """Hand an output to the producer, waiting while its queue is full."""
        produce = self._producer.produce
        while True:
            try:
                if output.headers:
                    produce(topic, output.value, output.key, headers=list(output.headers))
                else:
                    produce(topic, output.value, output.key)
                break
            except BufferError:
                # Only `poll` serves delivery reports, and these make room in the queue.
                self._producer.poll(0.1)
                self._runtime.heartbeat()

    def _offsets(self) -> list[PartitionOffset]:
        """Return the position of each owned partition; its metadata names topic and settings."""
        return [
            offset_at(partition, at.offset, at.leader_epoch, self._offset_metadata[at.topic])
            for partition, at in self.consumer.positions().items()
        ]

    def _commit(self, offsets: list[PartitionOffset]) -> None:
        """Commit the open transaction with these offsets."""
        self._send_offsets(offsets)
        # Flushes first, and fails if a record was not delivered: no delivery report is needed.
        self._producer.commit_transaction(CALL_SECONDS)
        self._aborts = 0
        self._committed.update({(o.topic, o.partition): o.offset for o in offsets})

    def _send_offsets(self, offsets: list[PartitionOffset]) -> None:
        # This call may never return if a connection breaks meanwhile (librdkafka #5456).
        with self._runtime.watchdog_limit(OFFSETS_WATCHDOG_SECONDS):
            self._producer.send_offsets_to_transaction(
                offsets, self.consumer.group_metadata(), OFFSETS_SECONDS
            )

    def _reason(self, error: KafkaException) -> KafkaError:
        """Return why the transaction failed: `_STATE` does not say it, but the next call does."""
        reason: KafkaError = error.args[0]
        if reason.code() == KafkaError._STATE:  # noqa: SLF001 - librdkafka's name
            try:
                self._send_offsets(self._offsets())
            except KafkaException as later:
                reason = later.args[0]
        return reason

    def _abort(self, error: KafkaException) -> None:
        """Abort what can be aborted, and go back to what is committed.

        Raises `Unrecoverable` for the rest: fatal errors, a commit whose outcome stays unknown (the
        producer is useless then), a failed abort, a topic whose limit was lowered (a new worker
        asks for it), and what comes again and again, a second apart.
        """
        reason = self._reason(error)
        get_logger().warning("transaction_failed", code=reason.name(), error=reason.str())
        # Whether such a commit succeeded nobody knows. librdkafka lacks KIP-890, by which the
        # producer could go on (docs/decisions/0008).
        unknown = reason.retriable() and not reason.txn_requires_abort()
        if reason.fatal() or unknown or reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise Unrecoverable(f"the transaction failed: {reason.str()}")
        try:
            self._producer.abort_transaction(CALL_SECONDS)
        except KafkaException as failed:
            # So it is if the first partition was forbidden: the broker knows of no transaction.
            if reason.code() in PERHAPS_FORBIDDEN:
                await_permissions(self.require_permissions, self._runtime)
            raise Unrecoverable(f"cannot abort: {failed.args[0].str()}") from None
        # A broker may forget this abort too, so the next look-up recovers again.
        self._is_recovered = False
        # All partitions, because the transaction had the offsets of all.
        self.consumer.rewind(self.consumer.assignment())
        self._aborts += 1
        cause = reason.str()
        if reason.code() == KafkaError.INVALID_RECORD:
            # An event has a key. A dead letter has the one of its record, which may have none.
            cause = rejection_reason(reason, self._names.dead_letters)
        if self._aborts >= ABORTS_IN_TURN:
            raise Unrecoverable(f"the transaction failed {self._aborts} times: {cause}")
        if reason.code() in PERHAPS_FORBIDDEN and await_permissions(
            self.require_permissions, self._runtime
        ):
            self._aborts = 0
        # Without a pause, a lasting cause would abort nine times a second (docs/decisions/0016).
        if self._aborts > 1:
            self._runtime.pause(f"the transaction failed: {cause}")

    def _count(self, batch: Sequence[Record], summary: BatchSummary) -> None:
        refused = summary.refused
        self._runtime.record_batch(
            records=len(batch),
            stored=len(batch) - len(refused),
            duplicates=0,
            refused=[(str(output.reason), output.key) for output in refused],
            last_at=batch[-1].timestamp / 1000,
        )
        self._runtime.observe_contents(summary.without_price, summary.unknown_fields)
        self._runtime.observe_positions(self.consumer.bounds())


def run_processor(settings: Settings, runtime: Runtime) -> None:
    """Process batches until asked to stop, waiting first for the slot's turn and for the cluster.

    Raises what only a new process or a person can mend.
    """
    names, servers = Names.of(settings), bootstrap_servers(settings)
    slot, client = runtime.status.slot, runtime.name
    common = common_config(settings, servers, client)
    # Before `fence`, which would end another host's worker of this slot (docs/decisions/0018).
    if not await_turn(runtime, common, names.processor_group, client, [names.purchases]):
        return
    topics = [*names.read_by(PROCESSOR), names.analytics, names.dead_letters]
    # A deployment of an earlier release has no `purchases.redrive` yet, and its stream goes on.
    admin = common_config(settings, servers, f"{client}-admin")
    watch = IdentityWatch(admin, topics, optional=[names.redrive])
    config = transactional_config(settings, servers, client, names.transactional_id(slot))
    producer = Producer(config)
    identity = wait_while_unavailable(runtime, watch.learn)
    # Before subscribing: an orphaned transaction would hide what is behind it.
    if identity is None or not wait_while_unavailable(
        runtime, lambda: fence(producer, settings, runtime)
    ):
        return
    if names.redrive not in identity.topic_ids:
        get_logger().warning("redrive_topic_missing", topic=names.redrive)
    # A client file may lower the client's own limit, above which it refuses to send.
    most_bytes = min(DEAD_LETTER_BYTES, int(config["message.max.bytes"]))
    limit = watch.message_limit(names.dead_letters, most_bytes)
    if limit < DEAD_LETTER_BYTES:
        get_logger().warning("dead_letters_are_cut", above_bytes=limit)
    consume(PurchaseProcessorApp(settings, runtime, producer, identity, limit), watch, runtime)


if __name__ == "__main__":
    sys.exit(run_worker(PROCESSOR, run_processor))
