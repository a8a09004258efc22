"""Figures of any item, country and customer together, summed from the stored events.

No table has them, so every query here reads the events of its days, and refuses days with more than
`MAX_EVENTS`. They read inside the caller's snapshot. Figures of tables are in `sales`.
"""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from assets.queries.records import (
    Line,
    Order,
    PeriodFigures,
    RankedFigures,
    period_figures,
    ranked_figures,
    whole_figures,
)
from assets.queries.sales import SQL_ORDER, Direction, money_order
from assets.tables.day_range import DayRange
from streaming.errors import UsageError
from streaming.events.identifiers import event_id_text
from streaming.settings import Settings
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection
from streaming.store.dialect import index_hint, start_of_period
from streaming.totals.queries import day_span
from streaming.units import EPOCH, MICROS, decimal_text

Period = Literal["hour", "day", "week", "month"]
Column = Literal["item", "country", "user"]

MAX_EVENTS: Final = 2_000_000
"""A query reads about a million events a second."""
ARCHIVED_COST: Final = 10
"""Times of an event in a row that one takes which is copied from a column file."""
GROSS: Final = "CASE WHEN quantity > 0 THEN amount_micros END"
SUMS: Final = (
    "count(*), sum(quantity),"
    # Units and the rest apart, because SQLite adds up to 64 bits only.
    f" coalesce(sum(({GROSS}) / 1000000), 0), coalesce(sum(({GROSS}) % 1000000), 0),"
    " coalesce(sum(amount_micros / 1000000), 0), coalesce(sum(amount_micros % 1000000), 0),"
    ' count(DISTINCT order_id), count(DISTINCT "user")'
)
MONEY: Final = {"net_revenue": "amount_micros", "gross_revenue": f"({GROSS})"}
ORDERS: Final = {
    "items_sold": "sum(quantity)",
    "events": "count(*)",
    "orders": "count(DISTINCT order_id)",
    "at": "min(event_time)",
}


class Subject(NamedTuple):
    """Whose events: of one item, country and customer, each None for all."""

    item: str | None = None
    country: str | None = None
    customer: str | None = None
    order: str | None = None

    def table_columns(self) -> tuple[tuple[str, str | None], ...]:
        """Return the columns by which a table of days exists, each with its name."""
        return ("item", self.item), ("country", self.country)


class _Source(NamedTuple):
    """The FROM and WHERE of some days' events, with columns `local` (s) and `utc_offset` (s)."""

    sql: str
    values: tuple[Any, ...]


def has_few_events(store: StoreConnection, days: DayRange, subject: Subject) -> bool:
    """Return whether a query may read the events of days."""
    return _count_events(store, days, subject) <= MAX_EVENTS


def _count_events(store: StoreConnection, days: DayRange, subject: Subject) -> int:
    """Count the events of days, each as often as it takes the time of one in a row."""
    events, archived = store.execute(
        "SELECT coalesce(sum(events), 0), (SELECT coalesce(sum(archived), 0) FROM column_file"
        " WHERE day BETWEEN ? AND ?) FROM day_ledger WHERE day BETWEEN ? AND ?",
        (*days.iso_bounds(), *days.iso_bounds()),
    ).fetchone()
    # Of a name only its own events are copied from the files.
    copied = 0 if _rarest_name(subject) else int(archived)
    return int(events) + copied * (ARCHIVED_COST - 1)


def _require_few_events(store: StoreConnection, days: DayRange, subject: Subject) -> None:
    events = _count_events(store, days, subject)
    if events > MAX_EVENTS:
        raise UsageError(
            f"{days.first} to {days.last} have {events:,} purchases, and {MAX_EVENTS:,} can be read"
            f" at once (one that is in a file only counts as {ARCHIVED_COST}). Choose fewer days."
        )


def read_periods(
    store: StoreConnection, days: DayRange, settings: Settings, subject: Subject, period: Period
) -> list[PeriodFigures]:
    """Sum by hour, day, week (its Monday) or month (its first day), oldest first.

    Raises `UsageError` if the days have too many events.
    """
    source = _source(store, days, settings, subject)
    offset = "utc_offset" if period == "hour" else "0"
    rows = store.execute(
        f"SELECT {_key(store, period)}, {offset}, {SUMS} {source.sql}"
        " GROUP BY 1, 2 ORDER BY 1, 2 DESC",
        source.values,
    )
    return [
        period_figures(
            _hour_text(key, offset) if period == "hour" else str(key),
            whole_figures(figures),
            orders,
            None if subject.customer is not None else customers,
        )
        for key, offset, *figures, orders, customers in rows
    ]


def read_distinct(
    store: StoreConnection, days: DayRange, settings: Settings, subject: Subject
) -> tuple[int, int]:
    """Count the distinct orders and customers of days. Raises what `read_periods` does."""
    source = _source(store, days, settings, subject)
    orders, customers = store.execute(
        f'SELECT count(DISTINCT order_id), count(DISTINCT "user") {source.sql}', source.values
    ).fetchone()
    return orders, customers


def read_new_customers(
    store: StoreConnection, days: DayRange, zone: ZoneInfo, period: Period
) -> dict[str, int]:
    """Count the customers of `customer_summary` by the period of their first purchase."""
    span, offset = _local_time(days, zone, "first_purchase")
    rows = store.execute(
        f"SELECT {_key(store, period)}, count(*) FROM"  # noqa: S608 - no input
        f" (SELECT first_purchase / 1000000 + {offset} AS local FROM customer_summary"
        " WHERE first_purchase >= ? AND first_purchase < ?) AS buyer GROUP BY 1",
        span,
    )
    return {str(key): count for key, count in rows}


def rank_events(  # noqa: PLR0913, PLR0917 - what a ranking is
    store: StoreConnection,
    days: DayRange,
    settings: Settings,
    subject: Subject,
    column: Column,
    order: str,
    direction: Direction,
    page: slice,
) -> tuple[int, list[RankedFigures]]:
    """Rank the items, countries or customers of some days; equals by name; guests are none.

    Returns how many there are, and a page of them. Raises what `read_periods` does.
    """
    source = _source(store, days, settings, subject)
    name = f"coalesce(\"{column}\", '')"
    where = f'{source.sql} AND "user" IS NOT NULL' if column == "user" else source.sql
    (total,) = store.execute(f"SELECT count(DISTINCT {name}) {where}", source.values).fetchone()
    rows = store.execute(
        f"SELECT {name}, {SUMS} {where} GROUP BY 1 ORDER BY {_order(order, direction)}, 1"
        " LIMIT ? OFFSET ?",
        (*source.values, page.stop - page.start, page.start),
    )
    ranking = [
        ranked_figures(rank, name, whole_figures(figures), orders)
        for rank, (name, *figures, orders, _) in enumerate(rows, page.start + 1)
    ]
    return total, ranking


def read_orders(  # noqa: PLR0913, PLR0917 - what a page of orders is
    store: StoreConnection,
    days: DayRange,
    settings: Settings,
    subject: Subject,
    order: str,
    direction: Direction,
    page: slice,
) -> tuple[int, list[Order]]:
    """Read the orders of some days, each with its lines of these days and this subject.

    Returns how many there are, and a page of them. Raises what `read_periods` does.
    """
    source = _source(store, days, settings, subject)
    where = f"{source.sql} AND order_id IS NOT NULL"
    (total,) = store.execute(f"SELECT count(DISTINCT order_id) {where}", source.values).fetchone()
    rows = store.execute(
        'SELECT order_id, min(event_time), max("user"), max(country), count(*), sum(quantity),'
        " coalesce(sum(amount_micros / 1000000), 0), coalesce(sum(amount_micros % 1000000), 0)"
        f" {where} GROUP BY 1 ORDER BY {_order(order, direction)}, 1"
        " LIMIT ? OFFSET ?",
        (*source.values, page.stop - page.start, page.start),
    )
    return total, [
        Order(
            order=name,
            at=_local_moment(time, settings.zone),
            customer=customer,
            country=country,
            lines=lines,
            items_sold=items_sold,
            net_revenue_micros=units * MICROS + rest,
            net_revenue=decimal_text(units * MICROS + rest),
        )
        for name, time, customer, country, lines, items_sold, units, rest in rows
    ]


def read_lines(
    store: StoreConnection, days: DayRange, settings: Settings, subject: Subject, page: slice
) -> tuple[int, list[Line]]:
    """Read the lines of some days, oldest first. Raises what `read_periods` does."""
    source = _source(store, days, settings, subject)
    (total,) = store.execute(f"SELECT count(*) {source.sql}", source.values).fetchone()
    rows = store.execute(
        'SELECT event_time, event_id, order_id, "user", item, description, country, quantity,'
        f" unit_price_micros, amount_micros {source.sql} ORDER BY event_time, event_id"
        " LIMIT ? OFFSET ?",
        (*source.values, page.stop - page.start, page.start),
    )
    return total, [_line(settings.zone, *row) for row in rows]


def _line(  # noqa: PLR0913, PLR0917 - a row of `read_lines`
    zone: ZoneInfo,
    time: int,
    event_id: bytes,
    order: str | None,
    customer: str | None,
    item: str,
    description: str | None,
    country: str | None,
    quantity: int,
    price: int | None,
    amount: int | None,
) -> Line:
    return Line(
        at=_local_moment(time, zone),
        event_id=event_id_text(event_id),
        order=order,
        customer=customer,
        item=item,
        description=description,
        country=country,
        quantity=quantity,
        unit_price=None if price is None else decimal_text(price),
        net_revenue_micros=amount or 0,
        net_revenue=decimal_text(amount or 0),
    )


def _local_time(days: DayRange, zone: ZoneInfo, column: str) -> tuple[tuple[int, int], str]:
    """Return the span of days (µs), and the UTC offset of a column's times within it as SQL."""
    # Polars, which it imports, takes longer than a small answer.
    from assets.tables.calendar import utc_offsets

    span = day_span(days.first, zone)[0], day_span(days.last, zone)[1]
    (_, first_offset), *changes = utc_offsets(*span, zone)
    # The latest change that a time has reached counts: it is asked for first.
    cases = "".join(f" WHEN {column} >= {at} THEN {offset}" for at, offset in reversed(changes))
    return span, f"CASE{cases} ELSE {first_offset} END" if cases else str(first_offset)


def _source(
    store: StoreConnection, days: DayRange, settings: Settings, subject: Subject
) -> _Source:
    _require_few_events(store, days, subject)
    span, offset = _local_time(days, settings.zone, "event_time")
    filters = {
        "item = ?": subject.item,
        # Purchases without a country have the empty name, as in the tables.
        "coalesce(country, '') = ?": subject.country,
        '"user" = ?': subject.customer,
        "order_id = ?": subject.order,
    }
    conditions = {sql: value for sql, value in filters.items() if value is not None}
    is_archived = show_archived(store, open_column_store(settings), span, _rarest_name(subject))
    # A view has no index of its own; its tables have.
    index = "" if is_archived else index_hint(store, "ix_analytics_event_event_time")
    return _Source(
        "FROM (SELECT *, event_time / 1000000 + utc_offset AS local FROM"  # noqa: S608 - no input
        f" (SELECT *, {offset} AS utc_offset FROM analytics_event"
        f" {index} WHERE event_time >= ? AND event_time < ?) AS timed) AS shown"
        # Where clocks go back over midnight, the window holds moments of a neighbouring day.
        f" WHERE local >= ? AND local < ?{''.join(f' AND {sql}' for sql in conditions)}",
        (*span, *_local_bounds(days), *conditions.values()),
    )


def _key(store: StoreConnection, period: Period) -> str:
    """Return what a period is grouped by: seconds of an hour, the first day of others."""
    if period == "hour":
        return "local / 3600 * 3600"
    return start_of_period(store, period, "local")


def _order(order: str, direction: Direction) -> str:
    """Return the ORDER BY of a sum over events."""
    way = SQL_ORDER[direction]
    # Exact, as the figures are: a float would part what is equal, or make equal what is not.
    if (money := MONEY.get(order)) is not None:
        return money_order(f"{money} / 1000000", f"{money} % 1000000", way)
    return f"{ORDERS[order]} {way}"


def _rarest_name(subject: Subject) -> dict[str, set[str]]:
    """Return the column of which the subject names the rarest value, and this, if it names one."""
    names = {"order_id": subject.order, "user": subject.customer, "item": subject.item}
    chosen = [(column, {name}) for column, name in names.items() if name is not None]
    return dict(chosen[:1])


def _local_bounds(days: DayRange) -> tuple[int, int]:
    """Return where days begin and end on a wall clock, in seconds since its 1970."""
    first, after = days.first, days.last + timedelta(1)
    return tuple(  # type: ignore[return-value]
        (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
        for day in (first, after)
    )


def _hour_text(local: int, utc_offset: int) -> str:
    """Write the start of a local hour (s on the wall clock) with its offset."""
    zone = timezone(timedelta(seconds=utc_offset))
    return datetime.fromtimestamp(local - utc_offset, zone).isoformat(timespec="minutes")


def _local_moment(time: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(time // MICROS, zone).isoformat(timespec="seconds")
