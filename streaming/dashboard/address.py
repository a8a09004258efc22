"""Where the dashboard is. Who may use it is in `access`; no server is started here."""

import socket
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError
from streaming.settings import PREFIX, Settings
from streaming.system.home import Home
from streaming.system.privacy import keep_private

EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - only compared
LISTENING_SECONDS: Final = 1.0
"""The dashboard is on this machine, and so answers at once or not at all."""


def dashboard_url(settings: Settings) -> str:
    """Return where the dashboard is; empty if it never ran here and no port is set.

    With a certificate it is at the first of its names, for which the certificate is made.
    """
    certified = settings.dashboard_certificate is not None
    names = host_names(settings) if certified else []
    host = names[0] if names else settings.dashboard_host
    name = "127.0.0.1" if host in EVERYWHERE else host
    if ":" in name:
        name = f"[{name}]"  # An IPv6 address in a URL stands in brackets.
    port = dashboard_port(settings)
    return f"{'https' if certified else 'http'}://{name}:{port}" if port else ""


def read_dashboard_url(settings: Settings) -> str | None:
    """Return where the dashboard is; None if nothing listens there."""
    port = dashboard_port(settings)
    name = "127.0.0.1" if settings.dashboard_host in EVERYWHERE else settings.dashboard_host
    try:
        socket.create_connection((name, port), LISTENING_SECONDS).close()
    except OSError:
        return None
    return dashboard_url(settings)


def dashboard_port(settings: Settings) -> int:
    """Return the port of the last start, else that of the settings; 0 if there is none."""
    return saved_port(settings.home) or settings.dashboard_port


def host_names(settings: Settings) -> list[str]:
    """Return the names under which the settings say that the dashboard is known."""
    return [name for name in settings.dashboard_names.lower().split(",") if name]


def saved_port(home: Path) -> int:
    """Return the port of the last start, 0 if there is none."""
    try:
        return int(Home(home).dashboard_port.read_text())
    except (OSError, ValueError):
        return 0


def bind_socket(settings: Settings) -> socket.socket:
    """Return a socket bound to the port that is set, that of the last start, or a free one.

    The port is saved, so that the address stays the same. Raises `PurchasesError` if it is taken.
    """
    preferred = settings.dashboard_port or saved_port(settings.home)
    family = socket.AF_INET6 if ":" in settings.dashboard_host else socket.AF_INET
    # A saved port that another program has taken meanwhile gives way to a free one (0).
    for port in dict.fromkeys([preferred, settings.dashboard_port]):
        bound = socket.socket(family)
        # Without it a restart would have to wait for the last server's connections in TIME_WAIT.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((settings.dashboard_host, port))
        except OSError as error:
            bound.close()
            failure = error
            continue
        keep_private(settings.home)
        Home(settings.home).dashboard_port.write_text(f"{bound.getsockname()[1]}\n")
        return bound
    raise PurchasesError(
        f"The dashboard cannot listen on {settings.dashboard_host}:{preferred}:"
        f" {failure.strerror}. Set another {PREFIX}DASHBOARD_PORT."
    )
