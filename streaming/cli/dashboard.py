"""`dashboard`: the page, until Ctrl-C; what it shows is in `page`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from streaming.dashboard.app import Parts


def dashboard_command(parts: "Callable[[], Parts]") -> Callable[[], None]:
    """Make the command; `parts` gives what others add to the page, when it is needed."""

    def dashboard() -> None:
        """Serve the page, its JSON API and the metrics until Ctrl-C.

        On loopback unless PURCHASES_DASHBOARD_HOST says otherwise; then a token is asked for.

        Example: purchases dashboard
        """
        from streaming.dashboard.serve import serve
        from streaming.settings import load_settings
        from streaming.system.logs import configure_logs

        configure_logs()
        serve(load_settings(), parts(), lambda line: typer.echo(line, err=True))

    return dashboard
