"""The commands `up`, `down`, `env`, `backfill` and `export`: options in, sentences out.

The work is in `orchestration.local` and in modules of the commands' names.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.errors import PurchasesError, UsageError
from streaming.system.loading import collect_rarely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.cli.backfill import BackfillResult, Days
    from streaming.settings import Settings

MAX_FAILURES: Final = 5
"""Failed builds that a message names; the status and Dagster have all of them."""


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Replay a recorded year, then generate purchases.")
    ] = False,
) -> None:
    """Run broker, both apps, dashboard and Dagster until Ctrl-C, with a live view.

    Example: purchases up --demo
    """
    from orchestration.local.up import run_up

    run_up(demo=demo)


def down() -> None:
    """End everything that runs in this home, within ten seconds.

    Example: purchases down
    """
    from orchestration.local.down import run_down

    run_down()


def open_server(
    server: Annotated[
        str, typer.Argument(metavar="dashboard|dagster", help="What to open.")
    ] = "dashboard",
) -> None:
    """Print the address of the dashboard or of Dagster's UI, and open it in a browser.

    Example: purchases open dagster
    """
    import webbrowser

    from orchestration.local.services import read_dagster_url
    from streaming.dashboard.address import read_dashboard_url
    from streaming.settings import load_settings

    readers = {"dashboard": read_dashboard_url, "dagster": read_dagster_url}
    if server not in readers:
        raise UsageError(f"{server} must be one of {', '.join(readers)}.")
    url = readers[server](load_settings())
    if url is None:
        raise PurchasesError(f"No {server} runs in this home; start it with `purchases up`.")
    print_text(url)
    # False on a host without a browser: then the address is what one came for.
    webbrowser.open(url)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; a dry run without.")] = False,
) -> None:
    """Delete what `up --demo` left in this home: topics, database, backups, Dagster's history.

    Refused for a home in which no demonstration ran, and while something runs.

    Example: purchases reset --yes
    """
    from orchestration.local.reset import delete, find_leftovers
    from streaming.settings import load_settings

    settings = load_settings()
    leftovers = find_leftovers(settings)
    what = f"{leftovers.events:,} events and {leftovers.backups:,} backups in {settings.home}"
    if not yes:
        print_text(f"Dry run: {what} would be deleted. Add --yes to delete them.")
        return
    delete(leftovers)
    print_text(f"OK: {what} are deleted. Start again with `purchases up --demo`.")


def env() -> None:
    """Print the settings with which Dagster's own commands find this home, for a shell.

    Example: purchases env
    """
    from orchestration.instance import prepare_instance
    from streaming.settings import load_settings
    from streaming.system.home import Home

    settings = load_settings()
    prepare_instance(settings)
    names = {"DAGSTER_HOME": Home(settings.home).dagster, "PURCHASES_HOME": settings.home}
    # Exactly, because a shell evaluates it.
    sys.stdout.writelines(f"export {n}={shlex.quote(str(path))}\n" for n, path in names.items())


@collect_rarely()
def backfill(  # noqa: PLR0913 - a command's options are its parameters
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first day.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last day, included.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="So many days up to today.")] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Only this table; may be repeated. Default: all.")
    ] = None,
    *,
    yesterday: Annotated[bool, typer.Option("--yesterday", help="Yesterday alone.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="The days whose last build failed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute also what is current.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build nothing; print what would be built.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the day tables of some days, then the summaries: two runs, recorded in Dagster.

    A day that fails keeps its figures, and the others go on; the exit code is 1 then.

    Example: purchases backfill --from 2011-03-01 --to 2011-03-31
    """
    from orchestration.cli.backfill import backfill as build
    from orchestration.cli.backfill import count_due
    from orchestration.cli.chosen_days import read_days
    from streaming.settings import load_settings

    settings = load_settings()
    named = read_days(settings, first, last, days, yesterday=yesterday)
    chosen, tables = _choose(settings, named, table or [], failed=failed)
    if not tables and not as_json:
        print_text("OK: no build of a day has failed.")
        return
    if dry_run:
        due = count_due(settings, chosen, tables, force=force)
        if as_json:
            print_json({"due": due})
        else:
            print_text(f"Dry run: {_scope(chosen, tables)}: {due:,} builds would be computed.")
        return
    _print_result(build(settings, chosen, tables, force=force), chosen, tables, as_json=as_json)


def _choose(
    settings: "Settings", named: "Days | None", names: list[str], *, failed: bool
) -> "tuple[Days | None, list[str]]":
    """Return the days and tables of a backfill; no table if no build of a day has failed."""
    from assets.tables.sql_transform import is_day_table
    from orchestration.cli.backfill import read_failed_days
    from orchestration.cli.chosen_days import parse_tables

    if failed and named:
        raise UsageError("--failed names the days itself: leave the other days out.")
    tables = parse_tables(settings, names)
    if failed:
        days = read_failed_days(settings)
        # Summaries follow days: if no day is built, there is nothing to bring up to date.
        return days, tables if days else []
    if named is None and any(map(is_day_table, tables)):
        raise UsageError("Name the days: --from and --to, --days, --yesterday or --failed.")
    return named, tables


def _print_result(
    done: "BackfillResult", days: "Days | None", tables: "Sequence[str]", *, as_json: bool
) -> None:
    """Print what a backfill did; exit with 1 if builds failed."""
    if not as_json:
        print_text(_format_result(done, days, tables))
        return
    print_json(done)
    if done.failures:
        raise typer.Exit(1)


def export(  # noqa: PLR0913 - a command's options are its parameters
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="analytics_event, or a table of the batch half.")
    ],
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first day. Default: all.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last day, included.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="csv|parquet|jsonl", help="How it is written.")
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option(help="A file, replaced when it is whole. Default: stdout.")
    ] = None,
    *,
    for_spreadsheet: Annotated[
        bool, typer.Option("--for-spreadsheet", help="CSV in which no text is a formula.")
    ] = False,
) -> None:
    """Write a table, or some days of it, as CSV, Parquet or JSON lines; the stream may run.

    Columns, units and order are the table's own; days are cut in the deployment's time zone. Texts
    are exact, as they were sent. A spreadsheet would compute those that begin like a formula, so
    --for-spreadsheet puts an apostrophe before them.

    Example: purchases export daily_sales --from 2011-03-01 --to 2011-03-31 --format csv
    """
    from assets.queries.export import read_gap
    from assets.queries.file_formats import Format, read_format
    from orchestration.cli.chosen_days import parse_day
    from orchestration.cli.export import export as write
    from streaming.settings import load_settings

    days = (
        None if first is None else parse_day("--from", first),
        None if last is None else parse_day("--to", last),
    )
    chosen = read_format(form)
    if for_spreadsheet:
        if chosen is not Format.CSV:
            raise UsageError(f"--for-spreadsheet writes CSV; leave out --format {form}.")
        chosen = Format.SPREADSHEET
    settings = load_settings()
    rows = write(settings, table, *days, chosen, output)
    if output is not None:
        print_text(f"{output} has {rows:,} rows of {table}.")
    # After the rows, on stderr: a pipe gets nothing but the table.
    if gap := read_gap(settings, table, *days):
        what = f"{gap.missing_days:,} days of {table} are" if gap.missing_days else f"{table} is"
        print_text(f"{what} not built yet, and not in the export.", err=True)


def _scope(days: "Days | None", tables: "Sequence[str]") -> str:
    """Return what is built, in words."""
    from assets.tables.models import WHOLE_TABLE_NAMES

    summaries = len(set(tables) & set(WHOLE_TABLE_NAMES))
    of_days = f"{_count(len(days or ()), 'day')} of {_count(len(tables) - summaries, 'table')}"
    whole = "1 summary" if summaries == 1 else f"{summaries} summaries"
    return " and ".join([*([of_days] if days else []), *([whole] if summaries else [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _format_result(result: "BackfillResult", days: "Days | None", tables: "Sequence[str]") -> str:
    """Return the sentence of a backfill. Raises `PurchasesError` if builds failed, naming some."""
    sentence = (
        f"{_scope(days, tables)}: {result.builds:,} builds current, of them {result.computed:,}"
        f" computed now, in {result.seconds:.1f} s (run {', '.join(result.run_ids)})."
    )
    if result.failures:
        named = "; ".join(
            f"{build}: {reason}" for build, reason in list(result.failures.items())[:MAX_FAILURES]
        )
        raise PurchasesError(f"{len(result.failures):,} builds failed, {sentence} First: {named}")
    return f"OK: {sentence}"
