"""`up` and `down`: everything of one home, started and ended together."""

from typing import Annotated

import typer


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Replay a recorded year, then generate purchases.")
    ] = False,
) -> None:
    """Run broker, topics, processor and consumer until Ctrl-C, with a live view.

    Example: purchases up --demo
    """
    from orchestration.up import run_up

    run_up(demo=demo)


def down() -> None:
    """End everything that runs in this home, within ten seconds.

    Example: purchases down
    """
    from orchestration.down import run_down

    run_down()
