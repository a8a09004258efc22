"""PurchaseProcessorApp: consume, validate, enrich, republish and dead-letter, exactly once.

One Kafka transaction per batch holds outputs, dead letters and offsets. This module is the worker
process of one slot; the pure middle is `transform`. It never opens the database.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.apps import PROCESSOR
from streaming.errors import Mismatch, PurchasesError, Unavailable, Unrecoverable
from streaming.events.identifiers import topic_id_text
from streaming.events.purchase import Rules
from streaming.events.record import Record
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config, consumer_config, transactional_config
from streaming.kafka.consumer import GroupConsumer, headers_of, offset_at
from streaming.kafka.identity import IdentityWatch
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight_processor
from streaming.kafka.standby import await_turn
from streaming.processor.recovery import Written
from streaming.processor.transform import Output, transform
from streaming.runtime.worker import Runtime, run_worker
from streaming.settings import Settings
from streaming.system.logs import get_logger
from streaming.units import rfc_3339

BATCH_RECORDS: Final = 5_000
LINGER_SECONDS: Final = 0.01
CALL_SECONDS: Final = 5.0
OFFSETS_SECONDS: Final = 3.0
OFFSETS_PATIENCE_SECONDS: Final = 4
IDLE_COMMIT_SECONDS: Final = 1.0
DEAD_LETTER_BYTES: Final = 16 * 1024 * 1024
ABORTS_IN_TURN: Final = 5
PERHAPS_FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._STATE)  # noqa: SLF001 - librdkafka's name
"""A transaction that failed while it was still produced to does not say why: it is not open."""


class PurchaseProcessorApp:
    """The processor of one slot, from `purchases` to `analytics` and `purchases.dlq`."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._names = names = Names.of(settings)
        self._rules = Rules(settings.currency, settings.history_start_time)
        servers, client = bootstrap_servers(settings), f"{PROCESSOR.name}-{runtime.status.slot}"
        topics = [names.purchases, names.analytics, names.dead_letters]
        self._identity = IdentityWatch(common_config(settings, servers, f"{client}-admin"), topics)
        producing = transactional_config(
            settings, servers, client, names.transactional_id(runtime.status.slot)
        )
        self._producer = Producer(producing)
        self._most_bytes = int(producing["message.max.bytes"])
        self._client = client
        self._common = common_config(settings, servers, client)
        group = names.processor_group
        self._consumer_config = consumer_config(settings, servers, client, group, client)
        self._written = Written(self._common, self._producer, topics[1:], group, runtime)
        self._letter_bytes = DEAD_LETTER_BYTES
        self._done: dict[tuple[str, int], int] = {}
        self._aborts = 0
        self._looked = False
        self._idle_since = time.monotonic()

    def run(self) -> None:
        """Work until asked to stop. Raises what only a new process or a person can mend."""
        group = self._names.processor_group
        topics = [self._names.purchases]
        if not await_turn(self._runtime, self._common, group, self._client, topics):
            return
        if not self._prepare():
            return
        self._consumer = GroupConsumer(self._consumer_config, topics, self._committed)
        while self._runtime.heartbeat():
            if not self._consumer.broker_answers():
                self._runtime.pause("broker")
                continue
            self._identity.check(PROCESSOR.name, self._consumer.bounds)
            messages = self._consumer.fetch(BATCH_RECORDS, LINGER_SECONDS)
            if messages:
                self._process(messages)
            else:
                self._idle()
        self._consumer.close()

    def _prepare(self) -> bool:
        """Learn the topics and fence an earlier holder of our transactional id, waiting for both.

        This comes before subscribing: an orphaned transaction would hide what is behind it.
        """
        while self._runtime.heartbeat():
            try:
                self._identity.learn()
                self._producer.init_transactions(CALL_SECONDS)
                self._letter_bytes = self._letter_limit()
            except Unavailable as error:
                self._runtime.pause(str(error))
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise Unrecoverable(f"cannot start: {error.args[0].str()}") from None
                self._runtime.pause("broker")
            else:
                return True
        return False

    def _letter_limit(self) -> int:
        """Give how large a dead letter may be, saying it where that is below the usual 16 MiB."""
        wanted = min(DEAD_LETTER_BYTES, self._most_bytes)
        limit = self._identity.message_limit(self._names.dead_letters, wanted)
        if limit < DEAD_LETTER_BYTES:
            get_logger().warning("dead_letters_are_cut", above_bytes=limit)
        return limit

    def _committed(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Look up the group's committed offsets, refusing those of another topic of this name."""
        topic_id = topic_id_text(self._topic_id())
        try:
            found = self._consumer.committed(partitions)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT:  # noqa: SLF001 - librdkafka's name
                metadata = self._consumer.group_metadata()
                self._written.abort_with_offsets(self._names.purchases, metadata)
            raise Unrecoverable(f"no answer about the offsets: {error.args[0].str()}") from None
        for partition in found:
            if partition.error is not None:
                raise Unrecoverable(f"no answer about the offsets: {partition.error.str()}")
            if partition.metadata and partition.metadata != topic_id and partition.offset >= 0:
                raise Mismatch(
                    f"The committed offset {partition.offset} of {partition.topic}-"
                    f"{partition.partition} is of a topic that was deleted and created again; what"
                    " it still held and was not read is lost. See `purchases offsets list`, and go"
                    " on with `purchases offsets reset processor --to earliest`."
                )
            self._done[partition.topic, partition.partition] = partition.offset
        if not self._looked:
            self._written.abort_what_was_left_open()
            if all(partition.offset < 0 for partition in found):
                self._written.require_offsets()
            self._looked = True
        return found

    def _topic_id(self) -> bytes:
        known = self._identity.known or self._identity.learn()
        return known.topic_ids[self._names.purchases]

    def _process(self, messages: list[Message]) -> None:
        self._idle_since = time.monotonic()
        offsets = self._offsets()
        try:
            self._producer.begin_transaction()
            refused = self._publish(messages)
            self._commit(offsets)
        except KafkaException as error:
            self._abort(error)
            return
        self._count(messages, refused)

    def _publish(self, messages: list[Message]) -> list[Output]:
        """Transform the messages and hand the outputs to the producer; give the refused ones.

        One by one, as what was just made is still in the processor's caches.
        """
        topic, topic_id, rules = self._names.purchases, self._topic_id(), self._rules
        analytics, dead_letters = self._names.analytics, self._names.dead_letters
        processed_at = rfc_3339(datetime.now(UTC))
        refused = []
        for message in messages:
            record = Record(
                topic,
                topic_id,
                message.partition() or 0,
                message.offset() or 0,
                message.timestamp()[1],
                message.key(),
                message.value(),
                headers_of(message),
            )
            output = transform(record, rules, processed_at, self._letter_bytes)
            if output.reason is None:
                self._send(analytics, output)
            else:
                self._send(dead_letters, output)
                refused.append(output)
        return refused

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
                self._producer.poll(0.1)
                self._runtime.heartbeat()

    def _offsets(self) -> list[PartitionOffset]:
        metadata = topic_id_text(self._topic_id())
        return [
            offset_at(place, at.offset, at.leader_epoch, metadata)
            for place, at in self._consumer.positions().items()
        ]

    def _commit(self, offsets: list[PartitionOffset]) -> None:
        """Commit the open transaction with these offsets."""
        # This call may never return where a connection breaks meanwhile (librdkafka #5456).
        with self._runtime.watchdog_limit(OFFSETS_PATIENCE_SECONDS):
            self._producer.send_offsets_to_transaction(
                offsets, self._consumer.group_metadata(), OFFSETS_SECONDS
            )
        self._producer.commit_transaction(CALL_SECONDS)
        self._aborts = 0
        self._done.update({(o.topic, o.partition): o.offset for o in offsets})

    def _abort(self, error: KafkaException) -> None:
        """Abort what can be, and go back to what is committed.

        Raises `Unrecoverable` for the rest: fatal errors, a commit whose outcome stays unknown (the
        producer is spoilt then), a failed abort, a topic whose limit was lowered (a new worker asks
        for it), and what comes again and again, a second apart.
        """
        reason = error.args[0]
        get_logger().warning("transaction_failed", code=reason.name(), error=reason.str())
        unknown = reason.retriable() and not reason.txn_requires_abort()
        if reason.fatal() or unknown or reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise Unrecoverable(f"the transaction failed: {reason.str()}")
        try:
            self._producer.abort_transaction(CALL_SECONDS)
        except KafkaException as failed:
            # As where the first partition was forbidden: the broker knows of no transaction then.
            if reason.code() in PERHAPS_FORBIDDEN:
                self._await_permissions()
            raise Unrecoverable(f"cannot abort: {failed.args[0].str()}") from None
        self._looked = False
        self._consumer.rewind(self._consumer.assignment())
        self._aborts += 1
        if self._aborts >= ABORTS_IN_TURN:
            raise Unrecoverable(f"the transaction failed {self._aborts} times: {reason.str()}")
        if reason.code() in PERHAPS_FORBIDDEN:
            self._await_permissions()
        if self._aborts > 1:
            self._runtime.pause(f"the transaction failed: {reason.str()}")

    def _await_permissions(self) -> None:
        """Wait until we may do all that we do, saying what lacks."""
        while self._runtime.heartbeat():
            try:
                preflight_processor(self._settings)
            except PurchasesError as error:
                self._aborts = 0
                self._runtime.pause(str(error))
            else:
                return

    def _idle(self) -> None:
        """Commit positions that moved past transaction markers, so that lag can reach 0."""
        if self._consumer.errors.all_brokers_down:
            return
        self._runtime.observe_positions(self._consumer.bounds())
        if time.monotonic() - self._idle_since < IDLE_COMMIT_SECONDS:
            return
        self._idle_since = time.monotonic()
        moved = [o for o in self._offsets() if o.offset > self._done.get((o.topic, o.partition), 0)]
        if moved:
            try:
                self._producer.begin_transaction()
                self._commit(moved)
            except KafkaException as error:
                self._abort(error)

    def _count(self, messages: list[Message], refused: list[Output]) -> None:
        self._runtime.record_batch(
            records=len(messages),
            stored=len(messages) - len(refused),
            duplicates=0,
            refused=[(str(output.reason), output.key) for output in refused],
            last_at=messages[-1].timestamp()[1] / 1000,
        )
        self._runtime.observe_positions(self._consumer.bounds())


def main() -> int:
    """Run the worker of the slot that the arguments name; give its exit code."""
    parser = argparse.ArgumentParser(description="The worker of one slot, started by a supervisor.")
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--supervisor", type=int, default=None, help="leave when it is gone")
    arguments = parser.parse_args()
    return run_worker(
        PROCESSOR,
        arguments.slot,
        arguments.supervisor,
        lambda settings, runtime: PurchaseProcessorApp(settings, runtime).run(),
    )


if __name__ == "__main__":
    sys.exit(main())
