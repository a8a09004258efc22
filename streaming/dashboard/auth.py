"""Who may use the dashboard, and what a browser may do with an answer: a middleware.

Every address but loopback needs a token. A foreign host name (DNS rebinding) is refused everywhere,
and so is an action that another site requests.
"""

import hmac
import ipaddress
import socket
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

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


class AccessControl:
    """The middleware; `host` is what the server listens on, `token` what a visitor needs."""

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self._app = app
        self._host_names = {"localhost", socket.gethostname().lower(), host.lower()}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on, and add the security headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
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
            if origin is not None and urlsplit(origin).netloc != host:
                return refusal_response(scope, 403, f"The site {origin} may not do this.")
        return self._check_token(scope, headers) if self._token else None

    def _is_own_host(self, host: str) -> bool:
        """Return whether a Host header names this server.

        Any IP address does: only a name can be made to point here by another's DNS.
        """
        name = (urlsplit(f"//{host}").hostname or "").lower()
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
            response.set_cookie(COOKIE, in_query, httponly=True, samesite="strict", path="/")
            return response
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or (cookie is not None and self._is_token(cookie.value)):
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


def refusal_response(scope: Scope, status: int, detail: str) -> Response:
    """Return problem details to a program, and plain text to a person."""
    is_program = str(scope["path"]).startswith(PREFIX)
    if is_program:
        return problem_response(status, detail)
    return PlainTextResponse(detail, status)
