"""AnalyticsConsumerApp: stores what the processor published, exactly once, with its figures.

One database transaction per batch holds rows, dead letters, positions, live totals and the day
ledger. This module is the worker process of one slot; the loop is in `kafka.consume_loop`, the
statements are in `store.writer`.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from confluent_kafka import TopicPartition as PartitionOffset
from sqlalchemy import Connection, Engine

from streaming.analytics.decode import advances, read_rows
from streaming.analytics.trace_log import log_traces
from streaming.apps import ANALYTICS, PROCESSOR
from streaming.errors import Mismatch, Unavailable
from streaming.events.analytics import StorableRules, storable_rules
from streaming.events.identifiers import topic_id_text
from streaming.events.record import Record, TopicPartition
from streaming.kafka.acls import consumer_rules
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.consume_loop import consume, wait_while_unavailable
from streaming.kafka.consumer import GroupConsumer
from streaming.kafka.identity import IdentityWatch
from streaming.kafka.leading_records import LeadingRecords
from streaming.kafka.names import Names
from streaming.kafka.offsets import offset_at
from streaming.kafka.preflight import preflight
from streaming.kafka.standby import await_turn
from streaming.runtime.limits import WRITE_WATCHDOG_SECONDS
from streaming.runtime.worker import Runtime, run_worker
from streaming.settings import Settings
from streaming.store.advances import Advance, PositionTaken, Source, stored_positions
from streaming.store.archive import return_days, with_rows
from streaming.store.connection import sentence_start, store_errors
from streaming.store.deployment import ensure_deployment, require_recorded_settings
from streaming.store.engine import lock_store, open_engine
from streaming.store.models import StreamOffset
from streaming.store.pseudonyms import NO_PSEUDONYMS, read_pseudonyms
from streaming.store.rows import SOURCE_TIMESTAMP, STORED, day_cutter
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import (
    BatchRows,
    StoredBatch,
    changed_erasure_ids,
    write_batch,
    write_in_transaction,
)
from streaming.system.disk_space import require_space
from streaming.system.home import Home
from streaming.system.logs import RateLimitedLogger, get_logger

BATCH_RECORDS: Final = 20_000
"""At most in a transaction: the more ids go in at once, in order, the more share an index page."""
BATCH_BYTES: Final = 16 * 1024 * 1024
"""For memory. 20,000 records of the usual half KiB fit, so that only large ones are cut."""
DISK_SECONDS: Final = 1.0
"""A disk that fills up within a second still fails only one batch, which is rolled back."""

_source_timestamp: Final = itemgetter(SOURCE_TIMESTAMP)


class AnalyticsConsumerApp:
    """The consumer of one slot, from `analytics` and `purchases.dlq` into the database."""

    name: str = ANALYTICS.name
    batch_records: int = BATCH_RECORDS

    def __init__(  # noqa: PLR0913, PLR0917 - where it reads, what it stores, and where
        self,
        settings: Settings,
        runtime: Runtime,
        engine: Engine,
        source: Source,
        rules: StorableRules,
        topic_ids: Mapping[str, bytes],
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._engine = engine
        self._source = source
        self._rules = rules
        self._redrive = Names.of(settings).redrive
        self._logs_traces = settings.log_level == "debug"
        self._day_of = day_cutter(settings.zone)
        self._stored: dict[TopicPartition, int | None] = {}
        self._erasures = Home(settings.home).erasures
        self._pseudonyms = NO_PSEUDONYMS
        self._alone = False
        """Whether to write the next events alone: after duplicates, as more are to be expected, and
        after a failure, as a batch that is alone waits before it is copied."""
        self._log = RateLimitedLogger()
        self._space_checked_at = 0.0
        servers, client = bootstrap_servers(settings), runtime.name
        config = consumer_config(settings, servers, client, source.group, client)
        self.consumer = GroupConsumer(self.name, config, topic_ids, self._look_up)

    def handle(self, batch: Sequence[Record]) -> None:
        """Store the batch with its positions, waiting while the database is unavailable.

        What is not read in time is put back, and is the next batch. Raises `Mismatch` for a record
        of a newer schema.
        """
        analytics = self._source.analytics
        leading = LeadingRecords(batch, maximum_bytes=BATCH_BYTES)
        # Decoded before the write: the lock is held for less time, and a retry decodes nothing
        # again.
        events, dead_letters = read_rows(leading, analytics, self._redrive, self._rules, self._log)
        # Before the positions are taken: they must be those behind the last record handled.
        self.consumer.put_back(batch[leading.count :])
        batch = batch[: leading.count]
        moved = advances(batch, self.consumer.positions(), self._stored)
        rows = BatchRows(events, dead_letters, moved)
        written = self._write(rows)
        if written is not None:
            self._count(batch, rows, written)
            if self._logs_traces:
                log_traces(written.new, batch, analytics)

    def idle(self) -> None:
        """Store positions that moved past transaction markers, so that lag can reach 0."""
        moved = {
            partition: Advance(self._stored.get(partition), at.offset, at.leader_epoch, 0)
            for partition, at in self.consumer.positions().items()
            if at.offset > (self._stored.get(partition) or 0)
        }
        if moved:
            self._write(BatchRows([], [], moved))

    def require_permissions(self) -> None:
        """Raise `PurchasesError` naming the permissions that are lacking."""
        names, groups = Names.of(self._settings), [self._source.group]
        preflight(self._settings, consumer_rules(names, groups), patient=False)

    def _look_up(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Look up the positions in the database, refusing those of another topic or cluster.

        Waits while the database is unavailable; raises `Unavailable` if the worker is to stop then.
        """
        rows = wait_while_unavailable(self._runtime, self._read_stored)
        if rows is None:
            raise Unavailable(f"{sentence_start(self._settings.database)} did not answer.")
        starts = []
        for asked in partitions:
            partition = (asked.topic, asked.partition)
            row = rows.get(partition)
            if row is None:
                self._stored[partition] = None
                # Negative means the first record that the log still holds.
                starts.append(offset_at(partition, -1, None))
            else:
                self._require_same_log(row)
                self._stored[partition] = row.next_offset
                starts.append(offset_at(partition, row.next_offset, row.leader_epoch))
        return starts

    def _read_stored(self) -> dict[TopicPartition, StreamOffset]:
        with self._engine.begin() as connection:
            # As a writer, it waits for another consumer's batch, whose positions are then read.
            lock_store(connection)
            return stored_positions(connection, self._source.group)

    def _require_same_log(self, row: StreamOffset) -> None:
        position = f"{row.topic}-{row.partition} at {row.next_offset}"
        remedy = (
            "Connect to the one that this database is of; or see `purchases offsets list`, and go"
            " on with `purchases offsets reset analytics --to earliest`."
        )
        # The cluster first, because on another one each topic has another id too.
        if row.cluster_id != self._source.cluster_id:
            raise Mismatch(
                f"The stored position of {position} is of cluster {row.cluster_id}, but this is"
                f" {self._source.cluster_id}. {remedy}"
            )
        if row.topic_id != self._source.topic_ids[row.topic]:
            raise Mismatch(
                f"The stored position of {position} is of a topic that was deleted and created"
                f" again. {remedy}"
            )

    def _write(self, rows: BatchRows) -> StoredBatch | None:
        """Write a batch, waiting while the database is unavailable.

        Returns None if it was dropped: another consumer took its position, or the worker is to
        stop while it waits. Its records are read again then.
        """
        try:
            written = wait_while_unavailable(self._runtime, lambda: self._try_to_write(rows))
        except PositionTaken as error:
            # Normal for a moment after a rebalance: the earlier owner stored one more batch.
            get_logger().warning("position_taken", detail=str(error))
            self.consumer.rewind(self.consumer.assignment())
            return None
        if written is not None:
            # After the database has committed: a crash in between leaves Kafka behind, never ahead.
            positions = {at: advance.next_offset for at, advance in rows.advances.items()}
            self._stored.update(positions)
            self.consumer.commit_for_monitoring(positions)
        return written

    def _try_to_write(self, rows: BatchRows) -> StoredBatch:
        def write() -> StoredBatch:
            self._require_space()
            return self._write_once(rows)

        return with_rows(self._settings, write, self._return_days)

    def _return_days(self, settings: Settings, days: Collection[str]) -> int:
        get_logger().info("days_returned", days=sorted(days))
        # Each transaction starts the limit again.
        with self._runtime.watchdog_limit(WRITE_WATCHDOG_SECONDS):
            return return_days(settings, days, self._runtime.heartbeat)

    def _write_once(self, rows: BatchRows) -> StoredBatch:
        def write(connection: Connection, *, alone: bool) -> StoredBatch:
            # Within the transaction, so that no batch cuts days in a time zone that another host
            # changed, or misses an erasure.
            require_recorded_settings(connection, self._settings)
            self._learn_erasures(connection)
            batch, now = self._replace_erased(rows), lambda: time.time_ns() // 1000
            return write_batch(connection, batch, self._source, self._day_of, now, alone=alone)

        with (
            self._runtime.watchdog_limit(WRITE_WATCHDOG_SECONDS),
            # Rows are copied by the driver, whose errors the engine does not see.
            store_errors(self._settings.database),
        ):
            # Without events there is nothing to expect.
            if not rows.events:
                return write_in_transaction(self._engine, write, alone=False)
            alone, self._alone = self._alone, True
            written = write_in_transaction(self._engine, write, alone=alone)
        self._alone = written.duplicates > 0
        return written

    def _learn_erasures(self, connection: Connection) -> None:
        """Read the pseudonyms of new erasures. Raises `Mismatch` if they are not known here."""
        ids = changed_erasure_ids(connection, counted=self._pseudonyms.erasures)
        if ids is not None:
            self._pseudonyms = read_pseudonyms(self._erasures, ids)

    def _replace_erased(self, rows: BatchRows) -> BatchRows:
        """Replace the users and orders that were erased, by pseudonyms."""
        if not self._pseudonyms.erased:
            return rows
        events = self._pseudonyms.replace_rows(rows.events)
        dead_letters = list(map(self._pseudonyms.replace_dead_letter, rows.dead_letters))
        return BatchRows(events, dead_letters, rows.advances)

    def _require_space(self) -> None:
        """Check once a second that the disk has room, before it breaks a batch in the middle."""
        now = time.monotonic()
        if now - self._space_checked_at >= DISK_SECONDS:
            database = self._settings.database
            # A server's disk is not seen from here.
            require_space(database if isinstance(database, Path) else self._settings.home)
            self._space_checked_at = now

    def _count(self, batch: Sequence[Record], rows: BatchRows, written: StoredBatch) -> None:
        self._runtime.record_batch(
            records=len(batch),
            stored=len(written.new),
            duplicates=written.duplicates,
            # Without keys: they are for the processor's status, which shows who sends what is
            # refused.
            refused=[(str(row.reason), None) for row in rows.dead_letters if row.state != STORED],
            last_at=batch[-1].timestamp / 1000,
        )
        self._runtime.observe_latencies(map(_source_timestamp, written.new))
        self._runtime.observe_positions(self.consumer.bounds())


def run_consumer(settings: Settings, runtime: Runtime) -> None:
    """Store batches until asked to stop, waiting first for database, cluster and the slot's turn.

    Raises what only a new process or a person can mend.
    """
    names, servers = Names.of(settings), bootstrap_servers(settings)
    topics = [names.analytics, names.dead_letters]
    client = runtime.name
    watch = IdentityWatch(common_config(settings, servers, f"{client}-admin"), topics)
    # Each wait below attempts its step once, even if the worker was asked to stop before.
    if not runtime.heartbeat():
        return
    # The database before the cluster: its id is part of the consumer group's name.
    engine = wait_while_unavailable(runtime, lambda: open_engine(settings))
    if engine is None:
        return
    deployment = wait_while_unavailable(runtime, lambda: ensure_deployment(engine, settings))
    sources = names.read_by(PROCESSOR)
    # Before the first event, whose row has the number of its source topic (docs/decisions/0050).
    numbered = wait_while_unavailable(runtime, lambda: record_source_topics(engine, sources))
    identity = wait_while_unavailable(runtime, watch.learn)
    if deployment is None or numbered is None or identity is None:
        return
    group = names.analytics_group(deployment.deployment_id)
    common = common_config(settings, servers, client)
    # After the database: only its id makes the name of the group in which another host may hold the
    # slot.
    if not await_turn(runtime, common, group, client, topics):
        return
    ids = {name: topic_id_text(topic_id) for name, topic_id in identity.topic_ids.items()}
    source = Source(group, names.analytics, identity.cluster_id, ids)
    rules = storable_rules(settings.currency, numbered)
    app = AnalyticsConsumerApp(settings, runtime, engine, source, rules, identity.topic_ids)
    consume(app, watch, runtime)


if __name__ == "__main__":
    sys.exit(run_worker(ANALYTICS, run_consumer))
