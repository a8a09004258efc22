"""`sql`: a question in SQL, answered as a table, as CSV or as JSON.

How a statement is run, and what it may do, is in `store.sql_query`.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from streaming.cli.output import print_json, print_text
from streaming.formatting import printable_text, spreadsheet

if TYPE_CHECKING:
    from streaming.store.sql_query import Cell, QueryResult

SECONDS: Final = 60.0
"""A count over ten million events takes some seconds; who waits longer wants a table."""
QUERY: Final = "query"


class _QueryByDefault(TyperGroup):
    """The commands of `sql`, of which `query` need not be named."""

    # Typer carries a click of its own, and does not export its types.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Put `query` before what names no command; without a word, SQL may come by stdin."""
        named = {*self.commands, *ctx.help_option_names}
        has_command = args[0] in named if args else sys.stdin.isatty()
        return super().parse_args(ctx, args if has_command else [QUERY, *args])


app = typer.Typer(
    cls=_QueryByDefault,
    help="Ask the database in SQL. `purchases sql 'SELECT …'` is `purchases sql query 'SELECT …'`.",
    no_args_is_help=True,
)

Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows to print at most.")]
Form = Annotated[str, typer.Option("--format", metavar="table|csv|json", help="How to print it.")]


@app.command(QUERY, short_help="Print the answer to a SELECT.")
def query(
    text: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One SELECT. Default: read from stdin.")
    ] = None,
    form: Form = "table",
    limit: Limit = 1000,
) -> None:
    """Print the answer to one SELECT over the tables, which are only read.

    It runs for 60 s at most, while the stream writes. docs/tables.md has the columns. Money is in
    millionths and times are in µs, and the views named …_readable show both as people read them.
    CSV has an apostrophe before what a spreadsheet would compute.

    purchases sql "SELECT * FROM analytics_event_readable LIMIT 5"

    purchases sql "SELECT day, events FROM day_ledger ORDER BY day" --format csv

    purchases sql --format json < question.sql

    Example: purchases sql query "SELECT item, items_sold FROM live_item_totals"
    """
    from streaming.errors import UsageError
    from streaming.settings import load_settings
    from streaming.store.sql_query import Bounds, run_query

    if form not in {"table", "csv", "json"}:
        raise UsageError(f"--format {form} must be table, csv or json.")
    sql = sys.stdin.read() if text is None else text
    result = run_query(load_settings(), sql, Bounds(SECONDS, limit))
    _print(result, form)
    # On stderr, so that a pipe gets nothing but the answer.
    if result.cut is not None:
        print_text(_what_was_cut(result.cut, len(result.rows)), err=True)


@app.command(short_help="Delete the table of a .sql file.")
def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The table, or the file's name.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what.")] = False,
) -> None:
    """Delete the table of a `.sql` file that was removed, with its builds; a dry run without --yes.

    Example: purchases sql drop daily_lines --yes
    """
    from streaming.settings import load_settings
    from streaming.store.sql_tables import drop_sql_table

    rows = drop_sql_table(load_settings(), name, apply=yes)
    if yes:
        print_text(f"OK: deleted {name} with {rows:,} rows.")
    else:
        print_text(f"Dry run: {name} has {rows:,} rows. Nothing was changed; --yes deletes it.")


def _print(result: "QueryResult", form: str) -> None:
    if form == "json":
        print_json(result)
    elif form == "csv":
        print_text(spreadsheet(result.columns, result.rows).removesuffix("\n"))
    else:
        print_text(_table(result))


def _what_was_cut(cut: Literal["rows", "bytes"], rows: int) -> str:
    if cut == "rows":
        return f"Cut: there are more than these {rows:,} rows; --limit prints more."
    return f"Cut: {rows:,} rows are 16 MiB; name fewer columns, or ask for a part at a time."


def _table(result: "QueryResult") -> str:
    """Return lines of columns as wide as their longest cell; numbers stand to the right."""
    texts = [[_text(cell) for cell in row] for row in result.rows]
    heads = list(map(printable_text, result.columns))
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    numbers = [
        any(cell is not None for cell in column)
        and not any(isinstance(cell, str) for cell in column)
        for column in (list(zip(*result.rows, strict=True)) or [()] * len(heads))
    ]

    def line(cells: list[str]) -> str:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, numbers, strict=True)
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(heads), rule, *map(line, texts)])


def _text(cell: "Cell") -> str:
    return "" if cell is None else printable_text(str(cell))
