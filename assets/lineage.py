"""The columns of each table for Dagster's catalogue, and the lineage of the columns.

Columns come from the models, so that the documentation is the schema. The events of a build are in
`dagster_events`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from dagster import AssetKey, TableColumn, TableColumnDep, TableColumnLineage, TableSchema
from sqlalchemy import Column

from assets.tables.models import DAY, MEANINGS
from assets.tables.sql_transform import AnyTransform, SqlTransform
from streaming.store.models import AnalyticsEventRow, Table, table_name
from streaming.store.sql_tables import EVENT_COLUMNS

EVENTS: Final = AssetKey(table_name(AnalyticsEventRow))
HISTORY: Final = AssetKey("analytics_history")
"""The column files of all days."""

METRIC_SOURCES: Final[Mapping[str, Sequence[str]]] = {
    "events": ["event_id"],
    "items_sold": ["quantity"],
    "gross_revenue_micros": ["amount_micros", "kind"],
    "net_revenue_micros": ["amount_micros"],
    "gross_revenue_trillions": ["amount_micros", "kind"],
    "net_revenue_trillions": ["amount_micros"],
    "orders": ["order_id"],
    "customers": ["user"],
}
"""The columns of `analytics_event` that each metric is computed from."""
SOURCES: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "daily_item_sales": {
        "day": ["event_time"],
        "item": ["item"],
        "rank": ["quantity", "amount_micros", "item"],
    },
    "sales_summary": {
        "most_popular_item": ["item", "quantity", "amount_micros"],
        "most_popular_items_sold": ["item", "quantity"],
        "first_event": ["event_time"],
        "last_event": ["event_time"],
    },
}
"""The same for the other columns, of the tables whose lineage is shown."""


def column_schema(model: type[Table]) -> TableSchema:
    """Return the columns of a table with type, meaning and unit, as the model has them."""
    fields = model.model_fields
    columns = Table.metadata.tables[table_name(model)].columns
    return TableSchema(
        [
            TableColumn(column.name, _type_of(column), fields[column.name].description)
            for column in columns
        ]
    )


def table_schema(transform: AnyTransform) -> TableSchema:
    """Return the columns of a table; those of a file have a meaning if they are metrics of ours."""
    if isinstance(transform, SqlTransform):
        unaudited = "Not audited."
        return TableSchema(
            [
                TableColumn(name, "any", MEANINGS.get(name, unaudited) if name != "day" else DAY)
                for name in transform.columns
            ]
        )
    return column_schema(transform.model)


@cache
def column_lineage(transform: AnyTransform) -> TableColumnLineage | None:
    """Return the source columns of each column; None for tables whose lineage is not shown."""
    if isinstance(transform, SqlTransform):
        sources = sql_sources(transform)
    elif transform.table in SOURCES:
        sources = {**METRIC_SOURCES, **SOURCES[transform.table]}
    else:
        return None
    return TableColumnLineage(
        {
            column: [TableColumnDep(EVENTS, source) for source in names]
            for column, names in sources.items()
        }
    )


@cache
def sql_sources(transform: SqlTransform) -> Mapping[str, Sequence[str]]:
    """Return the columns of events that each column of a file's table is computed from.

    Without sqlglot, the extra `purchases[sql]`, it is not known, and neither is it if sqlglot
    cannot read what the database can.
    """
    try:
        # Imported here: it takes as long as all else of a command, and only a build needs it.
        from sqlglot import errors, lineage
    except ImportError:
        return {}
    schema = {EVENTS.to_user_string(): dict.fromkeys(EVENT_COLUMNS.split(", "), "TEXT")}
    try:
        return {"day": ["event_time"]} | {
            column: sorted(
                {
                    leaf.name.rpartition(".")[2].strip('"')
                    for leaf in lineage.lineage(
                        column,
                        transform.source.text,
                        schema,
                        dialect="postgres" if transform.source.types else "sqlite",
                    ).walk()
                    # A leaf with a dot is a column of events, and any other a constant.
                    if not leaf.downstream and "." in leaf.name
                }
            )
            for column in transform.columns[1:]
        }
    except errors.SqlglotError:
        return {}


def _type_of(column: "Column[object]") -> str:
    return str(column.type).lower()
