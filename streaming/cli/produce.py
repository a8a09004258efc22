"""`produce` and `replay`: send generated or recorded purchases.

Options become requests here, and results one sentence; sending is in `streaming.producer`.
"""

from pathlib import Path
from typing import Annotated

import typer

from streaming.cli.output import print_json, print_text
from streaming.cli.progress import produce_summary, replay_summary, show_progress
from streaming.cli.times import read_time
from streaming.errors import UsageError
from streaming.system.shutdown import stop_on_signals

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
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Event time of the first; the others follow at the rate, up to now at once.",
    ),
]
BadShare = Annotated[
    float, typer.Option(help="The share that is broken on purpose, 0 to 1, such as 0.01.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]
RecordedFile = Annotated[Path, typer.Argument(metavar="FILE", help="A Parquet or CSV file.")]
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
        help="The column of a field; may be repeated. Default: the columns of Online Retail.",
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Choose the shift again, and begin from the start.")
]


def produce(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    rate: Rate = "10",
    count: Count = None,
    seed: Seed = None,
    start: Start = None,
    since: Since = None,
    bad_share: BadShare = 0.0,
    as_json: AsJson = False,
) -> None:
    """Send generated purchases: popular items, returning customers, guests, returns.

    With --seed the same purchases come again, as new events; with --start as well, the same bytes.

    Example: purchases produce --rate 100 --count 6000 --bad-share 0.01
    """
    from streaming.producer.app import ProducerApp
    from streaming.producer.generator.records import ProduceRequest
    from streaming.settings import load_settings
    from streaming.store.deployment import require_settings_of_home
    from streaming.system.logs import configure_logs

    configure_logs()
    settings = load_settings()
    require_settings_of_home(settings)
    request = ProduceRequest(
        rate=_number("--rate", rate),
        count=count,
        seed=seed,
        start=read_time("--start", start, settings),
        since=read_time("--since", since, settings),
        bad_share=bad_share,
    )
    with stop_on_signals() as stop, show_progress() as show:
        result = ProducerApp(settings, stop, show).produce(request)
    text = produce_summary(result, count, settings.home)
    if as_json:
        print_json({"sent": result.sent, "seconds": round(result.seconds, 3)})
    else:
        print_text(text)


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

    Example: purchases replay examples/online_retail.parquet
    """
    from streaming.producer.app import ProducerApp
    from streaming.producer.replay.columns import read_mapping
    from streaming.producer.replay.plan import ReplayRequest
    from streaming.settings import load_settings
    from streaming.store.deployment import require_settings_of_home
    from streaming.system.logs import configure_logs

    configure_logs()
    settings = load_settings()
    require_settings_of_home(settings)
    request = ReplayRequest(
        path=file,
        mapping=read_mapping(columns or []),
        speed=_number("--speed", speed),
        as_recorded=as_recorded,
        restart=restart,
    )
    with stop_on_signals() as stop, show_progress() as show:
        result = ProducerApp(settings, stop, show).replay(request)
    print_text(replay_summary(result, file))


def _number(option: str, text: str) -> float | None:
    """Read a positive number, or None for `max`."""
    if text == MOST:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    # NaN fails every comparison, so it is refused here too.
    if not 0 < number < float("inf"):
        raise UsageError(f"{option} {text} must be a number over 0, or max.")
    return number
