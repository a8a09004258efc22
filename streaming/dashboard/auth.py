"""Who may use a server of ours, and what a browser may do with an answer: a middleware.

It stands before the dashboard and before Dagster's webserver. Every address but loopback needs a
token. A foreign host name (DNS rebinding) is refused everywhere, and so is what the page of another
origin requests: an action, a WebSocket, a part of that page. A link from there opens. Headers come
from strangers, so they are read by rules of our own: the standard library's parsers raise at some,
and ignore all cookies beside an odd one.
"""

import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from streaming.api.endpoint import PREFIX, problem_response

COOKIE: Final = "purchases_token"
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: a page of the server itself, and what a person typed or bookmarked."""
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::[0-9]*)?").fullmatch
"""An IPv6 address in brackets, or a name or an IPv4 address, with or without a port."""


class AccessControl:
    """The middleware.

    `host` is what the server listens on, `token` what a visitor needs; `headers` are added to each
    answer.
    """

    def __init__(
        self, app: ASGIApp, host: str, token: str | None, headers: Mapping[str, str]
    ) -> None:
        self._app = app
        self._host_names = {"localhost", socket.gethostname().lower(), host.lower()}
        self._token = token
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on, and add the headers to its answer."""
        # The server's own events, its start and end, have no headers.
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            # A proxy may split the cookies over several headers.
            headers[name] = f"{headers[name]};{value}" if name in headers else value
        refusal = self._check(scope, headers)
        if refusal and scope["type"] == "websocket":
            # Closed before it is accepted, a WebSocket is answered with 403.
            await WebSocketClose()(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return refusal_response(scope, 421, f"The host name {host!r} is not this server's.")
        # Browsers send Origin with every WebSocket and every action; programs need not.
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        origin = headers.get("origin")
        if not is_safe and origin is not None and origin.partition("://")[2] != host:
            return refusal_response(scope, 403, f"The site {origin} may not do this.")
        if is_safe and _is_foreign_part(headers):
            return refusal_response(scope, 403, "A page of another site may not load this.")
        return self._check_token(scope, headers) if self._token else None

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
            return name in self._host_names
        return True

    def _check_token(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        in_query = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if in_query and self._is_token(in_query):
            # The redirect takes the token out of the address, and so out of the browser's history.
            response = RedirectResponse(scope["path"], 303)
            # A token may hold characters that end a cookie's value.
            cookie = quote(in_query, safe="")
            response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")
            return response
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        candidates = [bearer, *cookie_values(headers.get("cookie", ""), COOKIE)]
        if any(self._is_token(candidate) for candidate in candidates):
            return None
        return refusal_response(
            scope,
            401,
            "This address needs a token: open it once with ?token=… at its end, or send the header"
            " `Authorization: Bearer …`.",
        )

    def _is_token(self, text: str) -> bool:
        # A plain comparison would tell by its time how much of a guess is right.
        return hmac.compare_digest(text.encode(), (self._token or "").encode())


def _is_foreign_part(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another origin loads this as a part, such as an image or a frame.

    Browsers say so to loopback and over TLS. A link is none: it opens as a page of its own.
    """
    if headers.get("sec-fetch-site", "none") in OWN_SITES:
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != (
        "navigate",
        "document",
    )


def cookie_values(header: str, name: str) -> list[str]:
    """Return every value of one cookie, percent-decoded, whatever other cookies are beside it."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [unquote(value) for found, _, value in pairs if found == name]


def refusal_response(scope: Scope, status: int, detail: str) -> Response:
    """Return problem details to a program, and plain text to a person."""
    is_program = str(scope["path"]).startswith(PREFIX)
    if is_program:
        return problem_response(status, detail)
    return PlainTextResponse(detail, status)
