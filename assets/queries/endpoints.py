"""The batch half's endpoints of the API: sales, freshness of tables, and exports.

A request becomes queries of one snapshot; these are in `sales`, `freshness` and `export`.
"""

import tempfile
from collections.abc import Callable
from datetime import date
from typing import Literal

from msgspec import Raw, Struct, structs
from starlette.responses import Response

from assets.queries.download import build_file, file_name, require_few_rows
from assets.queries.event_figures import Subject, rank_events
from assets.queries.freshness import (
    FIRST_DAY,
    events_freshness,
    read_days_freshness,
    read_freshness_report,
    read_table_freshness,
    read_whole_freshness,
    utc_text,
)
from assets.queries.purchase_endpoints import (
    Limit,
    Offset,
    figures,
    page_fields,
    purchase_endpoints,
    requested_page,
)
from assets.queries.records import (
    Customers,
    FreshnessReport,
    RankedFigures,
    Ranking,
    Series,
    TableFreshness,
)
from assets.queries.sales import (
    CustomerOrdering,
    Direction,
    Ordering,
    read_customers,
    read_descriptions,
    read_ranking,
)
from assets.queries.series import (
    MAX_DAYS,
    RENAMED,
    DaysQuery,
    RangeQuery,
    answer_days,
    answer_hours,
    requested_range,
)
from assets.queries.sql_rows import sql_rows_endpoint
from assets.tables.day_range import DayRange
from streaming.api.endpoint import Endpoint, FileStream, NoParameters
from streaming.settings import Settings
from streaming.store.connection import read_store


class RankingQuery(
    RangeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED
):
    """A range, the order and its direction, and a page of it."""

    order: Ordering = "items_sold"
    direction: Direction = "descending"
    limit: Limit = 20
    offset: Offset = 0


class CustomersQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The order and its direction, and a page of it."""

    order: CustomerOrdering = "net_revenue"
    direction: Direction = "descending"
    limit: Limit = 20
    offset: Offset = 0


class TableQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A table, and days of it (default: all; if one side is missing, 30)."""

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
            return read_freshness_report(store, settings, dagster(settings))

    return [
        figures("days", "Figures by day, week or month", answer_days, Series, DaysQuery),
        figures("hours", "Figures by hour", answer_hours, Series, RangeQuery),
        figures("items", "Items of a range, ranked", _items, Ranking, RankingQuery),
        figures("countries", "Countries of a range, ranked", _countries, Ranking, RankingQuery),
        *purchase_endpoints(),
        sql_rows_endpoint(),
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
            # Each writes a file of the whole answer before it is sent.
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


def _items(settings: Settings, query: RankingQuery) -> Ranking | Response:
    return _ranking(settings, query, "item")


def _countries(settings: Settings, query: RankingQuery) -> Ranking | Response:
    return _ranking(settings, query, "country")


def _ranking(
    settings: Settings, query: RankingQuery, column: Literal["item", "country"]
) -> Ranking | Response:
    page, zone, order = requested_page(query), settings.zone, (query.order, query.direction)
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        if query.subject == Subject():
            total, ranking = read_ranking(store, days, column, *order, page)
            standing = read_days_freshness(store, f"daily_{column}_sales", days, zone)
        else:
            total, ranking = rank_events(store, days, settings, query.subject, column, *order, page)
            standing = events_freshness()
        items = [one.name for one in ranking] if column == "item" else []
        described = read_descriptions(store, items, settings)
    named = [structs.replace(one, description=described.get(one.name)) for one in ranking]
    if query.format != "json":
        require_few_rows(total)
        kind = "items" if column == "item" else "countries"
        name = file_name(kind, query.subject, days.first, days.last)
        return build_file(named, RankedFigures, query.format, name)
    return Ranking(
        **page_fields(settings, days, page, total),
        ranked=named,
        standing=standing,
    )


def _customers(settings: Settings, query: CustomersQuery) -> Customers:
    end = query.offset + query.limit
    with read_store(settings) as store:
        total = store.execute("SELECT count(*) FROM customer_summary").fetchone()[0]
        return Customers(
            currency=settings.currency,
            as_of=utc_text(None),
            total=total,
            customers=read_customers(
                store, query.order, query.direction, query.limit, query.offset
            ),
            next_offset=end if end < total else None,
            standing=read_whole_freshness(store, "customer_summary"),
        )


def _table(settings: Settings, query: TableQuery) -> TableFreshness:
    with read_store(settings) as store:
        days = DayRange(FIRST_DAY, date.max)
        if query.first is not None or query.last is not None:
            days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        return read_table_freshness(store, query.table, days, settings)


def _export(settings: Settings, query: ExportQuery) -> Response:
    """Write an export into an unnamed file, and send that."""
    # Errors come before the first byte this way, and a slow client holds no snapshot: one that is
    # open for hours would keep SQLite from shortening its WAL.
    from assets.queries.export import export_chunks, scratch_directory
    from assets.queries.file_formats import MEDIA_TYPES, Format

    form = Format(query.format)
    chunks = export_chunks(settings, query.table, query.first, query.last, form)
    file = tempfile.TemporaryFile(dir=scratch_directory(settings))  # noqa: SIM115 - closed when sent
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
