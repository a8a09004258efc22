"""Endpoints that answer from the stored purchases: customers of a range, orders, lines, search.

A request becomes queries of one snapshot; these are in `event_figures` and `search`.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from assets.queries.download import MAX_ROWS, build_file, file_name, require_few_rows
from assets.queries.event_figures import rank_events, read_lines, read_orders
from assets.queries.freshness import events_freshness, utc_text
from assets.queries.records import Line, Lines, Order, Orders, RankedFigures, Ranking, SearchResult
from assets.queries.sales import Direction
from assets.queries.search import search
from assets.queries.series import MAX_DAYS, RENAMED, Name, RangeQuery, requested_range
from assets.tables.day_range import DayRange
from streaming.api.endpoint import JSON, Endpoint
from streaming.settings import Settings
from streaming.store.connection import read_store

FILES: Final = (JSON, "text/csv", "application/vnd.apache.parquet")
SLOW_AT_ONCE: Final = 4
"""Answers that may read millions of events, so that others get a thread and a core."""
Limit = Annotated[int, Meta(ge=1, le=1_000)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class BuyersQuery(
    RangeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED
):
    """A range, the order and its direction, and a page of it."""

    order: Literal["net_revenue", "orders", "items_sold", "events"] = "net_revenue"
    direction: Direction = "descending"
    limit: Limit = 20
    offset: Offset = 0


class OrdersQuery(
    RangeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED
):
    """A range, the order (`at` is by time) and its direction, and a page of it."""

    order: Literal["at", "net_revenue", "items_sold"] = "at"
    direction: Direction = "descending"
    limit: Limit = 20
    offset: Offset = 0


class LinesQuery(RangeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A range, one order of it or all, and a page of its lines."""

    order: Name | None = None
    limit: Limit = 100
    offset: Offset = 0


class SearchQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a name."""

    text: Annotated[str, Meta(min_length=1, max_length=200)]


def purchase_endpoints() -> list[Endpoint]:
    """Return the endpoints."""
    return [
        figures("buyers", "Customers of a range, ranked", _buyers, Ranking, BuyersQuery),
        figures("orders", "Orders of a range", _orders, Orders, OrdersQuery),
        figures("lines", "Lines of orders", _lines, Lines, LinesQuery),
        Endpoint(
            "GET",
            "search",
            "Items, countries, customers and orders by a part of their name",
            _search,
            SearchResult,
            SearchQuery,
            max_concurrent=SLOW_AT_ONCE,
        ),
    ]


def figures(
    path: str,
    summary: str,
    handle: Callable[[Settings, Any], object],
    result: type[Struct],
    parameters: type[RangeQuery],
) -> Endpoint:
    """Return an endpoint whose answer is JSON, or a file of the same."""
    return Endpoint(
        "GET",
        path,
        summary,
        handle,
        result,
        parameters,
        media_types=FILES,
        max_concurrent=SLOW_AT_ONCE,
    )


def requested_page(query: Any) -> slice:  # noqa: ANN401 - any query with a page
    """Return the requested page; all rows for a file."""
    if query.format == "json":
        return slice(query.offset, query.offset + query.limit)
    return slice(0, MAX_ROWS)


def page_fields(settings: Settings, days: DayRange, page: slice, total: int) -> dict[str, Any]:
    """Return what each page of a range says of itself; `total` is the number of rows in all."""
    return {
        "first": days.first,
        "last": days.last,
        "currency": settings.currency,
        "as_of": utc_text(None),
        "total": total,
        "next_offset": page.stop if page.stop < total else None,
    }


def _buyers(settings: Settings, query: BuyersQuery) -> Ranking | Response:
    page, order = requested_page(query), (query.order, query.direction)
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        total, ranking = rank_events(store, days, settings, query.subject, "user", *order, page)
    if query.format != "json":
        require_few_rows(total)
        name = file_name("customers", query.subject, days.first, days.last)
        return build_file(ranking, RankedFigures, query.format, name)
    return Ranking(
        **page_fields(settings, days, page, total),
        ranked=ranking,
        standing=events_freshness(),
    )


def _orders(settings: Settings, query: OrdersQuery) -> Orders | Response:
    page, order = requested_page(query), (query.order, query.direction)
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        total, orders = read_orders(store, days, settings, query.subject, *order, page)
    if query.format != "json":
        require_few_rows(total)
        name = file_name("orders", query.subject, days.first, days.last)
        return build_file(orders, Order, query.format, name)
    return Orders(
        **page_fields(settings, days, page, total),
        orders=orders,
    )


def _lines(settings: Settings, query: LinesQuery) -> Lines | Response:
    page, subject = requested_page(query), query.subject._replace(order=query.order)
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        total, lines = read_lines(store, days, settings, subject, page)
    if query.format != "json":
        require_few_rows(total)
        name = file_name("purchases", subject, days.first, days.last)
        return build_file(lines, Line, query.format, name)
    return Lines(
        **page_fields(settings, days, page, total),
        lines=lines,
    )


def _search(settings: Settings, query: SearchQuery) -> SearchResult:
    with read_store(settings) as store:
        return SearchResult(search(store, query.text, settings.zone))
