"""Who may use the dashboard and Dagster's UI, from the settings: names, tokens, rights, encryption.

What a request is answered is in `auth`, what a session is in `sessions`.
"""

import hmac
import os
import secrets
import socket
import ssl
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from streaming.dashboard.address import dashboard_port, host_names
from streaming.dashboard.sessions import Sessions
from streaming.errors import UsageError
from streaming.settings import PREFIX, Settings
from streaming.system.files import replace_file
from streaming.system.home import Home
from streaming.system.loopback import is_loopback
from streaming.system.peer_user import tells_users
from streaming.system.privacy import keep_private

MIN_TOKEN_CHARACTERS: Final = 32
"""128 bits in hexadecimal: too many to try."""


class Right(IntEnum):
    """What somebody may do; each includes those before it."""

    NOTHING = 0
    READ = 1
    ACT = 2


@dataclass(frozen=True)
class Access:
    """Under which names the servers are known, and which token gives which right there.

    Without `action_token` whoever may read may act. Without `token` the `users` of this machine may
    read. `token_origin` is the setting that `token` is of, or the file that has it. `secure` says
    that browsers reach the dashboard over TLS.
    """

    host_names: frozenset[str]
    token: str | None
    token_origin: str
    action_token: str | None
    secure: bool
    sessions: Sessions
    users: frozenset[int]

    def right_of_user(self, user: int | None) -> Right:
        """Return what a user of this machine may do without a token; None is anybody else."""
        return self.of_token if self.token is None and user in self.users else Right.NOTHING

    @property
    def has_tokens(self) -> bool:
        """Whether anybody needs to sign in."""
        return self.token is not None or self.action_token is not None

    @property
    def of_token(self) -> Right:
        """What the first token gives."""
        return Right.ACT if self.action_token is None else Right.READ

    def right_of(self, text: str) -> Right:
        """Return what a token gives; `NOTHING` if it is none."""
        if _equal(text, self.action_token):
            return Right.ACT
        return self.of_token if _equal(text, self.token) else Right.NOTHING


def read_access(settings: Settings) -> Access:
    """Return who may use the servers.

    Where no token is set and the system does not tell whose a connection is, one is kept in the
    home.

    Raises `UsageError` if a token is missing or unsuitable, if another address than loopback is not
    encrypted, or if the certificate cannot be read.
    """
    token, action_token = settings.dashboard_token, settings.dashboard_action_token
    token_origin = f"{PREFIX}DASHBOARD_TOKEN"
    _require_suitable("DASHBOARD_TOKEN", token)
    _require_suitable("DASHBOARD_ACTION_TOKEN", action_token)
    if token is not None and token == action_token:
        raise UsageError(
            f"{PREFIX}DASHBOARD_ACTION_TOKEN and {PREFIX}DASHBOARD_TOKEN are the same, so whoever"
            " reads could act. Set another action token, or none."
        )
    _require_closed(settings)
    read_certificate(settings)
    if token is None and not tells_users():
        # Only the owner can read the home's files, so whoever shows this token is that user.
        path = Home(settings.home).dashboard_token
        token, token_origin = _kept_token(path), f"the file {path.name} in the home"
    own = {"localhost", socket.gethostname().lower(), settings.dashboard_host.lower()}
    return Access(
        host_names=frozenset({*own, *host_names(settings)}),
        token=token,
        token_origin=token_origin,
        action_token=action_token,
        secure=settings.dashboard_certificate is not None or settings.dashboard_behind_proxy,
        sessions=Sessions(
            # A session ends when one of the tokens changes. Without any nobody signs in, and nobody
            # may know the key.
            key=f"{token}\n{action_token}" if token or action_token else secrets.token_hex(),
            # Browsers keep cookies by host, not by port: two dashboards of a host need two names.
            cookie=f"purchases_session_{dashboard_port(settings)}",
            ended=Home(settings.home).ended_sessions,
        ),
        # An administrator reads the whole home as it is.
        users=frozenset({os.geteuid(), 0}),
    )


def sign_in_hint(settings: Settings, access: Access) -> str | None:
    """Return where the token is that is kept in the home; None if no such token is needed."""
    if access.token is None or settings.dashboard_token is not None:
        return None
    return f"Sign in with the token in {Home(settings.home).dashboard_token}."


def _kept_token(path: Path) -> str:
    """Return the token of a file in the home; both are made if they are missing."""
    if not path.exists():
        keep_private(path.parent)
        with replace_file(path) as file:
            file.write(secrets.token_hex().encode())
    return path.read_text().strip()


def _require_suitable(name: str, token: str | None) -> None:
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise UsageError(
            f"{PREFIX}{name} has {len(token)} characters; use at least {MIN_TOKEN_CHARACTERS}."
        )


def _require_closed(settings: Settings) -> None:
    """Raise `UsageError` if others could use the dashboard without a token, or read along."""
    host, behind_proxy = settings.dashboard_host, settings.dashboard_behind_proxy
    opening = (
        f"{PREFIX}DASHBOARD_BEHIND_PROXY=on" if behind_proxy else f"{PREFIX}DASHBOARD_HOST={host}"
    )
    if is_loopback(host) and not behind_proxy:
        return
    if settings.dashboard_token is None:
        raise UsageError(
            f"{opening} opens the dashboard to others: set"
            f" {PREFIX}DASHBOARD_TOKEN to at least {MIN_TOKEN_CHARACTERS} characters, for example"
            " the output of `openssl rand -hex 32`."
        )
    if settings.dashboard_certificate is None and not behind_proxy:
        raise UsageError(
            f"{opening} would send the token in plain text: set"
            f" {PREFIX}DASHBOARD_CERTIFICATE to a certificate, or {PREFIX}DASHBOARD_BEHIND_PROXY=on"
            " if a proxy before it speaks TLS."
        )


def read_certificate(settings: Settings) -> ssl.SSLContext | None:
    """Return what the dashboard speaks TLS with, None without a certificate.

    Raises `UsageError` if it cannot be used.
    """
    if settings.dashboard_certificate is None:
        return None
    files = (settings.dashboard_certificate, settings.dashboard_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(*map(str, filter(None, files)))
    except OSError as error:
        raise UsageError(
            f"{PREFIX}DASHBOARD_CERTIFICATE={files[0]} cannot be used: {error.strerror or error}."
            f" It is a PEM file with the certificate and its chain; the key is in it, or in"
            f" {PREFIX}DASHBOARD_KEY."
        ) from None
    return context


def _equal(text: str, token: str | None) -> bool:
    # A plain comparison would tell by its time how much of a guess is right.
    return token is not None and hmac.compare_digest(text.encode(), token.encode())
