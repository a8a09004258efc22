"""`process` and `analyze`: the supervisor of one app, until stopped or caught up."""

from pathlib import Path
from typing import Annotated

import typer

Slots = Annotated[
    int | None, typer.Option(min=1, max=64, help="Worker processes; default from the settings.")
]
UntilCaughtUp = Annotated[
    bool, typer.Option("--until-caught-up", help="Stop when all that is there now is done.")
]
Timeout = Annotated[
    float, typer.Option(min=1, help="Seconds without progress that --until-caught-up waits.")
]
KeepAlive = Annotated[
    Path | None,
    typer.Option(help="Leave when this file has not been touched for 45 s.", dir_okay=False),
]


def process(
    slots: Slots = None,
    until_caught_up: UntilCaughtUp = False,
    timeout: Timeout = 70,
    keep_alive: KeepAlive = None,
) -> None:
    """Run PurchaseProcessorApp: validate, enrich and republish purchases, exactly once.

    Example: purchases process --until-caught-up
    """
    from streaming.cli.foreground import run_processor

    run_processor(slots, timeout if until_caught_up else None, keep_alive)


def analyze(
    slots: Slots = None,
    until_caught_up: UntilCaughtUp = False,
    timeout: Timeout = 70,
    keep_alive: KeepAlive = None,
) -> None:
    """Run AnalyticsConsumerApp: store the published events with their figures, exactly once.

    Example: purchases analyze --until-caught-up
    """
    from streaming.cli.foreground import run_analytics

    run_analytics(slots, timeout if until_caught_up else None, keep_alive)
