"""Queries of sales over a range of days, for the dashboard and the API.

They read inside the caller's snapshot. The freshness of the figures is in `freshness`.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final, Literal

from assets.queries.records import (
    Customer,
    PeriodFigures,
    RankedFigures,
    SalesFigures,
    counted_figures,
    period_figures,
    ranked_figures,
    sales_figures,
    whole_figures,
)
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection
from streaming.store.dialect import index_hint
from streaming.totals.queries import day_span, last_row
from streaming.totals.queries import descriptions as read_recent_descriptions
from streaming.units import decimal_text, whole_sum

Ordering = Literal["items_sold", "net_revenue", "gross_revenue", "events"]
Direction = Literal["descending", "ascending"]
CustomerOrdering = Literal["net_revenue", "orders", "items_sold", "last_purchase"]

GROSS: Final = (
    "gross_revenue_trillions * 1000000000000 + gross_revenue_micros / 1000000",
    "gross_revenue_micros % 1000000",
)
NET: Final = (
    "net_revenue_trillions * 1000000000000 + net_revenue_micros / 1000000",
    "net_revenue_micros % 1000000",
)
ADDITIVE: Final = ", ".join(("events", "items_sold", *GROSS, *NET))
"""The columns of `whole_figures`: units of money and the rest (micros) stand apart, because
SQLite ends a sum that is beyond 64 bits with an error."""
SUMS: Final = ", ".join(f"coalesce(sum({column}), 0)" for column in ADDITIVE.split(", "))
DESCRIPTION_ROWS: Final = 5_000
"""Events of a day that are searched for a description; a busy day has too many for a request."""
INDEX_SHARE: Final = 3
"""A range of more than a third of all days is faster summed along the index by name."""

_NOT_BUILT: Final = """
SELECT CAST(day AS TEXT), events, items_sold, net_revenue_trillions, net_revenue_micros
FROM day_ledger WHERE day BETWEEN ? AND ? AND NOT EXISTS (
  SELECT 1 FROM table_build WHERE table_name = 'daily_sales' AND partition = CAST(day AS TEXT)
)
"""
SQL_ORDER: Final[dict[Direction, str]] = {"descending": "DESC", "ascending": "ASC"}

_SUMMED: Final = (
    "item, events, items_sold, gross_revenue_trillions, gross_revenue_micros,"
    " net_revenue_trillions, net_revenue_micros"
)
# A minus before all columns but the first, the item.
_TAKEN_OFF: Final = _SUMMED.replace(", ", ", -")
_CUSTOMER: Final = tuple(n for n in Customer.__struct_fields__ if n != "net_revenue")
_CUSTOMER_COLUMNS: Final = ", ".join(f'"{name}"' for name in _CUSTOMER)


def read_last_days(store: StoreConnection, number: int, today: date) -> DayRange:
    """Return so many days up to the last day with events that is not after today."""
    row = store.execute(
        "SELECT max(day) FROM day_ledger WHERE day <= ? AND events > 0", (today.isoformat(),)
    ).fetchone()
    last = today if row[0] is None else date.fromisoformat(row[0])
    return DayRange(last - timedelta(number - 1), last)


def read_days(
    store: StoreConnection, table: str, days: DayRange, name: tuple[str, str] | None = None
) -> list[PeriodFigures]:
    """Read figures by day; `name` is the column `item` or `country` and which one."""
    where, values = _name_condition(name)
    rows = store.execute(
        f"SELECT day, {ADDITIVE}, orders, customers FROM {table}"
        f" WHERE day BETWEEN ? AND ?{where} ORDER BY day",
        (*days.iso_bounds(), *values),
    )
    return [
        period_figures(str(day), whole_figures(figures), orders, buyers)
        for day, *figures, orders, buyers in rows
    ]


def read_days_of_shop(store: StoreConnection, days: DayRange) -> list[PeriodFigures]:
    """Read figures by day; days that are not built have what the ledger counted of them."""
    rows = store.execute(_NOT_BUILT, days.iso_bounds())
    counted = [
        counted_figures(day, events, items_sold, whole_sum(trillions, micros))
        for day, events, items_sold, trillions, micros in rows
    ]
    return sorted([*read_days(store, "daily_sales", days), *counted], key=lambda point: point.at)


def read_hours(store: StoreConnection, days: DayRange) -> list[PeriodFigures]:
    """Read figures by local hour."""
    rows = store.execute(
        f"SELECT hour, utc_offset, {ADDITIVE}, orders, customers FROM hourly_sales"
        " WHERE day BETWEEN ? AND ? ORDER BY hour",
        days.iso_bounds(),
    )
    return [
        period_figures(_local_text(hour, offset), whole_figures(figures), orders, buyers)
        for hour, offset, *figures, orders, buyers in rows
    ]


def read_sum(
    store: StoreConnection, table: str, days: DayRange, name: tuple[str, str] | None = None
) -> SalesFigures:
    """Sum a range of days."""
    where, values = _name_condition(name)
    row = store.execute(
        f"SELECT {SUMS} FROM {table} WHERE day BETWEEN ? AND ?{where}",
        (*days.iso_bounds(), *values),
    ).fetchone()
    return sales_figures(*whole_figures(row))


def sum_figures(points: Iterable[SalesFigures]) -> SalesFigures:
    """Add figures up."""
    summed = list(points)
    gross = [p.gross_revenue_micros for p in summed if p.gross_revenue_micros is not None]
    return sales_figures(
        sum(p.events for p in summed),
        sum(p.items_sold for p in summed),
        sum(gross) if len(gross) == len(summed) else None,
        sum(p.net_revenue_micros for p in summed),
    )


def read_ranking(  # noqa: PLR0913, PLR0917 - what a ranking is
    store: StoreConnection,
    days: DayRange,
    column: str,
    order: Ordering,
    direction: Direction,
    page: slice,
) -> tuple[int, list[RankedFigures]]:
    """Rank the items or countries (`column`) of a range; equals by net revenue, then name.

    Returns how many there are, and a page of them.
    """
    way = SQL_ORDER[direction]
    sums = {"net_revenue": money_order(*NET, way), "gross_revenue": money_order(*GROSS, way)}
    first = sums.get(order, f"sum({order}) {way}")
    source, values = _ranked_rows(store, days, column)
    group = f"GROUP BY {column} HAVING sum(events) > 0"
    (total,) = store.execute(
        f"SELECT count(*) FROM (SELECT 1 {source} {group}) AS ranked", values
    ).fetchone()
    # SQLite keeps no more than the page while it sorts; a shop may have 150,000 items a day.
    rows = store.execute(
        f"SELECT {column}, {SUMS} {source} {group}"
        f" ORDER BY {first}, {sums['net_revenue']}, {column} LIMIT ? OFFSET ?",
        (*values, page.stop - page.start, page.start),
    )
    ranking = [
        ranked_figures(rank, name, whole_figures(figures))
        for rank, (name, *figures) in enumerate(rows, page.start + 1)
    ]
    return total, ranking


def read_customers(
    store: StoreConnection,
    order: CustomerOrdering,
    direction: Direction,
    limit: int,
    offset: int,
) -> list[Customer]:
    """Read a page of the customers."""
    way = SQL_ORDER[direction]
    revenue = f"net_revenue_trillions {way}, net_revenue_micros"
    by = revenue if order == "net_revenue" else order
    rows = store.execute(
        f"SELECT net_revenue_trillions, {_CUSTOMER_COLUMNS} FROM customer_summary"
        f' ORDER BY {by} {way}, "user" LIMIT ? OFFSET ?',
        (limit, offset),
    )
    return [
        _customer(trillions, dict(zip(_CUSTOMER, row, strict=True))) for trillions, *row in rows
    ]


def read_descriptions(
    store: StoreConnection, items: Sequence[str], settings: Settings
) -> dict[str, str]:
    """Read the items' recent descriptions, or else those of the last day with a sale.

    Without the items that have none, or none lately and no day that is built.
    """
    described = read_recent_descriptions(store, items, last_row(store))
    # An item that has not been sold lately: its last day is in the index, so one day is read.
    for item in set(items) - described.keys():
        (day,) = store.execute(
            "SELECT max(day) FROM daily_item_sales WHERE item = ?", (item,)
        ).fetchone()
        if day is None:
            continue
        start, end = day_span(date.fromisoformat(day), settings.zone)
        show_archived(store, open_column_store(settings), (start, end), {"item": {item}})
        row = store.execute(
            "SELECT description FROM (SELECT item, description FROM analytics_event"
            f" WHERE event_time >= ? ORDER BY event_time, event_id LIMIT {DESCRIPTION_ROWS}) AS day"
            " WHERE item = ? AND description IS NOT NULL",
            (start, item),
        ).fetchone()
        described |= {item: row[0]} if row else {}
    return described


def money_order(units: str, rest: str, way: str) -> str:
    """Return the order of the sums of money: whole units first, of which the rest makes some."""
    rests = f"coalesce(sum({rest}), 0)"
    # A remainder in SQL has the sign of the sum: made positive, it orders sums of one number of
    # units.
    micros = f"(({rests} % 1000000 + 1000000) % 1000000)"
    return f"coalesce(sum({units}), 0) + ({rests} - {micros}) / 1000000 {way}, {micros} {way}"


def _customer(trillions: int, row: dict[str, Any]) -> Customer:
    micros = whole_sum(trillions, row["net_revenue_micros"])
    return Customer(**{**row, "net_revenue_micros": micros}, net_revenue=decimal_text(micros))


def _name_condition(name: tuple[str, str] | None) -> tuple[str, tuple[str, ...]]:
    return (f" AND {name[0]} = ?", (name[1],)) if name else ("", ())


def _ranked_rows(store: StoreConnection, days: DayRange, column: str) -> tuple[str, list[str]]:
    """Return the FROM of a range's rows with the columns of `ADDITIVE`, and its values.

    Of items the nearest months are read as months, and the days between added or taken off: a shop
    with 5,000 items has two million rows of days in a year.
    """
    near = days.near_months() if column == "item" else None
    if near is None:
        hint = _index_hint(store, days, column)
        return f"FROM daily_{column}_sales {hint} WHERE day BETWEEN ? AND ?", [*days.iso_bounds()]
    months, lacking, beyond = near
    parts = [
        f"SELECT {_SUMMED} FROM monthly_item_sales WHERE month BETWEEN ? AND ?",
        *[f"SELECT {_SUMMED} FROM daily_item_sales WHERE day BETWEEN ? AND ?"] * len(lacking),
        *[f"SELECT {_TAKEN_OFF} FROM daily_item_sales WHERE day BETWEEN ? AND ?"] * len(beyond),
    ]
    ranges = (months, *lacking, *beyond)
    return (
        f"FROM ({' UNION ALL '.join(parts)}) AS summed",
        [bound for each in ranges for bound in each.iso_bounds()],
    )


def _index_hint(store: StoreConnection, days: DayRange, column: str) -> str:
    """Return the hint to read all days in the order of names, if that is faster for the range."""
    built = store.execute("SELECT count(*) FROM daily_sales").fetchone()[0]
    is_faster = len(days) * INDEX_SHARE > built
    return index_hint(store, f"ix_daily_{column}_sales_{column}_day") if is_faster else ""


def _local_text(hour: int, utc_offset: int) -> str:
    """Write the start of an hour (µs) in local time."""
    zone = timezone(timedelta(seconds=utc_offset))
    return datetime.fromtimestamp(hour / 1e6, zone).isoformat(timespec="minutes")
