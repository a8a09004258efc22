"""Who may use the dashboard, and what a browser may do with an answer: a middleware.

Every address but loopback needs a token. A foreign host name (DNS rebinding) is refused everywhere,
and so is an action that another site requests. Headers come from strangers, so they are read by
rules of our own: the standard library's parsers raise at some, and ignore all cookies beside an odd
one.
"""

import hmac
import ipaddress
import re
import socket
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::[0-9]*)?").fullmatch
"""An IPv6 address in brackets, or a name or an IPv4 address, with or without a port."""


class AccessControl:
    """The middleware; `host` is what the server listens on, `token` what a visitor needs."""

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self._app = app
        self._host_names = {"localhost", socket.gethostname().lower(), host.lower()}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on, and add the security headers to its answer."""
        # The server's own events, its start and end, have no headers.
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            # A proxy may split the cookies over several headers.
            headers[name] = f"{headers[name]};{value}" if name in headers else value
        refusal = self._check(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [
                    (name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
                ]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return refusal_response(scope, 421, f"The host name {host!r} is not this server's.")
        if scope["method"] not in SAFE_METHODS:
            # Browsers send Origin with every such request; programs need not.
            origin = headers.get("origin")
            if origin is not None and origin.partition("://")[2] != host:
                return refusal_response(scope, 403, f"The site {origin} may not do this.")
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
