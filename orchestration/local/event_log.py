"""Dagster's event log in SQLite, with its files held open between two events.

Dagster's own class opens, checkpoints and closes a file up to three times an event: four fifths of
a backfill's time. Files, tables, order of events and durability are Dagster's. What is not about
connections does not belong here.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

from dagster import AssetKey, EventLogEntry
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

INDEX: Final = "index"
"""The file that all runs share; each run has another one of its own."""


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log in SQLite, with one open connection to a file.

    It holds the index and the file of the run that was used last: a run's process writes to no
    other, and the webserver, which reads many, must not hold the files of runs that are deleted.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._group: dict[str, Connection] | None = None
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
        with self._owner, self._db_lock:
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
            end, self._group = Connection.commit, {}
            try:
                yield
            except Exception:
                end = Connection.rollback
                raise
            finally:
                with self._db_lock, ExitStack() as stack:
                    group, self._group = self._group, None
                    last_events, self._last_events = self._last_events.values(), {}
                    # The index at last, as Dagster stores an event: a run's file lacks none of it.
                    shards = sorted(group, key=INDEX.__eq__)
                    connections = [stack.enter_context(group[shard]) for shard in shards]
                    for event, event_id in last_events if end is Connection.commit else ():
                        super()._store_asset_event(group[INDEX], event, event_id)
                    for connection in connections:
                        end(connection)

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
