"""Computing live totals, item totals and day ledger again from the stored events."""

import time
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from streaming.settings import Settings
from streaming.store.backup import Progress, backup, backup_path
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.deployment import recorded_deployment
from streaming.store.rows import day_cutter


@dataclass(frozen=True)
class RebuildResult:
    """What a rebuild found: of how many events, and how many days and items had other figures.

    `forgotten_builds` is how many partitions of the batch half's tables are to be built again.
    """

    backup: Path
    events: int
    changed_days: int
    changed_items: int
    forgotten_builds: int


def rebuild(settings: Settings, progress: Progress | None = None) -> RebuildResult:
    """Compute live totals, item totals and ledger anew from the events, after a backup.

    What the batch half's tables were built from is forgotten, so that all of them are stale.

    One transaction, so that a running consumer waits and then goes on. A day whose figures were
    right keeps its version. One whose figures change gets the number of all events, as if it had
    changed now, but never less than it had: versions only grow. A day that has no events any more
    stays with figures of 0, as without its row its version would be 0 again. `progress` is that
    of the backup.
    """
    with read_store(settings) as store:
        recorded = recorded_deployment(store)
    kept = backup(settings, backup_path(settings, "before-rebuild"), progress)
    with write_store(settings) as store:
        zone = ZoneInfo(recorded.timezone) if recorded else settings.zone
        store.create_function("local_day", 1, day_cutter(zone), deterministic=True)
        now = time.time_ns() // 1000
        events = _rebuild_totals(store, now)
        items = _rebuild_items(store)
        days = _rebuild_ledger(store, events, now)
        builds = store.execute("DELETE FROM table_build").rowcount
        store.execute("DELETE FROM build_failure")
        return RebuildResult(kept, events, days, items, builds)


def _rebuild_totals(connection: StoreConnection, now: int) -> int:
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


def _rebuild_items(connection: StoreConnection) -> int:
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


def _rebuild_ledger(connection: StoreConnection, events: int, now: int) -> int:
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
