"""The answers of the API about aggregate tables, as typed records that become JSON.

Only shapes are here, and their field names are a contract. Fields named `micros` hold integers, the
same fields without the word exact decimal texts. The queries are in `sales` and `freshness`.
"""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from msgspec import Struct

from streaming.units import MICROS, decimal_text


class SalesFigures(Struct, frozen=True, kw_only=True):
    """The additive figures of sales; gross revenue is null if a day of them has no build yet."""

    events: int
    items_sold: int
    gross_revenue_micros: int | None
    gross_revenue: str | None
    net_revenue_micros: int
    net_revenue: str


class PeriodFigures(SalesFigures, frozen=True, kw_only=True):
    """The figures of a day or an hour; `at` is `2011-03-27`, or RFC 3339 with the local offset.

    Orders and customers are distinct ones; customers are null in the figures of one customer. A day
    that is not built has what the stream counted of it: orders, customers and gross revenue are
    null. Of the whole shop, by day or longer, `new_customers` are those of `customer_summary` whose
    first purchase it is. `average_order` is net revenue per order, `returns_share` the share of
    gross revenue that was returned.
    """

    at: str
    orders: int | None
    customers: int | None
    new_customers: int | None
    average_order: str | None
    returns_share: float | None
    built: bool


class RankedFigures(SalesFigures, frozen=True, kw_only=True):
    """The figures of an item, country or customer over a range, and its rank in the order.

    `orders` are distinct ones, null if a table was asked, which has them by day.
    """

    rank: int
    name: str
    description: str | None
    orders: int | None


class Order(Struct, frozen=True, kw_only=True):
    """An order of a range, as far as it is of what was asked for; `at` is its first line's time."""

    order: str
    at: str
    customer: str | None
    country: str | None
    lines: int
    items_sold: int
    net_revenue_micros: int
    net_revenue: str


class Orders(Struct, frozen=True, kw_only=True):
    """A page of orders, the number of orders, and the offset of the next page."""

    first: date
    last: date
    currency: str
    as_of: str
    total: int
    orders: list[Order]
    next_offset: int | None


class Line(Struct, frozen=True, kw_only=True):
    """One purchase, as a line of an order: `at` is its local time; without a price it has none."""

    at: str
    event_id: str
    order: str | None
    customer: str | None
    item: str
    description: str | None
    country: str | None
    quantity: int
    unit_price: str | None
    net_revenue_micros: int
    net_revenue: str


class Lines(Struct, frozen=True, kw_only=True):
    """A page of lines, oldest first, the number of lines, and the offset of the next page."""

    first: date
    last: date
    currency: str
    as_of: str
    total: int
    lines: list[Line]
    next_offset: int | None


class SearchHit(Struct, frozen=True):
    """What a search found: `kind` is item, country, customer or order; an order has its days."""

    kind: str
    name: str
    description: str | None
    first: date | None = None
    last: date | None = None


class SearchResult(Struct, frozen=True, rename={"hits": "found"}):
    """What has a text in its name: of each kind a few."""

    hits: list[SearchHit]


class Freshness(Struct, frozen=True, kw_only=True):
    """The freshness of a table, or of the requested days of it.

    `behind` counts the stored events that no build has, `behind_days` their days, and
    `missing_days` those of them that have no build at all. A provisional day has no build after
    00:15 of the next day. `built_at` is the time of the oldest build (RFC 3339 in UTC), null if
    there is none.
    """

    table: str
    partitions: int
    behind: int
    behind_days: int
    missing_days: int
    provisional_days: int
    failed: int
    built_at: str | None


class DistinctFigures(Struct, frozen=True):
    """The distinct orders and customers of a range; `new_customers` as in `PeriodFigures`."""

    orders: int
    customers: int
    new_customers: int | None


class Series(Struct, frozen=True, kw_only=True):
    """Figures over time, their sum, the sum of as many days before, and their freshness.

    Days and hours without events are not among the points. `not_built` are the days with events
    that have no build yet. Of the whole shop they are points nevertheless, with what the stream
    counted; of an item or a country and by hour nothing is known of them, so that `total` is
    without them, and `before` is null if one of its days is such. `distinct` is null if the range
    has too many events to be read. `as_of` is the time of reading (RFC 3339 in UTC).
    """

    first: date
    last: date
    timezone: str
    currency: str
    as_of: str
    points: list[PeriodFigures]
    not_built: list[str]
    total: SalesFigures
    before: SalesFigures | None
    distinct: DistinctFigures | None
    standing: Freshness


class Ranking(Struct, frozen=True, kw_only=True):
    """A page of a ranking over a range, the number of ranks, and the offset of the next page."""

    first: date
    last: date
    currency: str
    as_of: str
    total: int
    ranked: list[RankedFigures]
    next_offset: int | None
    standing: Freshness


class Customer(Struct, frozen=True, kw_only=True):
    """A row of `customer_summary`; times are µs in UTC, scores 1 to 5."""

    user: str
    first_purchase: int
    last_purchase: int
    events: int
    items_sold: int
    net_revenue_micros: int
    net_revenue: str
    orders: int
    recency_days: int
    recency_score: int
    frequency_score: int
    monetary_score: int


class Customers(Struct, frozen=True, kw_only=True):
    """A page of customers, the number of customers, and the offset of the next page."""

    currency: str
    as_of: str
    total: int
    customers: list[Customer]
    next_offset: int | None
    standing: Freshness


class DayFreshness(Struct, frozen=True, kw_only=True):
    """The freshness of one day; `state` is `current`, `provisional`, `behind`, `failed`, `missing`.

    `version` is the ledger's, `built_version` the build's (0: none); `behind` counts the events
    that the build lacks.
    """

    day: str
    state: str
    version: int
    built_version: int
    behind: int
    built_at: str | None
    failure: str | None


class VerificationRun(Struct, frozen=True):
    """A run of `verify`: its end (RFC 3339 in UTC), and the first differences that it found."""

    finished_at: str
    agrees: bool
    differences: list[str]


class FreshnessReport(Struct, frozen=True, kw_only=True):
    """The freshness of every table, the last verifications, and Dagster's URL (null: unknown)."""

    as_of: str
    events: int
    tables: list[Freshness]
    verifications: list[VerificationRun]
    dagster: str | None


class TableFreshness(Struct, frozen=True, kw_only=True):
    """The freshness of a table and of each of its days, oldest first."""

    standing: Freshness
    days: list[DayFreshness]


class AdditiveFigures(NamedTuple):
    """The additive figures of a period or a name; money is in micros."""

    events: int
    items_sold: int
    gross: int
    net: int


def whole_figures(columns: Sequence[int]) -> AdditiveFigures:
    """Join the two columns of each sum of money: its units, and the rest in micros."""
    events, items_sold, gross, gross_rest, net, net_rest = columns
    return AdditiveFigures(events, items_sold, gross * MICROS + gross_rest, net * MICROS + net_rest)


def sales_figures(events: int, items_sold: int, gross: int | None, net: int) -> SalesFigures:
    """Return additive figures from amounts in micros."""
    return SalesFigures(**additive_fields(events, items_sold, gross, net))


def period_figures(
    at: str, figures: AdditiveFigures, orders: int, customers: int | None
) -> PeriodFigures:
    """Return the figures of a period that begins `at`."""
    gross, net = figures.gross, figures.net
    return PeriodFigures(
        **additive_fields(*figures),
        at=at,
        orders=orders,
        customers=customers,
        new_customers=None,
        # Exact before it is rounded: a float holds no more than 16 digits of a sum.
        average_order=decimal_text(round(Fraction(net, orders))) if orders else None,
        returns_share=round((gross - net) / gross, 6) if gross else None,
        built=True,
    )


def counted_figures(at: str, events: int, items_sold: int, net: int) -> PeriodFigures:
    """Return what the stream counted of a day that is not built."""
    fields = additive_fields(events, items_sold, None, net)
    return PeriodFigures(
        **fields,
        at=at,
        orders=None,
        customers=None,
        new_customers=None,
        average_order=None,
        returns_share=None,
        built=False,
    )


def ranked_figures(
    rank: int, name: str, figures: AdditiveFigures, orders: int | None = None
) -> RankedFigures:
    """Return the figures of an item, a country or a customer, without a description."""
    fields = additive_fields(*figures)
    return RankedFigures(**fields, rank=rank, name=name, description=None, orders=orders)


def additive_fields(events: int, items_sold: int, gross: int | None, net: int) -> dict[str, Any]:
    """Return additive figures by field, money in micros and as decimal text."""
    return {
        "events": events,
        "items_sold": items_sold,
        "gross_revenue_micros": gross,
        "gross_revenue": None if gross is None else decimal_text(gross),
        "net_revenue_micros": net,
        "net_revenue": decimal_text(net),
    }
