"""`dashboard`: serve the dashboard until Ctrl-C. What it shows is in `streaming.dashboard`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from streaming.cli.output import print_text

if TYPE_CHECKING:
    from streaming.dashboard.app import Extension


def dashboard_command(extension: "Callable[[], Extension]") -> Callable[[], None]:
    """Return the command; `extension` returns what others add to the dashboard."""

    def dashboard() -> None:
        """Serve the dashboard, its JSON API and the metrics until Ctrl-C.

        On loopback for its own user, or for whoever has PURCHASES_DASHBOARD_TOKEN. Another
        address, PURCHASES_DASHBOARD_HOST, needs that token and TLS: PURCHASES_DASHBOARD_CERTIFICATE
        and PURCHASES_DASHBOARD_KEY, or a proxy and PURCHASES_DASHBOARD_BEHIND_PROXY=on.

        Example: purchases dashboard
        """
        from streaming.dashboard.serve import serve
        from streaming.settings import load_settings
        from streaming.system.logs import configure_logs

        configure_logs()
        serve(load_settings(), extension(), lambda line: print_text(line, err=True))

    return dashboard
