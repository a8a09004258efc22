"""AnalyticsConsumerApp: stores what the processor published, exactly once, with its figures.

One database transaction per batch holds rows, dead letters, positions, live totals and the day
ledger. This module is the worker process of one slot; the statements are in `store.write`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from confluent_kafka import Message
from confluent_kafka import TopicPartition as PartitionOffset
from sqlalchemy import Engine

from streaming.analytics.decode import advances, event_rows, letter_rows
from streaming.analytics.trace_log import log_stored
from streaming.apps import ANALYTICS
from streaming.errors import Mismatch, Unavailable
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.consumer import GroupConsumer, offset_at
from streaming.kafka.identity import IdentityWatch
from streaming.kafka.names import Names
from streaming.kafka.standby import await_turn
from streaming.runtime.worker import Runtime, run_worker
from streaming.settings import Settings
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.models import StreamOffset
from streaming.store.rows import SOURCE_TIMESTAMP, STORED, day_cutter
from streaming.store.writer import (
    Advance,
    BatchRows,
    PositionTaken,
    Source,
    StoredBatch,
    stored_positions,
    write_batch,
)
from streaming.system.disk_space import require_space
from streaming.system.logs import RateLimitedLogger, get_logger

BATCH_RECORDS: Final = 20_000
"""Of a backlog: the more ids go in at once, in order, the more of them share an index page."""
WRITE_PATIENCE_SECONDS: Final = 25
"""Waiting for another writer, a large batch and a checkpoint on a slow disk come together."""
LINGER_SECONDS: Final = 0.01
IDLE_SECONDS: Final = 1.0
DISK_SECONDS: Final = 1.0

_source_timestamp: Final = itemgetter(SOURCE_TIMESTAMP)


class AnalyticsConsumerApp:
    """The consumer of one slot, from `analytics` and `purchases.dlq` into the database."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._names = Names.of(settings)
        self._topics = [self._names.analytics, self._names.dead_letters]
        self._path = settings.database_path
        self._day_of = day_cutter(settings.zone)
        self._servers = bootstrap_servers(settings)
        self._client = f"{ANALYTICS.name}-{runtime.status.slot}"
        self._identity = IdentityWatch(
            common_config(settings, self._servers, f"{self._client}-admin"), self._topics
        )
        self._next: dict[TopicPartition, int | None] = {}
        self._log = RateLimitedLogger()
        self._idle_since = time.monotonic()
        self._looked_at_disk = 0.0

    def run(self) -> None:
        """Work until asked to stop. Raises what only a new process or a person can mend."""
        if not self._prepare():
            return
        group = self._source.group
        common = common_config(self._settings, self._servers, self._client)
        if not await_turn(self._runtime, common, group, self._client, self._topics):
            return
        self._consumer = GroupConsumer(
            consumer_config(self._settings, self._servers, self._client, group, self._client),
            self._topics,
            self._stored,
        )
        while self._runtime.heartbeat():
            if not self._consumer.broker_answers():
                self._runtime.pause("broker")
                continue
            self._identity.check(ANALYTICS.name, self._consumer.bounds)
            messages = self._consumer.fetch(BATCH_RECORDS, LINGER_SECONDS)
            if messages:
                self._store(messages)
            else:
                self._idle()
        self._consumer.close()

    def _prepare(self) -> bool:
        """Open the store and learn who cluster and topics are, waiting for both."""
        engine = None
        while self._runtime.heartbeat():
            try:
                engine = engine or open_engine(self._settings)
                deployment = ensure_deployment(engine, self._settings)
                identity = self._identity.learn()
            except Unavailable as error:
                self._runtime.pause(str(error))
                continue
            self._engine: Engine = engine
            self._source = Source(
                self._names.analytics_group(deployment.deployment_id),
                self._names.analytics,
                identity.cluster_id,
                {name: topic_id_text(i) for name, i in identity.topic_ids.items()},
            )
            return True
        return False

    def _stored(self, partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        """Look up the positions in the database, refusing those of another topic or cluster."""
        with self._engine.begin() as connection:
            rows = stored_positions(connection, self._source.group)
        found = []
        for partition in partitions:
            place = (partition.topic, partition.partition)
            row = rows.get(place)
            if row is not None:
                self._require_same(row)
            self._next[place] = None if row is None else row.next_offset
            known = (-1, None) if row is None else (row.next_offset, row.leader_epoch)
            found.append(offset_at(place, *known))
        return found

    def _require_same(self, row: StreamOffset) -> None:
        place = f"{row.topic}-{row.partition} at {row.next_offset}"
        remedy = (
            "Connect to the one that this database is of; or see `purchases offsets list`, and go"
            " on with `purchases offsets reset analytics --to earliest`."
        )
        if row.cluster_id != self._source.cluster_id:
            raise Mismatch(
                f"The stored position of {place} is of cluster {row.cluster_id}, but this is"
                f" {self._source.cluster_id}. {remedy}"
            )
        if row.topic_id != self._source.topic_ids[row.topic]:
            raise Mismatch(
                f"The stored position of {place} is of a topic that was deleted and created again."
                f" {remedy}"
            )

    def _store(self, messages: list[Message]) -> None:
        self._idle_since = time.monotonic()
        analytics = self._names.analytics
        batch = BatchRows(
            list(event_rows(messages, analytics, self._settings.currency)),
            letter_rows(messages, analytics, self._log),
            advances(messages, self._consumer.positions(), self._next),
        )
        written = self._write(batch)
        if written is not None:
            self._count(messages, batch, written)
            if self._settings.log_level == "debug":
                log_stored(written.new, messages, analytics)

    def _write(self, batch: BatchRows) -> StoredBatch | None:
        """Write the batch, waiting for the database; None where it was dropped to be read again."""
        while True:
            try:
                self._require_space()
                with (
                    self._runtime.watchdog_limit(WRITE_PATIENCE_SECONDS),
                    self._engine.begin() as connection,
                ):
                    now = time.time_ns() // 1000
                    written = write_batch(connection, batch, self._source, self._day_of, now)
            except Unavailable as error:
                self._runtime.pause(str(error))
                if not self._runtime.heartbeat():
                    return None
            except PositionTaken as error:
                get_logger().warning("position_taken", detail=str(error))
                self._consumer.rewind(self._consumer.assignment())
                return None
            else:
                positions = {place: moved.next_offset for place, moved in batch.advances.items()}
                self._next.update(positions)
                self._consumer.commit_for_monitoring(positions)
                return written

    def _require_space(self) -> None:
        """Look once a second whether the disk has room, before it breaks a batch in the middle."""
        now = time.monotonic()
        if now - self._looked_at_disk >= DISK_SECONDS:
            require_space(self._path)
            self._looked_at_disk = now

    def _idle(self) -> None:
        """Store positions that moved past transaction markers, so that lag can reach 0."""
        self._runtime.observe_positions(self._consumer.bounds())
        if time.monotonic() - self._idle_since < IDLE_SECONDS:
            return
        self._idle_since = time.monotonic()
        moved = {
            place: Advance(self._next.get(place), at.offset, at.leader_epoch, 0)
            for place, at in self._consumer.positions().items()
            if at.offset > (self._next.get(place) or 0)
        }
        if moved:
            self._write(BatchRows([], [], moved))

    def _count(self, messages: list[Message], batch: BatchRows, written: StoredBatch) -> None:
        self._runtime.record_batch(
            records=len(messages),
            stored=len(written.new),
            duplicates=written.duplicates,
            refused=[(str(row.reason), None) for row in batch.dead_letters if row.state != STORED],
            last_at=messages[-1].timestamp()[1] / 1000,
        )
        self._runtime.observe_latencies(map(_source_timestamp, written.new))
        self._runtime.observe_positions(self._consumer.bounds())


def main() -> int:
    """Run the worker of the slot that the arguments name; give its exit code."""
    parser = argparse.ArgumentParser(description="The worker of one slot, started by a supervisor.")
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--supervisor", type=int, default=None, help="leave when it is gone")
    arguments = parser.parse_args()
    return run_worker(
        ANALYTICS,
        arguments.slot,
        arguments.supervisor,
        lambda settings, runtime: AnalyticsConsumerApp(settings, runtime).run(),
    )


if __name__ == "__main__":
    sys.exit(main())
