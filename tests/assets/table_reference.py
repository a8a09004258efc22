"""The tables' columns as Markdown, from the models; `python -m tests.assets.table_reference`."""

from inspect import cleandoc

from assets.lineage import column_schema
from assets.tables.models import DAY_TABLES, WHOLE_TABLES, BuildFailure, TableBuild
from streaming.store.models import AnalyticsEventRow, Table, table_name


def reference() -> str:
    """Return each table with its columns, and what the models say of them."""
    more = (TableBuild, BuildFailure, AnalyticsEventRow)
    tables: tuple[type[Table], ...] = (*DAY_TABLES, *WHOLE_TABLES, *more)
    return "\n\n".join(_section(model) for model in tables) + "\n"


def _section(model: type[Table]) -> str:
    text = cleandoc(str(model.__doc__))
    key = [column.name for column in Table.metadata.tables[table_name(model)].primary_key]
    rows = [
        f"| `{column.name}`{' (key)' if column.name in key else ''} | {column.type} |"
        f" {column.description or ''} |"
        for column in column_schema(model).columns
    ]
    head = [f"### {table_name(model)}", "", text, "", "| column | type | what |", "|---|---|---|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - what it is for
