"""The rebuild: live totals, item totals and day ledger, computed from the stored events.

The events themselves are never changed here. The aggregate tables are emptied; Dagster builds them
again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
from streaming.store.live_totals import count_corrections, read_version
from streaming.store.rows import day_cutter
from streaming.store.table_builds import forget_builds
from streaming.units import MICROS, split_sum

# Units and the rest are added up apart: SQLite ends a sum that is beyond 64 bits with an error.
NET: Final = "sum(amount_micros / 1000000), sum(amount_micros % 1000000)"
GROSS: Final = (
    "sum(amount_micros / 1000000) FILTER (WHERE kind = 'sale'),"
    " sum(amount_micros % 1000000) FILTER (WHERE kind = 'sale')"
)
ITEM_COLUMNS: Final = (
    "item, events, items_sold, gross_revenue_micros, net_revenue_micros, gross_revenue_trillions,"
    " net_revenue_trillions"
)
DAY_COLUMNS: Final = "events, items_sold, net_revenue_micros, net_revenue_trillions"
QUARTER: Final = 900 * MICROS
"""The offsets of zones are multiples of a quarter of an hour, but for some of long ago."""
BEFORE: Final = 100_000_000
"""Quarters by which times are moved forward, because division truncates towards zero."""
DAY_SUMS: Final = f"count(*), sum(quantity), {NET} FROM analytics_event"


@dataclass(frozen=True)
class RebuildResult:
    """The number of events, and of the days and items whose figures were wrong.

    `forgotten_builds` is the number of partitions of aggregate tables that are to be built again.
    `backup` is None on a server.
    """

    backup: Path | None
    events: int
    changed_days: int
    changed_items: int
    forgotten_builds: int


def rebuild(settings: Settings, progress: Progress | None = None) -> RebuildResult:
    """Compute live totals, item totals and day ledger from the events, after a backup of a file.

    A running consumer waits and then goes on. `progress` is that of the backup. Archived events are
    rows again then, until they are archived the next time. Raises what `return_days` does.
    """
    # First, so that the backup has all rows, and needs no column file.
    return_days(settings)
    # Before the write lock is taken: a copy takes long, and the consumer goes on meanwhile.
    kept = backup_before(settings, "before-rebuild", progress)
    return recompute(settings, kept)


def backup_before(settings: Settings, why: str, progress: Progress | None = None) -> Path | None:
    """Back a file up; None on a server, whose backups are its administrator's."""
    if not isinstance(settings.database, Path):
        return None
    return backup(settings, backup_path(settings, why), progress)


def recompute(settings: Settings, kept: Path | None, timezone: str | None = None) -> RebuildResult:
    """Compute all figures from the events in one transaction; `kept` is the backup before it.

    With a `timezone`, the deployment has that one from then on, and the days are cut in it. All
    aggregate tables are emptied, because they were built from other figures.

    A day whose figures were right keeps its version. A corrected one gets the version of all
    figures, as if it had changed now, which is above each one before. A day without events keeps
    its row with figures of 0, because without it the version would be 0 again.
    """
    with write_store(settings) as store:
        _require_rows(store)
        if timezone is not None:
            store.execute("UPDATE deployment SET timezone = ?", (timezone,))
        recorded = recorded_deployment(store)
        # The consumer cut the days in the recorded zone; the settings of this host may differ.
        zone = ZoneInfo(recorded.timezone) if recorded else settings.zone
        now = time.time_ns() // 1000
        before = read_version(store)
        events = _rebuild_totals(store, now)
        items = _rebuild_items(store)
        days = _rebuild_ledger(store, zone, before, now)
        # A partition without a build is missing, and Dagster builds it again.
        builds = forget_builds(store)
        # Who rebuilds may have changed events by hand, and the copies would not show it.
        forget_all(store)
        return RebuildResult(kept, events, days, items, builds)


def _require_rows(store: StoreConnection) -> None:
    """Raise `Unavailable` if events were archived since all were returned."""
    if count_archived(store):
        raise Unavailable("A run archives events meanwhile: wait for its end, and try again.")


def _rebuild_totals(store: StoreConnection, now: int) -> int:
    """Replace the one row of all time; return the number of events. `changed_at` only moves."""
    events, items_sold, *money, guests = store.execute(
        f'SELECT count(*), coalesce(sum(quantity), 0), {GROSS}, {NET}, count(*) - count("user")'
        " FROM analytics_event"
    ).fetchone()
    (gross_trillions, gross), (net_trillions, net) = _split(*money[:2]), _split(*money[2:])
    store.execute("DELETE FROM live_totals")
    store.execute(
        "INSERT INTO live_totals (id, events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, gross_revenue_trillions, net_revenue_trillions, guest_events,"
        " changed_at) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (events, items_sold, gross, net, gross_trillions, net_trillions, guests, now),
    )
    return int(events)


def _rebuild_items(store: StoreConnection) -> int:
    """Replace the rows of the items; return how many were wrong."""
    rebuilt = set[tuple[object, ...]]()
    for item, events, items_sold, *money in store.execute(
        f"SELECT item, count(*), sum(quantity), {GROSS}, {NET} FROM analytics_event GROUP BY item"
    ):
        (gross_trillions, gross), (net_trillions, net) = _split(*money[:2]), _split(*money[2:])
        rebuilt.add((item, events, items_sold, gross, net, gross_trillions, net_trillions))
    stored = set(store.execute(f"SELECT {ITEM_COLUMNS} FROM live_item_totals").fetchall())
    # In both directions: a row may be missing, left over, or wrong.
    wrong = {item for item, *_ in rebuilt ^ stored}
    # Right rows are not written again: all of them would go through the WAL.
    store.executemany("DELETE FROM live_item_totals WHERE item = ?", [(item,) for item in wrong])
    store.executemany(
        f"INSERT INTO live_item_totals ({ITEM_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        sorted(rebuilt - stored),
    )
    return len(wrong)


def _rebuild_ledger(store: StoreConnection, zone: ZoneInfo, before: int, now: int) -> int:
    """Correct the days that are wrong, with a new version; return how many they were.

    `before` is the version of all figures before the rebuild.
    """
    rebuilt = _sums_of_days(store, zone)
    stored = {
        day: (sums, version)
        for day, version, *sums in store.execute(
            f"SELECT day, version, {DAY_COLUMNS} FROM day_ledger"
        )
    }
    # A right day is left as it is: a new version would have its tables built again.
    wrong = [
        (day, sums)
        for day in sorted(rebuilt.keys() | stored.keys())
        # Without its row, a day that has no events any more would be of version 0 again.
        for sums in [rebuilt.get(day, [0, 0, 0, 0])]
        if day not in stored or sums != stored[day][0]
    ]
    highest = max([before, *(version for _, version in stored.values())])
    # Above all before: a run under way may still record a build of wrong figures at one of those.
    version = _keep_version(store, highest + bool(wrong), day_cutter(zone)(now), now)
    store.executemany(
        f"INSERT INTO day_ledger (day, version, {DAY_COLUMNS}, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day) DO UPDATE SET"
        " version = excluded.version, events = excluded.events, items_sold = excluded.items_sold,"
        " net_revenue_micros = excluded.net_revenue_micros,"
        " net_revenue_trillions = excluded.net_revenue_trillions, changed_at = excluded.changed_at",
        [(day, version, *sums, now) for day, sums in wrong],
    )
    return len(wrong)


def _keep_version(store: StoreConnection, least: int, today: str, now: int) -> int:
    """Return the version of all figures, after a correction that makes it at least `least`.

    If it fell, the tables' builds would be of higher versions than the days that come next.
    """
    version = read_version(store)
    if version >= least:
        return version
    store.execute(
        "INSERT INTO correction (id, kind, event_id, day_before, day, source_topic,"
        " source_partition, source_offset, source_timestamp, corrected_at)"
        " VALUES (?, 'rebuild', '', ?, ?, '', 0, 0, 0, ?)",
        (count_corrections(store) + least - version, today, today, now),
    )
    return least


def _sums_of_days(store: StoreConnection, zone: ZoneInfo) -> dict[str, list[int]]:
    """Return the values of `DAY_COLUMNS` by day in `zone`, from the events."""
    day_of, sums = day_cutter(zone), dict[str, list[int]]()
    # By quarters of an hour, because a database has no time zones, or other ones than Python.
    quarters = store.execute(
        f"SELECT (event_time + {QUARTER * BEFORE}) / {QUARTER} - {BEFORE}, {DAY_SUMS} GROUP BY 1"
    ).fetchall()
    for number, *values in quarters:
        start = number * QUARTER
        if _is_of_one_offset(start, zone) and day_of(start) == day_of(start + QUARTER - 1):
            _add(sums, day_of(start), values)
            continue
        for time_, *of_moment in store.execute(
            f"SELECT event_time, {DAY_SUMS} WHERE event_time >= ? AND event_time < ? GROUP BY 1",
            (start, start + QUARTER),
        ):
            _add(sums, day_of(time_), of_moment)
    return {
        day: [events, items_sold, *reversed(split_sum(net))]
        for day, (events, items_sold, net) in sums.items()
    }


def _is_of_one_offset(start: int, zone: ZoneInfo) -> bool:
    """Return whether the clocks of `zone` are not changed within the quarter of an hour."""
    first, last = (
        datetime.fromtimestamp(micros // MICROS, UTC).astimezone(zone).utcoffset()
        for micros in (start, start + QUARTER - 1)
    )
    return first == last


def _add(sums: dict[str, list[int]], day: str, values: Sequence[int | None]) -> None:
    events, items_sold, units, rest = (value or 0 for value in values)
    before = sums.get(day, [0, 0, 0])
    net = units * MICROS + rest
    sums[day] = [before[0] + events, before[1] + items_sold, before[2] + net]


def _split(units: int | None, rest: int | None) -> tuple[int, int]:
    """Return the trillions and micros of a sum of units and micros; None is that of no amounts."""
    return split_sum((units or 0) * MICROS + (rest or 0))
