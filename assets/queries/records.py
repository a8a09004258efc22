"""The records that the tables are asked for with: what History, Truth and the API give as JSON.

Only shapes; money is in micros, and without that word an exact decimal text. The queries are in
`sales` and `truth`.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from msgspec import Struct

from streaming.units import decimal_text


class Range(Struct, frozen=True):
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days these are."""
        return (self.last - self.first).days + 1

    def before(self) -> "Range":
        """Give the range of the same length that ends where this one begins."""
        return Range(self.first - timedelta(self.days), self.first - timedelta(1))

    def parameters(self) -> tuple[str, str]:
        """Give both ends as the database has them."""
        return self.first.isoformat(), self.last.isoformat()


class Sold(Struct, frozen=True, kw_only=True):
    """Additive figures."""

    events: int
    items_sold: int
    gross_revenue_micros: int
    gross_revenue: str
    net_revenue_micros: int
    net_revenue: str


class SoldIn(Sold, frozen=True, kw_only=True):
    """The figures of a day or an hour, `at` as `2011-03-27` or RFC 3339 with the local offset.

    Orders and customers are distinct ones, customers null where one customer was asked for.
    """

    at: str
    orders: int
    customers: int | None


class SoldOf(Sold, frozen=True, kw_only=True):
    """The figures of one item or country over a range, and its place in the order asked for."""

    rank: int
    name: str
    description: str | None


class Standing(Struct, frozen=True, kw_only=True):
    """How a table, or the asked days of it, stands against the stream.

    `behind` counts the stored events that no build has, `behind_days` the days that they are of;
    `provisional` days have no build after 00:15 of the next day. `built_at` is the oldest build's
    time (RFC 3339 in UTC), null before the first.
    """

    table: str
    partitions: int
    behind: int
    behind_days: int
    provisional_days: int
    failed: int
    built_at: str | None


class Series(Struct, frozen=True, kw_only=True):
    """Figures over time, their sums, and those of as many days before; and how they stand.

    Only days and hours in which something happened are among the points. `as_of` is when it was
    read (RFC 3339 in UTC).
    """

    first: date
    last: date
    timezone: str
    currency: str
    as_of: str
    points: list[SoldIn]
    total: Sold
    before: Sold
    standing: Standing


class Ranking(Struct, frozen=True, kw_only=True):
    """A page of a ranking over a range, how many there are, and where the next page begins."""

    first: date
    last: date
    currency: str
    as_of: str
    total: int
    ranked: list[SoldOf]
    next_offset: int | None
    standing: Standing


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
    """A page of customers, how many there are, and where the next page begins."""

    currency: str
    as_of: str
    total: int
    customers: list[Customer]
    next_offset: int | None
    standing: Standing


class DayStanding(Struct, frozen=True, kw_only=True):
    """One day of a table: `state` is `current`, `provisional`, `behind`, `failed` or `missing`.

    `version` is the ledger's, `built_version` the build's (0: none); `behind` counts the events
    that the build does not have.
    """

    day: str
    state: str
    version: int
    built_version: int
    behind: int
    built_at: str | None
    failure: str | None


class Verification(Struct, frozen=True):
    """A run of `verify`: when it ended (RFC 3339 in UTC), and the first differences it found."""

    finished_at: str
    agrees: bool
    differences: list[str]


class Truth(Struct, frozen=True, kw_only=True):
    """How every table stands, the last verifications, and where Dagster is (null: unknown)."""

    as_of: str
    events: int
    tables: list[Standing]
    verifications: list[Verification]
    dagster: str | None


class TableTruth(Struct, frozen=True, kw_only=True):
    """How each day of a table stands, oldest first."""

    standing: Standing
    days: list[DayStanding]


def sold(events: int, items_sold: int, gross: int, net: int) -> Sold:
    """Give additive figures; money in micros."""
    return Sold(**fields(events, items_sold, gross, net))


def sold_in(at: str, figures: Sequence[int], orders: int, customers: int | None) -> SoldIn:
    """Give the figures of a day or an hour; `figures` are the additive ones, as for `sold`."""
    return SoldIn(**fields(*figures), at=at, orders=orders, customers=customers)


def sold_of(rank: int, name: str, figures: Sequence[int]) -> SoldOf:
    """Give the figures of an item or a country, not described yet."""
    return SoldOf(**fields(*figures), rank=rank, name=name, description=None)


def fields(events: int, items_sold: int, gross: int, net: int) -> dict[str, Any]:
    """Give additive figures by their names, money in both forms."""
    return {
        "events": events,
        "items_sold": items_sold,
        "gross_revenue_micros": gross,
        "gross_revenue": decimal_text(gross),
        "net_revenue_micros": net,
        "net_revenue": decimal_text(net),
    }
