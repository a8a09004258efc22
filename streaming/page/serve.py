"""Serving the page until SIGTERM, at an address that is chosen once and printed."""

import socket
from collections.abc import Callable

import uvicorn

from streaming.errors import PurchasesError
from streaming.page.address import KEPT, page_url, remembered_port
from streaming.page.routes import Parts, page_app
from streaming.settings import PREFIX, Settings


def serve(settings: Settings, parts: Parts, say: Callable[[str], None]) -> None:
    """Serve the page with what others add, until SIGTERM or Ctrl-C; where is said first.

    Raises `UsageError` where it may not be shown there, `PurchasesError` where the port is taken.
    """
    app = page_app(settings, parts)
    listening = _listen(settings)
    say(f"The page: {page_url(settings)}")
    uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
        )
    ).run([listening])


def _listen(settings: Settings) -> socket.socket:
    """Bind the port that is set, or the one of the last time, or a free one."""
    chosen = settings.dashboard_port or remembered_port(settings.home)
    family = socket.AF_INET6 if ":" in settings.dashboard_host else socket.AF_INET
    for port in dict.fromkeys([chosen, settings.dashboard_port]):
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.dashboard_host, port))
        except OSError as error:
            listening.close()
            failure = error
            continue
        settings.home.mkdir(parents=True, exist_ok=True)
        (settings.home / KEPT).write_text(f"{listening.getsockname()[1]}\n")
        return listening
    raise PurchasesError(
        f"{settings.dashboard_host}:{chosen} cannot be listened on: {failure.strerror}. Choose"
        f" another {PREFIX}DASHBOARD_PORT."
    )
