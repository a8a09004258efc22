"""The one loop of `--watch`: what is shown comes from the command."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

# As often as the figures of a quiet stream change for a reader; a look at the broker takes less.
REFRESH_SECONDS: Final = 1.0


def refresh(
    render: "Callable[[], RenderableType]", print_once: Callable[[], None], *, as_json: bool
) -> None:
    """Show every second until Ctrl-C or SIGTERM.

    On a terminal `render` replaces what it showed before. With `as_json`, or into a pipe,
    `print_once` prints the next below the last.
    """
    from rich.live import Live

    from streaming.cli.console import PrintableConsole
    from streaming.system.shutdown import stop_on_signals

    console = PrintableConsole()
    in_place = console.is_terminal and not as_json
    with Live(console=console, auto_refresh=False) as live, stop_on_signals() as stop:
        while not stop.is_set():
            if in_place:
                live.update(render(), refresh=True)
            else:
                print_once()
            stop.wait(REFRESH_SECONDS)
