"""Dagster's event log in SQLite, with its files held open between two events.

Dagster's own class opens, checkpoints and closes a file up to three times an event: four fifths of
a backfill's time. Files, tables, order of events and durability are Dagster's. What is not about
connections does not belong here.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any, Final, Self

from dagster import AssetKey, DagsterEventType, EventLogEntry
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, bindparam, create_engine
from sqlalchemy.pool import QueuePool

INDEX: Final = "index"
"""The file that all runs share; each run has another one of its own."""
EVALUATION: Final = DagsterEventType.ASSET_CHECK_EVALUATION
MANY: Final = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_MATERIALIZATION,
    EVALUATION,
}
"""The events of which a run has one for each partition of each table."""
_INSERT: Final = SqlEventLogStorageTable.insert()
_INSERT_NUMBERED: Final = _INSERT.returning(
    SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
)
_CHECK: Final = AssetCheckExecutionsTable.c
_UPDATE_CHECK: Final = AssetCheckExecutionsTable.update().where(
    _CHECK.asset_key == bindparam("of_asset"),
    _CHECK.check_name == bindparam("of_check"),
    _CHECK.run_id == bindparam("of_run"),
    _CHECK.partition.is_(bindparam("of_partition")),
)


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log in SQLite, with one open connection to a file.

    It holds the index and the file of the run that was used last: a run's process writes to no
    other, and the webserver, which reads many, must not hold the files of runs that are deleted.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._group: dict[str, Connection] | None = None
        self._waiting: list[EventLogEntry] = []
        self._is_partial = False
        self._last_events: dict[tuple[AssetKey, str], tuple[EventLogEntry, int]] = {}
        # A group is of one thread: what others store must not end with it.
        self._owner = threading.RLock()
        self._tables: set[str] = set()
        self._watcher = SqlPollingEventWatcher(self)
        # SQLite's connections must not be used by a forked child.
        os.register_at_fork(after_in_child=self._engines.clear)
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Return the storage of a configuration; its one value is `base_dir`."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        # In this order everywhere: a thread that waits for a group to end must not hold Dagster's
        # lock.
        with self._owner:
            # Whoever reads sees them, and what is stored next follows them.
            self._store_waiting()
            with self._db_lock:
                if self._group is None:
                    with self._engine(shard).connect() as connection, connection.begin():
                        yield connection
                else:
                    yield self._group.get(shard) or self._begin(shard, self._group)

    @contextmanager
    def store_together(self) -> Iterator[None]:
        """Store the events of the block in one transaction of each file; if it fails, none of them.

        An interruption is no failure. A killed process stored none of the events. Other processes
        cannot write to the index from the first event to the end of the block, and other threads
        wait for it.
        """
        with self._owner:
            if self._group is not None:
                yield  # a batch within a block, which ends with it
                return
            self._group, self._is_partial = {}, False
            try:
                yield
            except Exception:
                self._is_partial = True
                raise
            finally:
                try:
                    if not self._is_partial:
                        self._commit_group(self._group)
                finally:
                    self._end_group(self._group)

    def _commit_group(self, group: dict[str, Connection]) -> None:
        self._store_waiting()
        with self._db_lock:
            for event, event_id in self._last_events.values():
                super()._store_asset_event(group[INDEX], event, event_id)
            # The index at last, as Dagster stores an event: a run's file lacks none of it.
            for shard in sorted(group, key=INDEX.__eq__):
                group[shard].commit()

    def _end_group(self, group: dict[str, Connection]) -> None:
        """Close a group's transactions, which undoes what is not committed."""
        with self._db_lock, ExitStack() as stack:
            self._group, self._waiting, self._last_events = None, [], {}
            for connection in group.values():
                stack.callback(connection.close)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; within a block, those of which there are many wait for the others.

        One statement for all of them takes half as long as one for each.
        """
        with self._owner:
            if self._group is not None and event.dagster_event_type in MANY:
                self._waiting.append(event)
            else:
                super().store_event(event)

    def _store_waiting(self) -> None:
        """Store what waits; if that is interrupted, the files differ, and the block is undone."""
        if not self._waiting:
            return
        events, self._waiting = self._waiting, []
        # What an earlier one left partial stays so.
        was_partial, self._is_partial = self._is_partial, True
        for run_id, of_run in groupby(events, lambda event: event.run_id):
            self._store_events(run_id, list(of_run))
        self._is_partial = was_partial

    def _store_events(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        """Store events of a run into its file and the index, as Dagster's class does one by one."""
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(run_id) as connection:
            connection.execute(_INSERT, rows)
        with self.index_connection() as connection:
            numbers = connection.execute(_INSERT_NUMBERED, rows).scalars().all()
            stored = list(zip(events, numbers, rows, strict=True))
            for event, number, _ in stored:
                if event.dagster_event_type in ASSET_EVENTS:
                    self._store_asset_event_tags(connection, [event], [number])
                    self._store_asset_event(connection, event, number)
            evaluations = [each for each in stored if each[0].dagster_event_type == EVALUATION]
            # Of no run none is planned.
            were_planned = run_id and _update_checks(connection, evaluations)
        if not were_planned:
            for event, number, _ in evaluations:
                self.store_asset_check_event(event, number)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Update the asset's row in the index; of a group's events only by the last of each type.

        Each would replace what the one before wrote, which is half of the work of storing it.
        """
        dagster_event = event.dagster_event
        if self._group is None or dagster_event is None or dagster_event.asset_key is None:
            super()._store_asset_event(conn, event, event_id)
            return
        kind = (dagster_event.asset_key, dagster_event.event_type_value)
        self._last_events.pop(kind, None)
        self._last_events[kind] = event, event_id

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has a table; it never loses one."""
        # Callers may hold the lock of `_connect`, so this one asks by a connection of its own.
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back with each new event of a run, as the run's page in Dagster's UI does."""
        # Dagster's class waits for a change of the run's file. With the file held open, events
        # stay in the write-ahead log beside it for a thousand pages.
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        """End a `watch`."""
        self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Close all files."""
        self._watcher.close()
        with self._db_lock:
            self._close(set(self._engines))
        super().dispose()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events that Dagster has at once, such as a run's plan, in one transaction."""
        with self.store_together():
            super().store_event_batch(events)

    def _engine(self, shard: str) -> Engine:
        """Return the engine of a file; one that is new closes that of the run before."""
        if shard in self._engines:
            return self._engines[shard]
        self._close(self._engines.keys() - {INDEX})
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return self._engines.setdefault(shard, engine)

    def _begin(self, shard: str, group: dict[str, Connection]) -> Connection:
        """Begin the transaction of a file in a group of events."""
        group[shard] = connection = self._engine(shard).connect()
        connection.begin()
        return connection

    def _close(self, shards: set[str]) -> None:
        for shard in shards:
            self._engines.pop(shard).dispose()


def _update_checks(
    connection: Connection, evaluations: Sequence[tuple[EventLogEntry, int, Mapping[str, Any]]]
) -> bool:
    """Update the rows of checks that were planned; return whether each had one.

    An evaluation is an event with its number and its row in the index.
    """
    if not evaluations:
        return True
    updates = []
    for event, number, row in evaluations:
        check: Any = event.get_dagster_event().event_specific_data
        status = AssetCheckExecutionRecordStatus
        target = check.target_materialization_data
        updates.append(
            {
                "of_asset": check.asset_key.to_string(),
                "of_check": check.check_name,
                "of_run": event.run_id,
                "of_partition": check.partition,
                "execution_status": (status.SUCCEEDED if check.passed else status.FAILED).value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": number,
                "materialization_event_storage_id": target.storage_id if target else None,
            }
        )
    return connection.execute(_UPDATE_CHECK, updates).rowcount == len(updates)
