"""The endpoint of tables that `.sql` files define: their rows by days, a page at a time.

How such a table is built is in `builds`; files of whole tables are in `export`.
"""

from datetime import date

from msgspec import Struct, structs

from assets.queries.freshness import read_days_freshness
from assets.queries.purchase_endpoints import SLOW_AT_ONCE, Limit, Offset
from assets.queries.records import Freshness
from assets.queries.series import MAX_DAYS, RENAMED, Name, requested_range
from assets.tables.day_range import DayRange
from streaming.api.endpoint import Endpoint
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.store.sql_query import Cell, browser_rows
from streaming.store.sql_tables import (
    DAY,
    code_versions,
    list_sql_tables,
    read_columns,
    require_sql_table,
)


class SqlRowsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A table (default: the first), days `from` to `to` (default: the last 30), and a page."""

    table: Name | None = None
    first: date | None = None
    last: date | None = None
    limit: Limit = 20
    offset: Offset = 0


class SqlRows(Struct, frozen=True, kw_only=True):
    """Rows of one of the `tables`, the newest day first; null and empty if there is none.

    Whole numbers beyond 2⁵³ are texts.
    """

    tables: list[str]
    first: date
    last: date
    table: str | None = None
    columns: list[str] = []
    rows: list[list[Cell]] = []
    total: int = 0
    next_offset: int | None = None
    standing: Freshness | None = None


def sql_rows_endpoint() -> Endpoint:
    """Return the endpoint."""
    return Endpoint(
        "GET",
        "sql-tables",
        "Rows of the tables of .sql files",
        _sql_rows,
        SqlRows,
        SqlRowsQuery,
        max_concurrent=SLOW_AT_ONCE,
    )


def _sql_rows(settings: Settings, query: SqlRowsQuery) -> SqlRows:
    codes, end = code_versions(settings), query.offset + query.limit
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        stored = list_sql_tables(store)
        # A table whose file is gone is not built any more.
        tables = [name for name in codes if name in stored]
        answer = SqlRows(tables=tables, first=days.first, last=days.last)
        table = query.table or next(iter(tables), None)
        if table is None:
            return answer
        require_sql_table(store, table)
        total, columns, rows = _read_page(store, table, days, query)
        return structs.replace(
            answer,
            table=table,
            columns=columns,
            rows=browser_rows(rows),
            total=total,
            next_offset=end if end < total else None,
            standing=read_days_freshness(store, table, days, settings.zone, codes.get(table)),
        )


def _read_page(
    store: StoreConnection, table: str, days: DayRange, query: SqlRowsQuery
) -> tuple[int, list[str], list[list[Cell]]]:
    """Return how many rows the days have, the columns, and the rows of a page."""
    where, bounds = f'FROM "{table}" WHERE {DAY} BETWEEN ? AND ?', days.iso_bounds()
    total = store.execute(f"SELECT count(*) {where}", bounds).fetchone()[0]
    day, *others = read_columns(store, table)
    # By every column, because a user's table has no key and pages must not overlap.
    order = ", ".join([f'"{day}" DESC', *(f'"{name}"' for name in others)])
    rows = store.execute(
        f"SELECT * {where} ORDER BY {order} LIMIT ? OFFSET ?", (*bounds, query.limit, query.offset)
    )
    return total, [day, *others], rows.fetchall()
