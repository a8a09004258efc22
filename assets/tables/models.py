"""The aggregate tables as typed models, on the event store's metadata and in its migrations.

Only shapes are here, with each column's meaning and unit. Times are integer µs in UTC, money
is integer micros; the views with both as people read them are in the migrations.
"""

from datetime import date
from typing import Any, Final

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from streaming.store.models import Table, big, table_name

WHOLE: Final = "all"
"""The one partition of a table that is not cut into days."""

DAY: Final = "The day, cut in the deployment's time zone."
MEANINGS: Final = {
    "events": "Stored events.",
    "items_sold": "Σ quantity; returns are negative.",
    "gross_revenue_micros": "Σ amount of sales, in millionths of the currency.",
    "net_revenue_micros": "Σ amount, returns negative, in millionths of the currency.",
    "gross_revenue_trillions": "Whole trillions of gross revenue, which the micros leave out.",
    "net_revenue_trillions": "Whole trillions of net revenue, which the micros leave out.",
    "orders": "Distinct order ids.",
    "customers": "Distinct users that are not guests.",
}


def metric(name: str) -> Any:  # noqa: ANN401 - what SQLModel's `Field` takes and gives
    """Return the column of a metric, which has the same name and meaning everywhere."""
    return big(description=MEANINGS[name])


def trillions(name: str) -> Any:  # noqa: ANN401 - what SQLModel's `Field` takes and gives
    """Return the second column of a sum of money, 0 below a trillion; see `units.split_sum`."""
    return big(default=0, sa_column_kwargs={"server_default": "0"}, description=MEANINGS[name])


def count(description: str) -> Any:  # noqa: ANN401 - what SQLModel's `Field` takes and gives
    """Return a column that is 0 in rows of before it was there."""
    return big(default=0, sa_column_kwargs={"server_default": "0"}, description=description)


class HourlySales(Table, table=True):
    """Sales per hour: events, items, revenue, orders, customers.

    The hour that a change of clocks repeats has a row for each time.
    """

    __tablename__ = "hourly_sales"

    day: date = Field(primary_key=True, description=DAY)
    hour: int = big(primary_key=True, description="Start of the local hour, µs since 1970 UTC.")
    utc_offset: int = Field(description="Local time minus UTC in that hour, in seconds.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    customers: int = metric("customers")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class DailySales(Table, table=True):
    """Sales per day: events, items, revenue, orders, customers.

    A day without events has a row of zeros once it is built.
    """

    __tablename__ = "daily_sales"

    day: date = Field(primary_key=True, description=DAY)
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    customers: int = metric("customers")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class DailyItemSales(Table, table=True):
    """Sales per item and day, with the rank of the item among those of the day."""

    __tablename__ = "daily_item_sales"
    __table_args__ = (Index(None, "item", "day"), Index(None, "day", "rank", unique=True))

    day: date = Field(primary_key=True, description=DAY)
    item: str = Field(primary_key=True, description="The item.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    customers: int = metric("customers")
    rank: int = Field(
        description="1 is most items sold of the day; then net revenue, then the item decides."
    )
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class MonthlyItemSales(Table, table=True):
    """The sums of `daily_item_sales` of one item in one month, which triggers of that table keep.

    So whoever changes a day changes its month, in the same transaction. A ranking over a year reads
    these, and the days at both ends. Micros may be a trillion or more, and `events` 0.
    """

    __tablename__ = "monthly_item_sales"

    month: date = Field(primary_key=True, description="The first day of the month.")
    item: str = Field(primary_key=True, description="The item.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class DailyCountrySales(Table, table=True):
    """Sales per country and day; events that name no country are under the empty text."""

    __tablename__ = "daily_country_sales"
    __table_args__ = (Index(None, "country", "day"),)

    day: date = Field(primary_key=True, description=DAY)
    country: str = Field(primary_key=True, description="The country; empty where none was given.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    customers: int = metric("customers")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class CustomerSummary(Table, table=True):
    """Customers of all time with what they bought, and RFM scores of 1 (worst) to 5 (best).

    Guests are no customers. A score is the fifth of the customers that one is in: 1 and five times
    the share of customers that are worse, cut to a whole number. So equal customers have equal
    scores.
    """

    __tablename__ = "customer_summary"
    __table_args__ = (Index(None, "net_revenue_trillions", "net_revenue_micros"),)

    user: str = Field(primary_key=True, description="The user.")
    first_purchase: int = big(description="First event, µs since 1970 UTC.")
    last_purchase: int = big(description="Last event, µs since 1970 UTC.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    recency_days: int = Field(description="Whole days from the last purchase to the last event.")
    recency_score: int = Field(description="1 to 5 by recency_days; fewer is better.")
    frequency_score: int = Field(description="1 to 5 by orders; more is better.")
    monetary_score: int = Field(description="1 to 5 by net revenue; more is better.")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class SalesSummary(Table, table=True):
    """Sales of all time, in one row; without a most popular item and times before the first."""

    __tablename__ = "sales_summary"
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)

    id: int = Field(primary_key=True, description="Always 1.")
    events: int = metric("events")
    items_sold: int = metric("items_sold")
    gross_revenue_micros: int = metric("gross_revenue_micros")
    net_revenue_micros: int = metric("net_revenue_micros")
    orders: int = metric("orders")
    customers: int = metric("customers")
    most_popular_item: str | None = Field(
        description="Most items sold; then net revenue, then the item decides."
    )
    most_popular_items_sold: int | None = big(description="Σ quantity of the most popular item.")
    first_event: int | None = big(description="First event, µs since 1970 UTC.")
    last_event: int | None = big(description="Last event, µs since 1970 UTC.")
    gross_revenue_trillions: int = trillions("gross_revenue_trillions")
    net_revenue_trillions: int = trillions("net_revenue_trillions")


class TableBuild(Table, table=True):
    """From what a partition of a table was built; written in the same transaction as its rows."""

    __tablename__ = "table_build"

    table_name: str = Field(primary_key=True, description="The table.")
    partition: str = Field(primary_key=True, description="The day, such as 2011-03-27, or `all`.")
    version: int = big(description="The ledger's version of the day that the rows stand for.")
    events: int = big(description="Stored events, as the stream counted them then.")
    items_sold: int = big(description="Σ quantity, as the stream counted it then.")
    net_revenue_micros: int = big(
        description="Σ amount, as the stream counted it then, in millionths of the currency."
    )
    rows: int = big(description="How many rows the partition has.")
    stream_offsets: str = Field(
        description="Up to where `analytics` was read: next offset by partition, as JSON."
    )
    digest: str = Field(description="SHA-256 of the rows by their key, as JSON.")
    code_version: str = Field(description="The version of the transform.")
    run_id: str = Field(description="The run of Dagster that built it.")
    built_at: int = big(description="When, µs since 1970 UTC.")
    net_revenue_trillions: int = trillions("net_revenue_trillions")
    last_row: int | None = big(
        description="The last stored event then, by its row; none in builds of before 0014."
    )
    last_correction: int = count("The last correction then; 0 is none.")
    added_events: int = count("Events added since the rows were computed from all; 0 is none.")
    cpu_time: int = count("The CPU time that the build took, in µs; 0 in builds of before 0014.")
    difference: str | None = Field(
        default=None, description="How rows that were added to differed from computed ones."
    )


class BuildFailure(Table, table=True):
    """A partition whose build failed, and at which version; removed by the next good build."""

    __tablename__ = "build_failure"

    table_name: str = Field(primary_key=True, description="The table.")
    partition: str = Field(primary_key=True, description="The day, such as 2011-03-27, or `all`.")
    version: int = big(description="The ledger's version of the day that could not be built.")
    attempts: int = Field(description="How often it failed at that version.")
    reason: str = Field(description="Why it failed last.")
    run_id: str = Field(description="The run of Dagster that failed last.")
    failed_at: int = big(description="When, µs since 1970 UTC.")


DAY_TABLES: Final[tuple[type[Table], ...]] = (
    HourlySales,
    DailySales,
    DailyItemSales,
    DailyCountrySales,
)
WHOLE_TABLES: Final[tuple[type[Table], ...]] = (CustomerSummary, SalesSummary)


DAY_TABLE_NAMES: Final = tuple(table_name(model) for model in DAY_TABLES)

WHOLE_TABLE_NAMES: Final = tuple(table_name(model) for model in WHOLE_TABLES)
