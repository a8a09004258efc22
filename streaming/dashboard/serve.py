"""Serving the page until SIGTERM, at an address that is chosen once and printed."""

from collections.abc import Callable

import uvicorn

from streaming.dashboard.address import bind_socket, dashboard_url
from streaming.dashboard.app import Parts, page_app
from streaming.settings import Settings


def serve(settings: Settings, parts: Parts, say: Callable[[str], None]) -> None:
    """Serve the page with what others add, until SIGTERM or Ctrl-C; where is said first.

    Raises `UsageError` where it may not be shown there, `PurchasesError` where the port is taken.
    """
    app = page_app(settings, parts)
    listening = bind_socket(settings)
    say(f"The page: {dashboard_url(settings)}")
    uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
        )
    ).run([listening])
