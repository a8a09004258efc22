"""The commands `up`, `down`, `env`, `backfill` and `export`: options in, sentences out.

The work is in `orchestration.local` and in modules of the commands' names.
"""

import shlex
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.output import print_text
from streaming.errors import PurchasesError, UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from assets.tables.day_range import DayRange
    from orchestration.cli.backfill import BackfillResult

MAX_FAILURES: Final = 5
"""Failed builds that a message names; the status and Dagster have all of them."""


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Replay a recorded year, then generate purchases.")
    ] = False,
) -> None:
    """Run broker, topics, processor and consumer until Ctrl-C, with a live view.

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


def backfill(
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="The last day, included.")],
    table: Annotated[
        list[str] | None, typer.Option(help="Only this table; may be repeated. Default: all four.")
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Compute also days that are current.")
    ] = False,
) -> None:
    """Build the day tables of a range of days, recorded as one run in Dagster.

    A day that fails keeps its figures, and the others go on; the exit code is 1 then.

    Example: purchases backfill --from 2011-03-01 --to 2011-03-31
    """
    from assets.tables.day_range import DayRange
    from orchestration.cli.backfill import backfill as build
    from streaming.settings import load_settings

    settings = load_settings()
    days = DayRange(_parse_day("--from", first), _parse_day("--to", last))
    tables = _parse_tables(table or [])
    _require_partitions(days, settings.history_start, settings.zone)
    print_text(_format_result(build(settings, days, tables, force=force)))


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
    from assets.queries.export import Format, read_format, read_gap
    from orchestration.cli.export import export as write
    from streaming.settings import load_settings

    days = (
        None if first is None else _parse_day("--from", first),
        None if last is None else _parse_day("--to", last),
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
    if gap := read_gap(settings, table, *days):
        what = f"{gap.missing_days:,} days of {table} are" if gap.missing_days else f"{table} is"
        print_text(f"{what} not built yet, and not in the export.", err=True)


def _format_result(result: "BackfillResult") -> str:
    """Return the sentence of a backfill. Raises `PurchasesError` if builds failed, naming some."""
    sentence = (
        f"{result.days:,} days: {result.builds:,} builds current, of them {result.computed:,}"
        f" computed now, in {result.seconds:.1f} s (run {result.run_id})."
    )
    if result.failures:
        named = "; ".join(
            f"{build}: {reason}" for build, reason in list(result.failures.items())[:MAX_FAILURES]
        )
        raise PurchasesError(f"{len(result.failures):,} builds failed, {sentence} First: {named}")
    return sentence


def _parse_day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text} is not a day, such as 2011-03-27.") from None


def _parse_tables(names: list[str]) -> list[str]:
    from assets.tables.models import DAY_TABLE_NAMES

    for name in names:
        if name not in DAY_TABLE_NAMES:
            raise UsageError(f"--table {name} must be one of {', '.join(DAY_TABLE_NAMES)}.")
    return list(dict.fromkeys(names)) or list(DAY_TABLE_NAMES)


def _require_partitions(days: "DayRange", start: date, zone: "ZoneInfo") -> None:
    """Raise `UsageError` unless the days are in order and have partitions."""
    from datetime import datetime

    today = datetime.now(zone).date()
    if not start <= days.first <= days.last <= today:
        raise UsageError(
            f"--from {days.first} --to {days.last} must be in order, from {start}"
            f" (PURCHASES_HISTORY_START) to {today}."
        )
