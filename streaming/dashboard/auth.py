"""What a request may do, and what a browser may do with its answer: a middleware.

It stands before the dashboard and before Dagster's webserver. A foreign host name (DNS rebinding)
is refused everywhere, and so is what the page of another origin requests: an action, a WebSocket, a
part of that page. A link from there opens. Who has which right is in `access`; how a person signs
in is in `login`. Headers come from strangers, so they are read by rules of our own: the standard
library's parsers raise at some, and ignore all cookies beside an odd one.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, unquote

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from streaming.api.endpoint import PREFIX, problem_response
from streaming.dashboard.access import Access, Right
from streaming.dashboard.connections import PEER_USER
from streaming.dashboard.login import LOGIN, LOGOUT, Login, login_page
from streaming.settings import PREFIX as SETTING

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # With `no-referrer` a browser gives the forms that sign in and out the origin `null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: a page of the server itself, and what a person typed or bookmarked."""
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::[0-9]*)?").fullmatch
"""An IPv6 address in brackets, or a name or an IPv4 address, with or without a port."""


class AccessControl:
    """The middleware: `headers` are added to each answer, `least` is what any request needs."""

    def __init__(
        self, app: ASGIApp, access: Access, headers: Mapping[str, str], least: Right = Right.READ
    ) -> None:
        self._app = app
        self._access = access
        self._least = least
        self._login = Login(access)
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on, and add the headers to its answer."""
        # The server's own events, its start and end, have no headers.
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            # Each byte is a character of it, so that no header of a stranger raises.
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            # A proxy may split the cookies over several headers.
            headers[name] = f"{headers[name]};{value}" if name in headers else value
        # Before the right: a request of a foreign page may come with the browser's session.
        answer = self._check_origin(scope, headers)
        if answer is None:
            answer = await self._check_right(scope, headers, receive)
        if answer and scope["type"] == "websocket":
            # Closed before it is accepted, a WebSocket is answered with 403.
            await WebSocketClose()(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        await (answer or self._app)(scope, receive, send_with_headers)

    def _check_origin(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return refusal_response(
                scope,
                421,
                f"The host name {host!r} is not this server's; {SETTING}DASHBOARD_NAMES has"
                " further ones.",
            )
        # Browsers send Origin with every WebSocket and every action; programs need not.
        origin = headers.get("origin")
        if not is_safe(scope) and origin is not None and origin.partition("://")[2] != host:
            return refusal_response(scope, 403, f"The site {origin} may not do this.")
        if is_safe(scope) and _is_foreign_part(headers):
            return refusal_response(scope, 403, "A page of another site may not load this.")
        return None

    def _is_own_host(self, host: str) -> bool:
        """Return whether a Host header names this server.

        Any IP address does: only a name can be made to point here by another's DNS.
        """
        match = _HOST(host)
        if match is None:
            return False
        name = (match[1] or match[2] or "").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._access.host_names
        return True

    async def _check_right(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> Response | None:
        """Return the answer to who signs in or out, or may not do this; None to all others."""
        sessions = cookie_values(headers.get("cookie", ""), self._access.sessions.cookie)
        if scope["type"] == "http":
            if (scope["path"], scope["method"]) == (LOGIN, "POST"):
                return await self._login.submit(scope, receive)
            if (scope["path"], scope["method"]) == (LOGOUT, "POST"):
                return self._login.end(sessions)
            if scope["path"] == LOGIN:
                return login_page(scope, 200)
            in_query = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if in_query and self._access.right_of(in_query):
                return self._login.start(in_query, scope["path"])
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        # A browser may have an old session beside a new one, and a program a token beside both.
        right = max(
            self._access.right_of_user(scope.get("state", {}).get(PEER_USER)),
            self._access.right_of(bearer),
            *map(self._access.sessions.read, sessions),
        )
        needed = self._least if is_safe(scope) else Right.ACT
        if right >= needed:
            return None
        if bearer:
            self._login.log_refusal(scope)
        return self._missing_right(scope, headers, right, needed)

    def _missing_right(
        self, scope: Scope, headers: Mapping[str, str], right: int, needed: int
    ) -> Response:
        if not self._access.has_tokens:
            return refusal_response(
                scope,
                403,
                "Without a token only the user of this machine who runs this server may use it, and"
                f" this request is of another. Set {SETTING}DASHBOARD_TOKEN to let others in.",
            )
        needs_action_token = self._access.token is None or (
            needed == Right.ACT and self._access.action_token is not None
        )
        action_token = f"{SETTING}DASHBOARD_ACTION_TOKEN"
        origin = action_token if needs_action_token else self._access.token_origin
        detail = f"This needs the token of {origin}: sign in at {LOGIN}"
        status = 403 if right else 401
        if is_safe(scope) and "text/html" in headers.get("accept", ""):
            return login_page(scope, status, notice=f"{detail}.")
        return refusal_response(
            scope, status, f"{detail}, or send the header `Authorization: Bearer …`."
        )


def is_safe(scope: Scope) -> bool:
    """Return whether a request only reads."""
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS


def _is_foreign_part(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another origin loads this as a part, such as an image or a frame.

    Browsers say so to loopback and over TLS. A link is none: it opens as a page of its own.
    """
    if headers.get("sec-fetch-site", "none") in OWN_SITES:
        return False
    opened = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return opened != ("navigate", "document")


def cookie_values(header: str, name: str) -> list[str]:
    """Return every value of one cookie, percent-decoded, whatever other cookies are beside it."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [unquote(value) for key, _, value in pairs if key == name]


def refusal_response(scope: Scope, status: int, detail: str) -> Response:
    """Return problem details to a program, and plain text to a person."""
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    if str(scope["path"]).startswith(PREFIX):
        return problem_response(status, detail, headers)
    return PlainTextResponse(detail, status, headers)
