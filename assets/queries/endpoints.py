"""The batch half's endpoints of the API: sales, freshness of tables, and exports.

A request becomes queries of one snapshot; these are in `sales`, `freshness` and `export`.
"""

import tempfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct, structs
from starlette.responses import Response

from assets.queries.freshness import (
    events_freshness,
    list_missing,
    read_days_freshness,
    read_freshness_of_days,
    read_freshness_report,
    read_table_freshness,
    read_whole_freshness,
    sum_up,
    utc_text,
)
from assets.queries.records import (
    Customers,
    Freshness,
    FreshnessReport,
    PeriodFigures,
    Ranking,
    SalesFigures,
    Series,
    TableFreshness,
)
from assets.queries.sales import (
    CustomerOrdering,
    Ordering,
    read_customers,
    read_days,
    read_days_of_customer,
    read_days_of_shop,
    read_descriptions,
    read_hours,
    read_last_days,
    read_ranking,
    read_sum,
    sum_figures,
)
from assets.tables.day_range import DayRange
from streaming.api.endpoint import Endpoint, FileStream, NoParameters
from streaming.errors import UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 10_000
"""27 years, one point a day: the longest answer has about 2 MB."""
MAX_HOURLY_DAYS: Final = 400
"""A year and a month, one point an hour: as many points as `MAX_DAYS` allows."""
FIRST_YEAR: Final = 1000
"""Python writes earlier years with fewer digits, and texts would sort wrongly."""
LAST_YEAR: Final = 9998
"""Leaves room to compute the day after the last."""

RENAMED: Final = {"first": "from", "last": "to"}
Limit = Annotated[int, Meta(ge=1, le=1_000)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Name = Annotated[str, Meta(min_length=1, max_length=1_024)]


class DaysQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """Days `from` to `to` (default: the last 30), of one item, country or customer, or all."""

    first: date | None = None
    last: date | None = None
    item: Name | None = None
    country: str | None = None
    customer: Name | None = None


class HoursQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """Days `from` to `to`, 400 at most (default: the last 30)."""

    first: date | None = None
    last: date | None = None


class RankingQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """Days `from` to `to` (default: the last 30), the order, best first, and a page of it."""

    first: date | None = None
    last: date | None = None
    order: Ordering = "items_sold"
    limit: Limit = 20
    offset: Offset = 0


class CustomersQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The order, best first, and a page of it."""

    order: CustomerOrdering = "net_revenue"
    limit: Limit = 20
    offset: Offset = 0


class TableQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A table, and days of it (default: the last 30)."""

    table: str
    first: date | None = None
    last: date | None = None


class ExportQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A table, days of it (default: all), and the format."""

    table: str
    first: date | None = None
    last: date | None = None
    format: Literal["csv", "parquet", "jsonl", "spreadsheet"] = "csv"


def history_endpoints(dagster: Callable[[Settings], str | None]) -> list[Endpoint]:
    """Return the endpoints; `dagster` returns the URL of Dagster's UI, None if it does not run."""

    def report_freshness(settings: Settings, _: NoParameters) -> FreshnessReport:
        with read_store(settings) as store:
            return read_freshness_report(store, settings.zone, dagster(settings))

    return [
        Endpoint("GET", "days", "Figures by day", _days, Series, DaysQuery),
        Endpoint("GET", "hours", "Figures by hour", _hours, Series, HoursQuery),
        Endpoint("GET", "items", "Items of a range, ranked", _items, Ranking, RankingQuery),
        Endpoint(
            "GET", "countries", "Countries of a range, ranked", _countries, Ranking, RankingQuery
        ),
        Endpoint("GET", "customers", "Customers, ranked", _customers, Customers, CustomersQuery),
        Endpoint("GET", "tables", "Freshness of the tables", report_freshness, FreshnessReport),
        Endpoint(
            "GET",
            "export/{table}",
            "A table as a file",
            _export,
            Raw,
            ExportQuery,
            media_types=("text/csv", "application/vnd.apache.parquet", "application/jsonl"),
            max_concurrent=4,
        ),
        Endpoint(
            "GET",
            "tables/{table}",
            "Freshness of a table's days",
            _table,
            TableFreshness,
            TableQuery,
        ),
    ]


def requested_range(
    store: StoreConnection, settings: Settings, first: date | None, last: date | None, max_days: int
) -> DayRange:
    """Return the requested range; a missing side makes it 30 days, up to the last with events.

    Raises `UsageError` if the days are in the wrong order, more than `max_days`, or outside of the
    years 1000 to 9998.
    """
    for day in (first, last):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise UsageError(f"{day} is outside of the years {FIRST_YEAR} to {LAST_YEAR}.")
    today = datetime.now(settings.zone).date()
    recent = read_last_days(store, DEFAULT_DAYS, today)
    end = last or max(recent.last, first or recent.last)
    begin = first or end - timedelta(DEFAULT_DAYS - 1)
    if not 0 <= (end - begin).days < max_days:
        raise UsageError(f"from {begin} to {end} must be 1 to {max_days:,} days, in order.")
    return DayRange(begin, end)


def _days(settings: Settings, query: DaysQuery) -> Series:
    names = [
        (column, name)
        for column, name in (("item", query.item), ("country", query.country))
        if name is not None
    ]
    if len(names) + (query.customer is not None) > 1:
        raise UsageError("Name only one of item, country and customer.")
    zone = settings.zone
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        if query.customer is not None:
            points = read_days_of_customer(store, days, query.customer, zone)
            before = sum_figures(
                read_days_of_customer(store, days.preceding(), query.customer, zone)
            )
            return _series(settings, days, points, before, [], events_freshness())
        if not names:
            points = read_days_of_shop(store, days)
            before = sum_figures(read_days_of_shop(store, days.preceding()))
            return _series_of_table(store, settings, "daily_sales", days, points, before)
        (name,) = names
        table = f"daily_{name[0]}_sales"
        points = read_days(store, table, days, name)
        known = _read_known_sum(store, settings, table, days.preceding(), name)
        return _series_of_table(store, settings, table, days, points, known)


def _hours(settings: Settings, query: HoursQuery) -> Series:
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_HOURLY_DAYS)
        points = read_hours(store, days)
        before = _read_known_sum(store, settings, "hourly_sales", days.preceding())
        return _series_of_table(store, settings, "hourly_sales", days, points, before)


def _read_known_sum(
    store: StoreConnection,
    settings: Settings,
    table: str,
    days: DayRange,
    name: tuple[str, str] | None = None,
) -> SalesFigures | None:
    """Sum a range of days; None if one of them has no build."""
    if read_days_freshness(store, table, days, settings.zone).missing_days:
        return None
    return read_sum(store, table, days, name)


def _series_of_table(  # noqa: PLR0913, PLR0917 - what a series is
    store: StoreConnection,
    settings: Settings,
    table: str,
    days: DayRange,
    points: list[PeriodFigures],
    before: SalesFigures | None,
) -> Series:
    of_days = read_freshness_of_days(store, table, days, settings.zone)
    standing = sum_up(table, of_days)
    return _series(settings, days, points, before, list_missing(of_days), standing)


def _series(  # noqa: PLR0913, PLR0917 - what a series is
    settings: Settings,
    days: DayRange,
    points: list[PeriodFigures],
    before: SalesFigures | None,
    not_built: list[str],
    standing: Freshness,
) -> Series:
    return Series(
        first=days.first,
        last=days.last,
        timezone=settings.timezone,
        currency=settings.currency,
        as_of=utc_text(None),
        points=points,
        not_built=not_built,
        total=sum_figures(points),
        before=before,
        standing=standing,
    )


def _items(settings: Settings, query: RankingQuery) -> Ranking:
    return _ranking(settings, query, "item")


def _countries(settings: Settings, query: RankingQuery) -> Ranking:
    return _ranking(settings, query, "country")


def _ranking(settings: Settings, query: RankingQuery, column: str) -> Ranking:
    end = query.offset + query.limit
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        total, ranking = read_ranking(store, days, column, query.order, slice(query.offset, end))
        items = [one.name for one in ranking] if column == "item" else []
        described = read_descriptions(store, items, settings.zone)
        return Ranking(
            first=days.first,
            last=days.last,
            currency=settings.currency,
            as_of=utc_text(None),
            total=total,
            ranked=[structs.replace(o, description=described.get(o.name)) for o in ranking],
            next_offset=end if end < total else None,
            standing=read_days_freshness(store, f"daily_{column}_sales", days, settings.zone),
        )


def _customers(settings: Settings, query: CustomersQuery) -> Customers:
    end = query.offset + query.limit
    with read_store(settings) as store:
        total = store.execute("SELECT count(*) FROM customer_summary").fetchone()[0]
        return Customers(
            currency=settings.currency,
            as_of=utc_text(None),
            total=total,
            customers=read_customers(store, query.order, query.limit, query.offset),
            next_offset=end if end < total else None,
            standing=read_whole_freshness(store, "customer_summary"),
        )


def _table(settings: Settings, query: TableQuery) -> TableFreshness:
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        return read_table_freshness(store, query.table, days, settings.zone)


def _export(settings: Settings, query: ExportQuery) -> Response:
    """Write an export into an unnamed file, and send that."""
    # Errors come before the first byte this way, and a slow client holds no snapshot: one that is
    # open for hours would keep SQLite from shortening its WAL.
    from assets.queries.export import MEDIA_TYPES, Format, export_chunks

    form = Format(query.format)
    chunks = export_chunks(settings, query.table, query.first, query.last, form)
    file = tempfile.TemporaryFile(dir=settings.database_path.parent)  # noqa: SIM115 - closed when sent
    for chunk in chunks:
        file.write(chunk)
    days = [day.isoformat() for day in (query.first, query.last) if day]
    name = "-".join([query.table, *days])
    headers = {
        "content-disposition": f'attachment; filename="{name}.{form.extension}"',
        "content-length": str(file.tell()),
    }
    file.seek(0)
    return FileStream(file, MEDIA_TYPES[form], headers)
