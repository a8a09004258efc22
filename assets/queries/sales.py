"""What was sold on a range of days, for the page's History and the API: queries, records out.

Read inside the caller's snapshot. How the figures stand against the stream is in `truth`.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Final, Literal
from zoneinfo import ZoneInfo

from assets.queries.records import Customer, Range, Sold, SoldIn, SoldOf, sold, sold_in, sold_of
from streaming.store.connection import StoreConnection
from streaming.totals.queries import day_span, last_row
from streaming.totals.queries import descriptions as lately_described
from streaming.units import decimal_text

Ordering = Literal["items_sold", "net_revenue", "gross_revenue", "events"]
CustomerOrdering = Literal["net_revenue", "orders", "items_sold", "last_purchase"]

ADDITIVE: Final = "events, items_sold, gross_revenue_micros, net_revenue_micros"
SUMS: Final = ", ".join(f"coalesce(sum({name}), 0)" for name in ADDITIVE.split(", "))
LOOKED_AT: Final = 5_000
PART_OF_HISTORY: Final = 3
"""A range of more than a third of all days is faster summed along the index by name."""

_CUSTOMER: Final = tuple(n for n in Customer.__struct_fields__ if n != "net_revenue")


def last_days(store: StoreConnection, number: int, today: date) -> Range:
    """Give as many days up to the last one that has events, which is today or before."""
    row = store.execute(
        "SELECT max(day) FROM day_ledger WHERE day <= ? AND events > 0", (today.isoformat(),)
    ).fetchone()
    last = today if row[0] is None else date.fromisoformat(row[0])
    return Range(last - timedelta(number - 1), last)


def by_day(
    store: StoreConnection, table: str, days: Range, name: tuple[str, str] | None = None
) -> list[SoldIn]:
    """Read figures by day; `name` is the column `item` or `country` and which one."""
    where, values = _named(name)
    rows = store.execute(
        f"SELECT day, {ADDITIVE}, orders, customers FROM {table}"
        f" WHERE day BETWEEN ? AND ?{where} ORDER BY day",
        (*days.parameters(), *values),
    )
    return [sold_in(str(day), figures, orders, buyers) for day, *figures, orders, buyers in rows]


def by_hour(store: StoreConnection, days: Range) -> list[SoldIn]:
    """Read figures by local hour."""
    rows = store.execute(
        f"SELECT hour, utc_offset, {ADDITIVE}, orders, customers FROM hourly_sales"
        " WHERE day BETWEEN ? AND ? ORDER BY hour",
        days.parameters(),
    )
    return [
        sold_in(_local(hour, offset), figures, orders, buyers)
        for hour, offset, *figures, orders, buyers in rows
    ]


def in_all(
    store: StoreConnection, table: str, days: Range, name: tuple[str, str] | None = None
) -> Sold:
    """Sum a range of days."""
    where, values = _named(name)
    row = store.execute(
        f"SELECT {SUMS} FROM {table} WHERE day BETWEEN ? AND ?{where}",
        (*days.parameters(), *values),
    ).fetchone()
    return sold(*row)


def by_day_of_customer(
    store: StoreConnection, days: Range, user: str, zone: ZoneInfo
) -> list[SoldIn]:
    """Sum a customer's events by local day: no table has them, so all events are looked at."""
    span = day_span(days.first, zone)[0], day_span(days.last, zone)[1]
    rows = store.execute(
        "SELECT event_time, quantity, coalesce(amount_micros, 0), order_id FROM analytics_event"
        " WHERE user = ? AND +event_time >= ? AND +event_time < ? ORDER BY event_time",
        (user, *span),
    )
    found: dict[str, list[tuple[int, int, str | None]]] = {}
    for time, *figures in rows:
        day = datetime.fromtimestamp(time / 1e6, zone).date().isoformat()
        found.setdefault(day, []).append(tuple(figures))
    return [_of_events(day, events) for day, events in found.items()]


def summed(points: Iterable[Sold]) -> Sold:
    """Add figures up."""
    rows = [(p.events, p.items_sold, p.gross_revenue_micros, p.net_revenue_micros) for p in points]
    return sold(*map(sum, zip((0, 0, 0, 0), *rows, strict=True)))


def ranked(
    store: StoreConnection, days: Range, what: str, order: Ordering, page: slice
) -> tuple[int, list[SoldOf]]:
    """Rank the items or countries (`what`) of a range; equals by net revenue, then name.

    Gives how many there are, and a page of them.
    """
    column = order if order in ADDITIVE.split(", ") else f"{order}_micros"
    rows = store.execute(
        f"SELECT {what}, {SUMS} FROM daily_{what}_sales {_along(store, days, what)}"
        f" WHERE day BETWEEN ? AND ? GROUP BY {what}"
        f" ORDER BY sum({column}) DESC, sum(net_revenue_micros) DESC, {what}",
        days.parameters(),
    ).fetchall()
    found = [
        sold_of(rank, name, figures)
        for rank, (name, *figures) in enumerate(rows[page], page.start + 1)
    ]
    return len(rows), found


def customers(
    store: StoreConnection, order: CustomerOrdering, limit: int, offset: int
) -> list[Customer]:
    """Read a page of the customers, best first."""
    column = "net_revenue_micros" if order == "net_revenue" else order
    rows = store.execute(
        f"SELECT {', '.join(_CUSTOMER)} FROM customer_summary"
        f" ORDER BY {column} DESC, user LIMIT ? OFFSET ?",
        (limit, offset),
    )
    found = [dict(zip(_CUSTOMER, row, strict=True)) for row in rows]
    return [Customer(**row, net_revenue=decimal_text(row["net_revenue_micros"])) for row in found]


def descriptions(store: StoreConnection, items: Sequence[str], zone: ZoneInfo) -> dict[str, str]:
    """Find how items were described: lately, or else on the last day on which they were sold."""
    found = lately_described(store, items, last_row(store))
    for item in set(items) - found.keys():
        (day,) = store.execute(
            "SELECT max(day) FROM daily_item_sales WHERE item = ?", (item,)
        ).fetchone()
        row = store.execute(
            "SELECT description FROM (SELECT item, description FROM analytics_event"
            f" WHERE event_time >= ? ORDER BY event_time LIMIT {LOOKED_AT})"
            " WHERE item = ? AND description IS NOT NULL",
            (day_span(date.fromisoformat(day), zone)[0], item),
        ).fetchone()
        found |= {item: row[0]} if row else {}
    return found


def _named(name: tuple[str, str] | None) -> tuple[str, tuple[str, ...]]:
    return (f" AND {name[0]} = ?", (name[1],)) if name else ("", ())


def _along(store: StoreConnection, days: Range, what: str) -> str:
    """Choose between reading the days of the range, and all days sorted by name."""
    built = store.execute("SELECT count(*) FROM daily_sales").fetchone()[0]
    return (
        f"INDEXED BY ix_daily_{what}_sales_{what}_day"
        if days.days * PART_OF_HISTORY > built
        else ""
    )


def _of_events(day: str, events: Sequence[tuple[int, int, str | None]]) -> SoldIn:
    """Sum one customer's events of a day: quantity, amount (micros), order."""
    quantities, amounts, orders = zip(*events, strict=True)
    gross = sum(amount for quantity, amount, _ in events if quantity > 0)
    figures = (len(events), sum(quantities), gross, sum(amounts))
    return sold_in(day, figures, len(set(orders) - {None}), None)


def _local(hour: int, utc_offset: int) -> str:
    """Write the start of an hour (µs) in local time."""
    zone = timezone(timedelta(seconds=utc_offset))
    return datetime.fromtimestamp(hour / 1e6, zone).isoformat(timespec="minutes")
