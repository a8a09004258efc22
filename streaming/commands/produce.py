"""`produce` and `replay`: send generated or recorded purchases.

Options become requests here, and results one sentence; sending is in `streaming.producer`.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.commands.console import stopping
from streaming.commands.sending import shown_progress, unacknowledged_sentence
from streaming.errors import PurchasesError, UsageError

if TYPE_CHECKING:
    from streaming.producer.produce import ProduceResult
    from streaming.producer.replay import ReplayResult
    from streaming.settings import Settings

MOST: str = "max"

Rate = Annotated[str, typer.Option(metavar="NUMBER|max", help="Purchases per second.")]
Count = Annotated[int | None, typer.Option(help="How many; without it, until Ctrl-C.")]
Seed = Annotated[int | None, typer.Option(help="Give the same purchases again.")]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Event time of the first, such as 2024-03-01; the others follow as a shop's days"
        " do, about 20,000 a day. Without it: now, in real time.",
    ),
]
BadShare = Annotated[
    float, typer.Option(help="The share that is broken on purpose, 0 to 1, such as 0.01.")
]
RecordedFile = Annotated[Path, typer.Argument(metavar="FILE", help="A Parquet or CSV file.")]
Speed = Annotated[
    str,
    typer.Option(metavar="NUMBER|max", help="Recorded seconds per second: 1, 60, … or max."),
]
AsRecorded = Annotated[
    bool | None,
    typer.Option(
        "--as-recorded/--shifted",
        help="Keep the recorded times, or shift them so that the last event is now. Default: as"
        " it was begun, or else shifted.",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="The column of a field; may be repeated. Default: the columns of Online Retail.",
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Choose the shift anew, and begin from the start.")
]


def produce(
    rate: Rate = "10",
    count: Count = None,
    seed: Seed = None,
    start: Start = None,
    bad_share: BadShare = 0.0,
) -> None:
    """Send generated purchases: popular items, returning customers, guests, returns.

    With --seed the same purchases come again, as new events; with --start as well, the same bytes.

    Example: purchases produce --rate 100 --count 6000 --bad-share 0.01
    """
    from streaming.logs import configure_logs
    from streaming.producer.generated import ProduceRequest
    from streaming.producer.produce import produce as send
    from streaming.settings import load_settings

    configure_logs()
    settings = load_settings()
    request = ProduceRequest(
        rate=_number("--rate", rate),
        count=count,
        seed=seed,
        start=_time("--start", start, settings),
        bad_share=bad_share,
    )
    with stopping() as stop, shown_progress() as show:
        result = send(settings, request, stop, show)
    _say_produced(settings, count, result)


def replay(
    file: RecordedFile,
    speed: Speed = MOST,
    as_recorded: AsRecorded = None,
    columns: Columns = None,
    restart: Restart = False,
) -> None:
    """Send a recorded history, each row once, however often it is interrupted and run again.

    Times without an offset are in PURCHASES_TIMEZONE. A row that breaks the rules is sent as it
    stands, so that it is refused and kept.

    Example: purchases replay examples/online_retail.parquet --as-recorded
    """
    from streaming.logs import configure_logs
    from streaming.producer.mapping import read_mapping
    from streaming.producer.plan import ReplayRequest
    from streaming.producer.replay import replay as send
    from streaming.settings import load_settings

    configure_logs()
    settings = load_settings()
    request = ReplayRequest(
        path=file,
        mapping=read_mapping(columns or []),
        speed=_number("--speed", speed),
        as_recorded=as_recorded,
        restart=restart,
    )
    with stopping() as stop, shown_progress() as show:
        result = send(settings, request, stop, show)
    _say_replayed(file, result)


def _number(option: str, text: str) -> float | None:
    """Read a positive number, or None for `max`."""
    if text == MOST:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"{option} {text} must be a number over 0, or max.")
    return number


def _time(option: str, text: str | None, settings: "Settings") -> datetime | None:
    """Read a time; without an offset it is in the deployment's time zone."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is not a time, such as 2024-03-01 or 2024-03-01T08:00:00Z."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=settings.zone)


def _say_produced(settings: "Settings", count: int | None, result: "ProduceResult") -> None:
    if result.unacknowledged:
        sentence = unacknowledged_sentence(settings.home, result.unacknowledged, result.sent)
        reason = f"{result.failure}. " if result.failure else ""
        raise PurchasesError(f"{reason}{sentence}")
    if count is not None and result.sent < count:
        raise PurchasesError(f"Stopped: {result.sent:,} of {count:,} purchases were sent.")
    typer.echo(f"{result.sent:,} purchases sent, all acknowledged, in {result.seconds:.1f} s.")


def _say_replayed(file: Path, result: "ReplayResult") -> None:
    again = "the same command again sends only what is missing"
    if result.finished_before:
        typer.echo(
            f"All {result.rows:,} purchases of {file} were sent by {result.finished_before};"
            " nothing was sent. Choose a new shift with --restart to send them as new events."
        )
        return
    if result.unacknowledged:
        reason = f"{result.failure}. " if result.failure else ""
        raise PurchasesError(
            f"{reason}{len(result.unacknowledged):,} of the {result.sent:,} purchases sent were not"
            f" acknowledged, and may be in Kafka or not; {again}."
        )
    if result.done < result.rows:
        raise PurchasesError(
            f"Stopped after {result.done:,} of the {result.rows:,} purchases of {file}; {again}."
        )
    before = result.rows - result.sent
    there = f"; {before:,} were there before" if before else ""
    typer.echo(
        f"{result.sent:,} purchases of {file} sent, all acknowledged, in {result.seconds:.1f} s"
        f"{there}."
    )
