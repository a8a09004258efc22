"""`produce`: send generated purchases, and what it shares with `replay`.

Options become requests here, and results one sentence; sending is in `streaming.producer`.
"""

from typing import Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.cli.progress import produce_summary, show_progress
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
        rate=read_number("--rate", rate),
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


def read_number(option: str, text: str) -> float | None:
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
