"""Where the page is, and whether it asks for a token there. No server here."""

import ipaddress
import socket
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, UsageError
from streaming.settings import PREFIX, Settings

KEPT: Final = "dashboard.port"
SHORTEST_TOKEN: Final = 32


def page_url(settings: Settings) -> str:
    """Give where the page is; empty where it never was and no port is set."""
    host = settings.dashboard_host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - only compared
    port = remembered_port(settings.home) or settings.dashboard_port
    return f"http://{shown}:{port}" if port else ""


def remembered_port(home: Path) -> int:
    """Give the port of the last time, 0 where there is none."""
    try:
        return int((home / KEPT).read_text())
    except (OSError, ValueError):
        return 0


def listen(settings: Settings) -> socket.socket:
    """Bind the port that is set, or the one of the last time, or a free one; it is remembered.

    Raises `PurchasesError` where it is taken.
    """
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


def required_token(settings: Settings) -> str | None:
    """Give the token that is asked for; None on loopback where none was set.

    Raises `UsageError` where another address has no token, or one that is too short.
    """
    token = settings.dashboard_token
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"{PREFIX}DASHBOARD_TOKEN has {len(token)} characters; use at least {SHORTEST_TOKEN}."
        )
    if token is None and not is_loopback(settings.dashboard_host):
        raise UsageError(
            f"{PREFIX}DASHBOARD_HOST={settings.dashboard_host} shows the page to others: set"
            f" {PREFIX}DASHBOARD_TOKEN to at least {SHORTEST_TOKEN} characters, such as what"
            " `openssl rand -hex 32` gives."
        )
    return token


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
