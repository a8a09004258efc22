"""The dashboard's server: it listens until SIGTERM, at an address that stays the same."""

import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from streaming.dashboard.access import read_access, read_certificate, sign_in_hint
from streaming.dashboard.address import bind_socket, dashboard_url
from streaming.dashboard.app import Extension, build_dashboard
from streaming.dashboard.connections import bounded_config, raise_file_limit
from streaming.dashboard.server_sent_events import Broadcaster
from streaming.settings import Settings
from streaming.store.deployment import require_settings_of_home

SHUTDOWN_SECONDS: Final = 2
"""For requests under way. Less than the 10 s that `up` and service managers wait before a kill."""


def serve(settings: Settings, extension: Extension, say: Callable[[str], None]) -> None:
    """Serve the dashboard until SIGTERM or Ctrl-C; its address is said first.

    Raises `UsageError` if the settings open the dashboard to others without a token or in plain
    text, `PurchasesError` if the port is taken, `Mismatch` if the home's database has another
    currency or time zone.
    """
    require_settings_of_home(settings)
    bound = bind_socket(settings)
    access = read_access(settings)
    access.sessions.forget_expired()
    broadcaster, app = build_dashboard(settings, access, extension)
    say(f"The dashboard: {dashboard_url(settings)}")
    if hint := sign_in_hint(settings, access):
        say(hint)
    raise_file_limit()
    config = bounded_config(
        app,
        tls=read_certificate(settings),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        # Otherwise whoever is on this host could claim to come from elsewhere.
        proxy_headers=settings.dashboard_behind_proxy,
        forwarded_allow_ips="*",
        # With `auto` uvicorn takes an error at the start for an application without a lifespan.
        lifespan="on",
    )
    _Server(config, broadcaster).run([bound])


class _Server(uvicorn.Server):
    """Ends the streams of events before it waits for connections, which would never end."""

    def __init__(self, config: uvicorn.Config, broadcaster: Broadcaster) -> None:
        super().__init__(config)
        self._broadcaster = broadcaster

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._broadcaster.close()
        await super().shutdown(sockets)
