"""`replay`: send recorded purchases, or say what they would become.

Options become a request here, and results sentences; sending is in `streaming.producer.replay`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import print_json, print_text
from streaming.cli.produce import MOST, read_number
from streaming.cli.progress import replay_summary, show_progress
from streaming.system.shutdown import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from streaming.producer.replay.check import ReplayCheck
    from streaming.settings import Settings

RecordedFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A CSV, Parquet, JSON or Excel file, zip or gzip too, or - for standard input.",
    ),
]
Speed = Annotated[
    str,
    typer.Option(metavar="NUMBER|max", help="Recorded seconds per second: 1, 60, … or max."),
]
AsRecorded = Annotated[
    bool | None,
    typer.Option(
        "--as-recorded/--shift-to-now",
        help="Keep the recorded times, or shift them so that the last event is now. Default: as"
        " it was begun, or else as recorded.",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="The column of a field, several with + between, or FIELD:=VALUE for all rows; may be"
        " repeated. line_total gives unit_price by the quantity. Default: the column of the same"
        " name, or that of Online Retail.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="SYSTEM",
        help="The system that exported the file: shopify, woocommerce, square, stripe or amazon."
        " It maps the columns; --map goes before it.",
        show_default=False,
    ),
]
Id = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="COLUMN[,COLUMN]",
        help="The columns that name a row, if the file has ids. Default: a row is what it says, and"
        " the same row in another file is the same purchase.",
        show_default=False,
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Send nothing; print what the file would become.")
]
Json = Annotated[bool, typer.Option("--json", help="With --check: print it as JSON.")]
Decimal = Annotated[
    str | None,
    typer.Option(
        metavar=",|.", help="The sign before decimals. Default: the one that the numbers show."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help="What separates cells. Default: found by itself."),
]
Encoding = Annotated[str, typer.Option(help="Of CSV and JSON lines, such as latin-1 or cp1252.")]
DateFormat = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT", help="Of times, as in strftime: '%d.%m.%Y %H:%M'. Default: found."
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--day-first/--month-first",
        help="What 3/4/2024 is. Default: found, if one day is over 12.",
        show_default=False,
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Of times without an offset, such as Europe/London. Default: PURCHASES_TIMEZONE, or"
        " the preset's.",
        show_default=False,
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Choose the shift again, and begin from the start.")
]


def replay(
    file: RecordedFile,
    speed: Speed = MOST,
    as_recorded: AsRecorded = None,
    preset: PresetName = None,
    columns: Columns = None,
    id_columns: Id = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    timezone: TimeZone = None,
    decimal: Decimal = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    restart: Restart = False,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """Send a recorded history, each row once, however often it is interrupted and run again.

    A row that breaks the rules is sent as it stands, so that it is refused and kept; then the exit
    code is 1. See first with --check.

    Example: purchases replay examples/my_sales.csv --check --map user=customer --map item=article
    --map timestamp=sold_at
    """
    from streaming.producer.app import ProducerApp
    from streaming.producer.replay.columns import read_id_columns, read_mapping
    from streaming.producer.replay.file_format import FileFormat, read_format
    from streaming.producer.replay.plan import ReplayRequest

    settings = _settings()
    request = ReplayRequest(
        path=file,
        mapping=read_mapping(columns or []),
        id_columns=read_id_columns(id_columns),
        form=read_format(
            FileFormat(delimiter, encoding, decimal, date_format, day_first, timezone, preset)
        ),
        speed=read_number("--speed", speed),
        as_recorded=as_recorded,
        restart=restart,
    )
    if check or as_json:
        check_only = ProducerApp(settings, StopRequest(), lambda _: None)
        _print_check(check_only.check_replay(request), as_json=as_json)
        return
    with stop_on_signals() as stop, show_progress() as show:
        result = ProducerApp(settings, stop, show).replay(request)
    print_text(replay_summary(result, file))


def _settings() -> "Settings":
    from streaming.settings import load_settings
    from streaming.store.deployment import require_settings_of_home
    from streaming.system.logs import configure_logs

    configure_logs()
    settings = load_settings()
    require_settings_of_home(settings)
    return settings


def _print_check(check: "ReplayCheck", *, as_json: bool) -> None:
    """Print a check; exit with 1 if a row would be refused."""
    from streaming.cli.replay_check import check_text

    if as_json:
        print_json(check)
    else:
        print_text(check_text(check))
    if check.refused:
        raise typer.Exit(1)
