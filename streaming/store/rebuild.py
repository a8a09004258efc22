"""The rebuild: live totals, item totals and day ledger, computed from the stored events.

The events themselves are never changed here. The aggregate tables are emptied; Dagster builds them
again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.archive import count_archived, return_days
from streaming.store.backup import Progress, backup, backup_path
from streaming.store.column_files import forget_all
from streaming.store.connection import StoreConnection, write_store
from streaming.store.deployment import recorded_deployment
from streaming.store.live_totals import read_version
from streaming.store.rows import day_cutter
from streaming.store.table_builds import forget_builds
from streaming.units import MICROS, split_sum

# Units and the rest are added up apart: SQLite ends a sum that is beyond 64 bits with an error.
NET: Final = "sum(amount_micros / 1000000), sum(amount_micros % 1000000)"
GROSS: Final = (
    "sum(amount_micros / 1000000) FILTER (WHERE kind = 'sale'),"
    " sum(amount_micros % 1000000) FILTER (WHERE kind = 'sale')"
)


@dataclass(frozen=True)
class RebuildResult:
    """The number of events, and of the days and items whose figures were wrong.

    `forgotten_builds` is the number of partitions of aggregate tables that are to be built again.
    """

    backup: Path
    events: int
    changed_days: int
    changed_items: int
    forgotten_builds: int


def rebuild(settings: Settings, progress: Progress | None = None) -> RebuildResult:
    """Compute live totals, item totals and day ledger from the events, after a backup.

    A running consumer waits and then goes on. `progress` is that of the backup. Archived events are
    rows again then, until they are archived the next time. Raises what `return_days` does.
    """
    # First, so that the backup has all rows, and needs no column file.
    return_days(settings)
    # Before the write lock is taken: a copy takes long, and the consumer goes on meanwhile.
    kept = backup(settings, backup_path(settings, "before-rebuild"), progress)
    return recompute(settings, kept)


def recompute(settings: Settings, kept: Path, timezone: str | None = None) -> RebuildResult:
    """Compute all figures from the events in one transaction; `kept` is the backup before it.

    With a `timezone`, the deployment has that one from then on, and the days are cut in it. All
    aggregate tables are emptied, because they were built from other figures.

    A day whose figures were right keeps its version. A corrected one gets the version of all
    figures, as if it had changed now, but never less than it had, because versions only grow. A day
    without events keeps its row with figures of 0, because without it the version would be 0 again.
    """
    with write_store(settings) as store:
        _require_rows(store)
        if timezone is not None:
            store.execute("UPDATE deployment SET timezone = ?", (timezone,))
        recorded = recorded_deployment(store)
        # The consumer cut the days in the recorded zone; the settings of this host may differ.
        zone = ZoneInfo(recorded.timezone) if recorded else settings.zone
        # SQLite has neither time zones nor integers of more than 64 bits, so Python computes both.
        store.create_function("local_day", 1, day_cutter(zone), deterministic=True)
        store.create_function("trillions", 2, _trillions, deterministic=True)
        store.create_function("micros", 2, _micros, deterministic=True)
        now = time.time_ns() // 1000
        events = _rebuild_totals(store, now)
        items = _rebuild_items(store)
        days = _rebuild_ledger(store, read_version(store), now)
        # A partition without a build is missing, and Dagster builds it again.
        builds = forget_builds(store)
        # Who rebuilds may have changed events by hand, and the copies would not show it.
        forget_all(store)
        return RebuildResult(kept, events, days, items, builds)


def _require_rows(store: StoreConnection) -> None:
    """Raise `Unavailable` if events were archived since all were returned."""
    if count_archived(store):
        raise Unavailable("A run archives events meanwhile: wait for its end, and try again.")


def _rebuild_totals(connection: StoreConnection, now: int) -> int:
    """Replace the one row of all time; return the number of events. `changed_at` only moves."""
    connection.execute(
        "INSERT INTO live_totals (id, events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, gross_revenue_trillions, net_revenue_trillions, guest_events,"
        " changed_at)"
        f" SELECT 1, count(*), coalesce(sum(quantity), 0), micros({GROSS}), micros({NET}),"
        f' trillions({GROSS}), trillions({NET}), count(*) - count("user"), ?'
        # `WHERE true` is for SQLite's parser, which else takes ON CONFLICT for a join's condition.
        " FROM analytics_event WHERE true"
        " ON CONFLICT (id) DO UPDATE SET (events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, gross_revenue_trillions, net_revenue_trillions, guest_events,"
        " changed_at) = (excluded.events, excluded.items_sold, excluded.gross_revenue_micros,"
        " excluded.net_revenue_micros, excluded.gross_revenue_trillions,"
        " excluded.net_revenue_trillions, excluded.guest_events, excluded.changed_at)",
        (now,),
    )
    row = connection.execute("SELECT events FROM live_totals").fetchone()
    return int(row[0])


def _rebuild_items(connection: StoreConnection) -> int:
    """Replace the rows of the items; return how many were wrong."""
    connection.execute(
        "CREATE TEMP TABLE rebuilt_item AS"
        " SELECT item, count(*) AS events, sum(quantity) AS items_sold,"
        f" micros({GROSS}) AS gross_revenue_micros, micros({NET}) AS net_revenue_micros,"
        f" trillions({GROSS}) AS gross_revenue_trillions,"
        f" trillions({NET}) AS net_revenue_trillions"
        " FROM analytics_event GROUP BY item"
    )
    row = connection.execute(
        "SELECT count(DISTINCT item) FROM ("
        # In both directions: a row may be missing, left over, or wrong.
        " SELECT * FROM (SELECT * FROM rebuilt_item EXCEPT SELECT * FROM live_item_totals)"
        " UNION ALL"
        " SELECT * FROM (SELECT * FROM live_item_totals EXCEPT SELECT * FROM rebuilt_item))"
    ).fetchone()
    # Right rows are not written again: all of them would go through the WAL.
    if row[0]:
        connection.execute("DELETE FROM live_item_totals")
        connection.execute("INSERT INTO live_item_totals SELECT * FROM rebuilt_item")
    return int(row[0])


def _rebuild_ledger(connection: StoreConnection, version: int, now: int) -> int:
    """Correct the days that are wrong, with a new version; return how many they were."""
    connection.execute(
        "CREATE TEMP TABLE rebuilt_day AS"
        " SELECT local_day(event_time) AS day, count(*) AS events, sum(quantity) AS items_sold,"
        f" micros({NET}) AS net_revenue_micros, trillions({NET}) AS net_revenue_trillions"
        " FROM analytics_event GROUP BY 1"
    )
    connection.execute(
        "INSERT INTO rebuilt_day SELECT day, 0, 0, 0, 0 FROM day_ledger"
        " WHERE day NOT IN (SELECT day FROM rebuilt_day)"
    )
    cursor = connection.execute(
        "INSERT INTO day_ledger (day, version, events, items_sold, net_revenue_micros,"
        " net_revenue_trillions, changed_at) SELECT day, ?, events, items_sold,"
        " net_revenue_micros, net_revenue_trillions, ? FROM rebuilt_day WHERE true"
        " ON CONFLICT (day) DO UPDATE SET version = max(version, excluded.version),"
        " events = excluded.events, items_sold = excluded.items_sold,"
        " net_revenue_micros = excluded.net_revenue_micros,"
        " net_revenue_trillions = excluded.net_revenue_trillions,"
        " changed_at = excluded.changed_at"
        # A right day is left as it is: a new version would have its tables built again.
        " WHERE (events, items_sold, net_revenue_micros, net_revenue_trillions) IS NOT"
        " (excluded.events, excluded.items_sold, excluded.net_revenue_micros,"
        " excluded.net_revenue_trillions)",
        (version, now),
    )
    return cursor.rowcount


def _trillions(units: int | None, rest: int | None) -> int:
    """Return the whole trillions of a sum of units and micros; None is the sum of no amounts."""
    return split_sum((units or 0) * MICROS + (rest or 0))[0]


def _micros(units: int | None, rest: int | None) -> int:
    """Return what `_trillions` leaves of a sum."""
    return split_sum((units or 0) * MICROS + (rest or 0))[1]
