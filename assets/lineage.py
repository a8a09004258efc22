"""The columns of each table for Dagster's catalogue, and the lineage of the columns.

Columns come from the models, so that the documentation is the schema. The events of a build are in
`dagster_events`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from dagster import AssetKey, TableColumn, TableColumnDep, TableColumnLineage, TableSchema
from sqlalchemy import Column

from streaming.store.models import AnalyticsEventRow, Table, table_name

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


def column_lineage(table: str) -> TableColumnLineage | None:
    """Return the source columns of each column; None for tables whose lineage is not shown."""
    if table not in SOURCES:
        return None
    sources = {**METRIC_SOURCES, **SOURCES[table]}
    return TableColumnLineage(
        {
            column: [TableColumnDep(EVENTS, source) for source in names]
            for column, names in sources.items()
        }
    )


def _type_of(column: "Column[object]") -> str:
    return str(column.type).lower()
