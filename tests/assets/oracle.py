"""Every table computed a second way: plain SQL over the events, days by the standard library."""

import calendar
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from assets.tables.aggregate import EVENT_COLUMNS

METRICS = """count(*) AS events, sum(quantity) AS items_sold,
 coalesce(sum(CASE WHEN quantity > 0 THEN amount_micros END), 0) AS gross_revenue_micros,
 coalesce(sum(amount_micros), 0) AS net_revenue_micros"""
COUNTS = "count(DISTINCT order_id) AS orders, count(DISTINCT user) AS customers"
ITEMS = f"SELECT day, item, {METRICS}, {COUNTS} FROM local_event GROUP BY day, item"
BEST = "ORDER BY items_sold DESC, net_revenue_micros DESC, item"
CUSTOMERS = f"""SELECT user, min(event_time) AS first_purchase, max(event_time) AS last_purchase,
 {METRICS}, count(DISTINCT order_id) AS orders,
 ((SELECT max(event_time) FROM local_event) - max(event_time)) / 86400000000 AS recency_days
 FROM local_event WHERE user IS NOT NULL GROUP BY user"""
WORSE = "1 + 5 * (rank() OVER (ORDER BY {}) - 1) / count(*) OVER ()"

TABLES = {
    "hourly_sales": (
        f"SELECT day, hour, min(utc_offset), {METRICS}, {COUNTS} FROM local_event"
        " GROUP BY day, hour ORDER BY day, hour"
    ),
    "daily_sales": f"SELECT day, {METRICS}, {COUNTS} FROM local_event GROUP BY day ORDER BY day",
    "daily_item_sales": (
        f"SELECT *, row_number() OVER (PARTITION BY day {BEST}) FROM ({ITEMS}) ORDER BY day, item"
    ),
    "daily_country_sales": (
        f"SELECT day, coalesce(country, '') AS place, {METRICS}, {COUNTS} FROM local_event"
        " GROUP BY day, place ORDER BY day, place"
    ),
    "customer_summary": (
        f"SELECT *, {WORSE.format('recency_days DESC')}, {WORSE.format('orders')},"
        f" {WORSE.format('net_revenue_micros')} FROM ({CUSTOMERS}) ORDER BY user"
    ),
    "sales_summary": (
        f"SELECT 1, {METRICS.replace('sum(quantity)', 'coalesce(sum(quantity), 0)')}, {COUNTS},"
        f" (SELECT item FROM (SELECT item, {METRICS} FROM local_event GROUP BY item {BEST})),"
        f" (SELECT items_sold FROM (SELECT item, {METRICS} FROM local_event GROUP BY item {BEST})),"
        " min(event_time), max(event_time) FROM local_event"
    ),
}


def prepare(connection: sqlite3.Connection, zone: ZoneInfo, source: str) -> None:
    """Make the temporary table of the events in `source` with their local day and hour."""

    @lru_cache(maxsize=100_000)
    def of_second(second: int) -> tuple[str, int, int]:
        local = datetime.fromtimestamp(second, UTC).astimezone(zone)
        offset = local.utcoffset()
        assert offset is not None
        seconds = int(offset.total_seconds())
        start = calendar.timegm((local.year, local.month, local.day, local.hour, 0, 0)) - seconds
        return local.date().isoformat(), start * 1_000_000, seconds

    def register(name: str, index: int) -> None:
        connection.create_function(name, 1, lambda micros: of_second(micros // 1_000_000)[index])

    for index, name in enumerate(("local_day", "local_hour", "local_offset")):
        register(name, index)
    connection.execute(
        "CREATE TEMP TABLE local_event AS SELECT *, local_day(event_time) AS day,"
        f" local_hour(event_time) AS hour, local_offset(event_time) AS utc_offset FROM {source}"
    )


def rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Return all rows of a table as they must be, by its key; no sum is a trillion or more."""
    return [(*row, 0, 0) for row in connection.execute(TABLES[table])]


def run_tables(
    events: Iterable[Sequence[object]], zone: ZoneInfo
) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table of some events, which are tuples of `EVENT_COLUMNS`."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE event ({', '.join(EVENT_COLUMNS)})")
    marks = ", ".join("?" * len(EVENT_COLUMNS))
    connection.executemany(f"INSERT INTO event VALUES ({marks})", events)
    prepare(connection, zone, "event")
    by_table = {table: rows(connection, table) for table in TABLES}
    connection.close()
    return by_table
