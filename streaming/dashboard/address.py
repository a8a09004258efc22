"""Where the dashboard is, and whether it needs a token there. No server is started here."""

import ipaddress
import socket
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, UsageError
from streaming.settings import PREFIX, Settings
from streaming.system.home import Home

MIN_TOKEN_CHARACTERS: Final = 32
"""128 bits in hexadecimal: too many to try."""


def dashboard_url(settings: Settings) -> str:
    """Return where the dashboard is; empty if it never ran here and no port is set."""
    host = settings.dashboard_host
    name = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - only compared
    if ":" in name:
        name = f"[{name}]"  # An IPv6 address in a URL stands in brackets.
    port = saved_port(settings.home) or settings.dashboard_port
    return f"http://{name}:{port}" if port else ""


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
        settings.home.mkdir(parents=True, exist_ok=True)
        Home(settings.home).dashboard_port.write_text(f"{bound.getsockname()[1]}\n")
        return bound
    raise PurchasesError(
        f"The dashboard cannot listen on {settings.dashboard_host}:{preferred}:"
        f" {failure.strerror}. Set another {PREFIX}DASHBOARD_PORT."
    )


def required_token(settings: Settings) -> str | None:
    """Return the token that a visitor needs; None on loopback if none is set.

    Raises `UsageError` if another address has no token, or one that is too short.
    """
    token = settings.dashboard_token
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise UsageError(
            f"{PREFIX}DASHBOARD_TOKEN has {len(token)} characters; use at least"
            f" {MIN_TOKEN_CHARACTERS}."
        )
    if token is None and not is_loopback(settings.dashboard_host):
        raise UsageError(
            f"{PREFIX}DASHBOARD_HOST={settings.dashboard_host} opens the dashboard to others: set"
            f" {PREFIX}DASHBOARD_TOKEN to at least {MIN_TOKEN_CHARACTERS} characters, for example"
            " the output of `openssl rand -hex 32`."
        )
    return token


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
