"""Search of items, countries, customers and orders by a part of their name.

It reads inside the caller's snapshot, and never more than `SEARCHED_ROWS` events.
"""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from assets.queries.records import SearchHit
from streaming.store.connection import StoreConnection
from streaming.store.dialect import contains
from streaming.totals.queries import last_row

MOST_HITS: Final = 6
"""Names of a kind that are shown: a longer text finds the others."""
USER: Final = '"user"'
SEARCHED_ROWS: Final = 500_000
"""The last events, in which descriptions and orders are searched: about half a second."""


def search(store: StoreConnection, text: str, zone: ZoneInfo) -> list[SearchHit]:
    """Return what has the text in its name, best sold first of each kind, whatever its case."""
    pattern = f"%{text.translate(ESCAPED)}%"
    since = last_row(store) - SEARCHED_ROWS
    return [
        *_items(store, pattern, since),
        *_countries(store, pattern),
        *_customers(store, pattern),
        *_orders(store, pattern, since, zone),
    ]


def _items(store: StoreConnection, pattern: str, since: int) -> list[SearchHit]:
    conditions = {
        f"{column}_contains": contains(store, column, ":pattern")
        for column in ("description", "item")
    }
    values = {"pattern": pattern, "since": since, "limit": MOST_HITS}
    rows = store.execute(_ITEMS.format(**conditions), values)
    return [SearchHit("item", name, description) for name, description in rows]


def _countries(store: StoreConnection, pattern: str) -> list[SearchHit]:
    rows = store.execute(
        "SELECT DISTINCT country FROM daily_country_sales"  # noqa: S608 - no input
        f" WHERE {contains(store, 'country', '?')} ORDER BY 1 LIMIT ?",
        (pattern, MOST_HITS),
    )
    return [SearchHit("country", name, None) for (name,) in rows]


def _customers(store: StoreConnection, pattern: str) -> list[SearchHit]:
    rows = store.execute(
        f'SELECT "user" FROM customer_summary WHERE {contains(store, USER, "?")}'  # noqa: S608
        ' ORDER BY net_revenue_trillions DESC, net_revenue_micros DESC, "user" LIMIT ?',
        (pattern, MOST_HITS),
    )
    return [SearchHit("customer", name, None) for (name,) in rows]


def _orders(store: StoreConnection, pattern: str, since: int, zone: ZoneInfo) -> list[SearchHit]:
    # The newest first: whoever looks an order up has mostly just placed it.
    rows = store.execute(
        "SELECT order_id, min(event_time), max(event_time) FROM analytics_event"  # noqa: S608
        f" WHERE rowid > ? AND {contains(store, 'order_id', '?')}"
        " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
        (since, pattern, MOST_HITS),
    )
    return [
        SearchHit("order", name, None, *(local_day(time, zone) for time in (first, last)))
        for name, first, last in rows
    ]


def local_day(time: int, zone: ZoneInfo) -> date:
    """Return the local day of a time (µs)."""
    return datetime.fromtimestamp(time / 1e6, zone).date()


ESCAPED: Final = str.maketrans({"%": "\\%", "_": "\\_", "\\": "\\\\"})
"""A wildcard in what was typed stands for itself."""
_ITEMS: Final = """
WITH described AS (
  SELECT item, max(description) AS description FROM analytics_event
  WHERE rowid > :since AND ({description_contains} OR {item_contains})
  GROUP BY item
), named AS (SELECT item FROM live_item_totals WHERE {item_contains})
SELECT t.item, d.description FROM live_item_totals t LEFT JOIN described d ON d.item = t.item
WHERE t.item IN (SELECT item FROM described UNION SELECT item FROM named)
ORDER BY t.items_sold DESC, t.item LIMIT :limit
"""
