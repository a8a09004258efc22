"""`status`: how the deployment is, for people, for programs, and as a health check.

What is collected is in `status.collect`, what is wrong in `status.diagnose`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.apps import AppName
from streaming.cli.output import AsJson, print_json
from streaming.cli.watch import refresh

if TYPE_CHECKING:
    from streaming.status.collect import SectionOf
    from streaming.status.model import Status

Watch = Annotated[bool, typer.Option("--watch", help="Refresh every second, until Ctrl-C.")]
Alone = Annotated[
    AppName | None,
    typer.Option("--app", help="Judge this app alone, if a home runs no other."),
]


def status_command(
    sections: "Callable[[], Mapping[str, SectionOf]]",
) -> Callable[[bool, bool, AppName | None], None]:
    """Make the command; `sections` gives what other parts add to the status, when it is needed."""

    def status(as_json: AsJson = False, watch: Watch = False, app: Alone = None) -> None:
        """Print the state of every part, what is wrong, and what to do; exit 0 if healthy, else 1.

        Asks the workers' files, the database and the broker, none of them for long.

        Example: purchases status --watch
        """
        from streaming.settings import load_settings
        from streaming.status.collect import collect_status

        settings, added = load_settings(), sections()

        def look() -> "Status":
            return collect_status(settings, added, app)

        if watch:
            from streaming.status.render import render

            refresh(
                lambda: render(look()), lambda: _print(look(), as_json=as_json), as_json=as_json
            )
            return
        status = look()
        _print(status, as_json=as_json)
        raise typer.Exit(0 if status.healthy else 1)

    return status


def _print(status: "Status", *, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    from streaming.cli.console import PrintableConsole
    from streaming.status.render import render

    PrintableConsole().print(render(status))
