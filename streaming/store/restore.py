"""The upkeep of the database: backups, restoring one, and rebuilding figures from the events.

How a database is copied is in `backup.py`, how its schema is brought up in `migrate.py`.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.backup import Progress, copy_database, require_integrity
from streaming.store.connection import (
    SCHEMA_VERSION,
    connect,
    connect_current,
    newer_schema,
    schema_version,
    store_errors,
)
from streaming.store.rows import day_cutter
from streaming.store.schema import (
    backup_path,
    migrate,
    recorded_deployment,
    require_same_deployment,
)
from streaming.system.lease import acquire, holder


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild found: of how many events, and how many days and items had other figures.

    `forgotten_builds` is how many partitions of the batch half's tables are to be built again.
    """

    backup: Path
    events: int
    changed_days: int
    changed_items: int
    forgotten_builds: int


def backup(
    settings: Settings, target: Path | None = None, progress: Progress | None = None
) -> Path:
    """Copy the database, also while it is written to; give the path of the copy.

    `target` may be a new file or a directory; without it, it is `<home>/backups/`. Raises what
    `copy_database` does.
    """
    path = settings.database_path
    chosen = backup_path(settings, "backup")
    if target is not None:
        chosen = target / chosen.name if target.is_dir() else target
    with closing(connect(path)) as connection:
        copy_database(connection, path, chosen, progress)
    return chosen


def restore(settings: Settings, source: Path, progress: Progress | None = None) -> Path | None:
    """Put the backup `source` in the place of the database, and migrate it if it is older.

    The content is replaced in one transaction, so that who reads meanwhile sees the one or the
    other. Gives the path where the replaced database is kept, None where there was none. Raises
    `PurchasesError` while a worker of this home runs, or where `source` is no backup of a
    deployment with these settings.
    """
    path = settings.database_path
    with closing(_open_backup(source)) as content:
        _require_restorable(content, source, settings)
        with _workers_stopped(settings):
            kept = _set_aside(path, backup_path(settings, "before-restore"))
            if path.exists():
                _replace(content, source, path, progress)
            else:
                copy_database(content, source, path, progress)
            migrate(path)
    return kept


def rebuild(settings: Settings, progress: Progress | None = None) -> Rebuilt:
    """Compute live totals, item totals and ledger anew from the events, after a backup.

    What the batch half's tables were built from is forgotten, so that all of them are stale.

    One transaction, so that a running consumer waits and then goes on. A day whose figures were
    right keeps its version. One whose figures change gets the number of all events, as if it had
    changed now, but never less than it had: versions only grow. A day that has no events any more
    stays with figures of 0, as without its row its version would be 0 again. `progress` is that
    of the backup.
    """
    path = settings.database_path
    with closing(connect_current(path)) as connection:
        kept = backup(settings, backup_path(settings, "before-rebuild"), progress)
        with store_errors(path), _writing(connection):
            recorded = recorded_deployment(connection)
            zone = ZoneInfo(recorded.timezone) if recorded else settings.zone
            connection.create_function("local_day", 1, day_cutter(zone), deterministic=True)
            now = time.time_ns() // 1000
            events = _rebuild_totals(connection, now)
            items = _rebuild_items(connection)
            days = _rebuild_ledger(connection, events, now)
            builds = connection.execute("DELETE FROM table_build").rowcount
            connection.execute("DELETE FROM build_failure")
            return Rebuilt(kept, events, days, items, builds)


def _open_backup(source: Path) -> sqlite3.Connection:
    if not source.is_file():
        raise UsageError(f"There is no backup at {source}.")
    try:
        return connect(source, read_only=True)
    except Unavailable:
        raise
    except PurchasesError as error:
        raise UsageError(f"{source} cannot be restored: is it a backup? {error}") from error


def _require_restorable(content: sqlite3.Connection, source: Path, settings: Settings) -> None:
    path = settings.database_path
    if path.exists() and source.samefile(path):
        raise UsageError(f"{source} is the database itself; name a backup.")
    with store_errors(source):
        found = schema_version(content, source)
        recorded = recorded_deployment(content) if found else None
    if found > SCHEMA_VERSION:
        raise newer_schema(source, found)
    if found == 0:
        raise UsageError(f"{source} is an empty database; name a backup.")
    if recorded is not None:
        require_same_deployment(recorded, settings, source)
    require_integrity(content, source)


@contextmanager
def _workers_stopped(settings: Settings) -> Iterator[None]:
    """Hold the leases of this home's workers, so that none runs or starts."""
    directory = settings.home / "workers"
    slots = {directory / f"analytics-{slot}.lock" for slot in range(settings.analytics_slots)}
    with ExitStack() as leases:
        for lock in sorted(slots | set(directory.glob("*.lock"))):
            lease = acquire(lock)
            if lease is None:
                raise PurchasesError(
                    f"The worker {lock.stem} of this home runs (process {holder(lock)}):"
                    " stop it first, with `purchases down` or Ctrl-C where it was started."
                )
            leases.enter_context(lease)
        yield


def _set_aside(path: Path, kept: Path) -> Path | None:
    """Keep what is there: a copy of a sound database, which stays; a damaged one is moved away."""
    if not path.exists():
        _remove_side_files(path)
        return None
    try:
        with closing(connect(path)) as connection:
            copy_database(connection, path, kept)
    except Unavailable:
        raise
    except PurchasesError:
        with store_errors(path):
            kept.parent.mkdir(parents=True, exist_ok=True)
            for suffix in ("-wal", "-shm", ""):
                file = Path(f"{path}{suffix}")
                if file.exists():
                    file.rename(f"{kept}{suffix}")
    return kept


def _remove_side_files(path: Path) -> None:
    """Remove a WAL that was left without its database: SQLite would add it to the next one."""
    with store_errors(path):
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def _replace(
    content: sqlite3.Connection, source: Path, path: Path, progress: Progress | None
) -> None:
    """Write the content into the database as one transaction of SQLite's backup API."""

    def report(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(connect(path)) as connection, store_errors(path):
        sizes = [c.execute("PRAGMA page_size").fetchone()[0] for c in (content, connection)]
        if sizes[0] != sizes[1]:
            raise PurchasesError(
                f"{source} has pages of {sizes[0]} bytes, {path} of {sizes[1]}:"
                " move that file away, and restore again."
            )
        content.backup(connection, progress=report)


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _rebuild_totals(connection: sqlite3.Connection, now: int) -> int:
    """Replace the one row of all time; give the number of events. `changed_at` only moves."""
    connection.execute(
        "INSERT INTO live_totals"
        " SELECT 1, count(*), coalesce(sum(quantity), 0),"
        " coalesce(sum(amount_micros) FILTER (WHERE kind = 'sale'), 0),"
        " coalesce(sum(amount_micros), 0), count(*) - count(user), ?"
        " FROM analytics_event WHERE true"
        " ON CONFLICT (id) DO UPDATE SET (events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, guest_events, changed_at) = (excluded.events, excluded.items_sold,"
        " excluded.gross_revenue_micros, excluded.net_revenue_micros, excluded.guest_events,"
        " excluded.changed_at)",
        (now,),
    )
    row = connection.execute("SELECT events FROM live_totals").fetchone()
    return int(row[0])


def _rebuild_items(connection: sqlite3.Connection) -> int:
    """Replace the rows of the items; give how many were other than they should have been."""
    connection.execute(
        "CREATE TEMP TABLE rebuilt_item AS"
        " SELECT item, count(*) AS events, sum(quantity) AS items_sold,"
        " coalesce(sum(amount_micros) FILTER (WHERE kind = 'sale'), 0) AS gross_revenue_micros,"
        " coalesce(sum(amount_micros), 0) AS net_revenue_micros"
        " FROM analytics_event GROUP BY item"
    )
    row = connection.execute(
        "SELECT count(DISTINCT item) FROM ("
        " SELECT * FROM (SELECT * FROM rebuilt_item EXCEPT SELECT * FROM live_item_totals)"
        " UNION ALL"
        " SELECT * FROM (SELECT * FROM live_item_totals EXCEPT SELECT * FROM rebuilt_item))"
    ).fetchone()
    if row[0]:
        connection.execute("DELETE FROM live_item_totals")
        connection.execute("INSERT INTO live_item_totals SELECT * FROM rebuilt_item")
    return int(row[0])


def _rebuild_ledger(connection: sqlite3.Connection, events: int, now: int) -> int:
    """Correct the days that are wrong, with a new version; give how many they were."""
    connection.execute(
        "CREATE TEMP TABLE rebuilt_day AS"
        " SELECT local_day(event_time) AS day, count(*) AS events, sum(quantity) AS items_sold,"
        " coalesce(sum(amount_micros), 0) AS net_revenue_micros"
        " FROM analytics_event GROUP BY 1"
    )
    connection.execute(
        "INSERT INTO rebuilt_day SELECT day, 0, 0, 0 FROM day_ledger"
        " WHERE day NOT IN (SELECT day FROM rebuilt_day)"
    )
    cursor = connection.execute(
        "INSERT INTO day_ledger (day, version, events, items_sold, net_revenue_micros, changed_at)"
        " SELECT day, ?, events, items_sold, net_revenue_micros, ? FROM rebuilt_day WHERE true"
        " ON CONFLICT (day) DO UPDATE SET version = max(version, excluded.version),"
        " events = excluded.events, items_sold = excluded.items_sold,"
        " net_revenue_micros = excluded.net_revenue_micros, changed_at = excluded.changed_at"
        " WHERE (events, items_sold, net_revenue_micros) IS NOT"
        " (excluded.events, excluded.items_sold, excluded.net_revenue_micros)",
        (events, now),
    )
    return cursor.rowcount
