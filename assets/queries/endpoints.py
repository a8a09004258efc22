"""The batch half's part of the page's API: History, Truth, and files of what is shown.

What was asked for becomes queries of one snapshot; these are in `sales` and `truth`.
"""

import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import IO, Annotated, Final, Literal

from msgspec import Meta, Raw, Struct, structs
from starlette.responses import Response, StreamingResponse

from assets.queries.freshness import (
    standing_of_days,
    standing_of_events,
    standing_of_whole,
    table_truth,
    text_of,
    truth,
)
from assets.queries.records import (
    Customers,
    Range,
    Ranking,
    Series,
    Sold,
    SoldIn,
    Standing,
    TableTruth,
    Truth,
)
from assets.queries.sales import (
    CustomerOrdering,
    Ordering,
    by_day,
    by_day_of_customer,
    by_hour,
    customers,
    descriptions,
    in_all,
    last_days,
    ranked,
    summed,
)
from streaming.api.endpoint import Endpoint, NoParameters
from streaming.errors import UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store

DEFAULT_DAYS: Final = 30
MOST_DAYS: Final = 10_000
MOST_HOURLY_DAYS: Final = 400
FIRST_YEAR: Final = 1000
LAST_YEAR: Final = 9998
CHUNK_BYTES: Final = 1 << 16

DAYS: Final = {"first": "from", "last": "to"}
Limit = Annotated[int, Meta(ge=1, le=1_000)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Name = Annotated[str, Meta(min_length=1, max_length=1_024)]


class Days(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=DAYS):
    """Days `from` to `to`; the last 30 that there are. Of one item, country or customer, or all."""

    first: date | None = None
    last: date | None = None
    item: Name | None = None
    country: str | None = None
    customer: Name | None = None


class Hours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=DAYS):
    """Days `from` to `to`, 400 at most; the last 30 that there are."""

    first: date | None = None
    last: date | None = None


class Ranked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=DAYS):
    """Days `from` to `to`; in which order, best first; and which page of it."""

    first: date | None = None
    last: date | None = None
    order: Ordering = "items_sold"
    limit: Limit = 20
    offset: Offset = 0


class Buyers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In which order, best first, and which page of it."""

    order: CustomerOrdering = "net_revenue"
    limit: Limit = 20
    offset: Offset = 0


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=DAYS):
    """Which table, and which of its days; the last 30 that there are."""

    table: str
    first: date | None = None
    last: date | None = None


class Export(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=DAYS):
    """Which table, which of its days (all that there are), and in which format."""

    table: str
    first: date | None = None
    last: date | None = None
    format: Literal["csv", "parquet", "jsonl"] = "csv"


def history_endpoints(dagster: Callable[[Settings], str | None]) -> list[Endpoint]:
    """Give the endpoints; `dagster` tells where Dagster's page is, as far as that is known."""

    def whole_truth(settings: Settings, _: NoParameters) -> Truth:
        with read_store(settings) as store:
            return truth(store, settings.zone, dagster(settings))

    return [
        Endpoint("GET", "days", "Figures by day", _days, Series, Days),
        Endpoint("GET", "hours", "Figures by hour", _hours, Series, Hours),
        Endpoint("GET", "items", "Items of a range, ranked", _items, Ranking, Ranked),
        Endpoint("GET", "countries", "Countries of a range, ranked", _countries, Ranking, Ranked),
        Endpoint("GET", "customers", "Customers, ranked", _customers, Customers, Buyers),
        Endpoint("GET", "tables", "How the tables stand", whole_truth, Truth),
        Endpoint(
            "GET",
            "export/{table}",
            "A table as a file",
            _export,
            Raw,
            Export,
            media_types=("text/csv", "application/vnd.apache.parquet", "application/jsonl"),
            max_concurrent=4,
        ),
        Endpoint("GET", "tables/{table}", "How the days of one stand", _table, TableTruth, Table),
    ]


def range_of(
    store: StoreConnection, settings: Settings, first: date | None, last: date | None, most: int
) -> Range:
    """Give the range that was asked for; what is missing makes it the last 30 days there are.

    Raises `UsageError` where it is in the wrong order, too long, or not of the years 1000 to 9998,
    around which there is room to reckon.
    """
    for day in (first, last):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise UsageError(f"{day} is not of the years {FIRST_YEAR} to {LAST_YEAR}.")
    today = datetime.now(settings.zone).date()
    lately = last_days(store, DEFAULT_DAYS, today)
    end = last or max(lately.last, first or lately.last)
    begin = first or end - timedelta(DEFAULT_DAYS - 1)
    if not 0 <= (end - begin).days < most:
        raise UsageError(f"from {begin} to {end} must be 1 to {most:,} days, in their order.")
    return Range(begin, end)


def _days(settings: Settings, asked: Days) -> Series:
    names = [
        (column, name)
        for column, name in (("item", asked.item), ("country", asked.country))
        if name is not None
    ]
    if len(names) + (asked.customer is not None) > 1:
        raise UsageError("Ask for one of item, country and customer.")
    zone = settings.zone
    with read_store(settings) as store:
        days = range_of(store, settings, asked.first, asked.last, MOST_DAYS)
        if asked.customer is not None:
            points = by_day_of_customer(store, days, asked.customer, zone)
            before = summed(by_day_of_customer(store, days.before(), asked.customer, zone))
            return _series(settings, days, points, before, standing_of_events())
        name = names[0] if names else None
        table = f"daily_{name[0]}_sales" if name else "daily_sales"
        points = by_day(store, table, days, name)
        before = in_all(store, table, days.before(), name)
        return _series(settings, days, points, before, standing_of_days(store, table, days, zone))


def _hours(settings: Settings, asked: Hours) -> Series:
    with read_store(settings) as store:
        days = range_of(store, settings, asked.first, asked.last, MOST_HOURLY_DAYS)
        points = by_hour(store, days)
        before = in_all(store, "hourly_sales", days.before())
        standing = standing_of_days(store, "hourly_sales", days, settings.zone)
        return _series(settings, days, points, before, standing)


def _series(
    settings: Settings, days: Range, points: list[SoldIn], before: Sold, standing: Standing
) -> Series:
    return Series(
        first=days.first,
        last=days.last,
        timezone=settings.timezone,
        currency=settings.currency,
        as_of=text_of(None),
        points=points,
        total=summed(points),
        before=before,
        standing=standing,
    )


def _items(settings: Settings, asked: Ranked) -> Ranking:
    return _ranking(settings, asked, "item")


def _countries(settings: Settings, asked: Ranked) -> Ranking:
    return _ranking(settings, asked, "country")


def _ranking(settings: Settings, asked: Ranked, what: str) -> Ranking:
    end = asked.offset + asked.limit
    with read_store(settings) as store:
        days = range_of(store, settings, asked.first, asked.last, MOST_DAYS)
        total, page = ranked(store, days, what, asked.order, slice(asked.offset, end))
        items = [one.name for one in page] if what == "item" else []
        described = descriptions(store, items, settings.zone)
        return Ranking(
            first=days.first,
            last=days.last,
            currency=settings.currency,
            as_of=text_of(None),
            total=total,
            ranked=[structs.replace(o, description=described.get(o.name)) for o in page],
            next_offset=end if end < total else None,
            standing=standing_of_days(store, f"daily_{what}_sales", days, settings.zone),
        )


def _customers(settings: Settings, asked: Buyers) -> Customers:
    end = asked.offset + asked.limit
    with read_store(settings) as store:
        total = store.execute("SELECT count(*) FROM customer_summary").fetchone()[0]
        return Customers(
            currency=settings.currency,
            as_of=text_of(None),
            total=total,
            customers=customers(store, asked.order, asked.limit, asked.offset),
            next_offset=end if end < total else None,
            standing=standing_of_whole(store, "customer_summary"),
        )


def _table(settings: Settings, asked: Table) -> TableTruth:
    with read_store(settings) as store:
        days = range_of(store, settings, asked.first, asked.last, MOST_DAYS)
        return table_truth(store, asked.table, days, settings.zone)


def _export(settings: Settings, asked: Export) -> Response:
    """Write an export into a nameless file and send that.

    What is wrong is told before the first byte, and a slow reader keeps no snapshot of the store.
    """
    from assets.queries.export import MEDIA_TYPES, Format, export_chunks

    form = Format(asked.format)
    chunks = export_chunks(settings, asked.table, asked.first, asked.last, form)
    kept = tempfile.TemporaryFile(dir=settings.database_path.parent)  # noqa: SIM115 - closed when sent
    for chunk in chunks:
        kept.write(chunk)
    days = [day.isoformat() for day in (asked.first, asked.last) if day]
    name = "-".join([asked.table, *days])
    headers = {
        "content-disposition": f'attachment; filename="{name}.{form}"',
        "content-length": str(kept.tell()),
    }
    kept.seek(0)
    return StreamingResponse(_sent(kept), media_type=MEDIA_TYPES[form], headers=headers)


def _sent(kept: IO[bytes]) -> Iterator[bytes]:
    with kept:
        while chunk := kept.read(CHUNK_BYTES):
            yield chunk
