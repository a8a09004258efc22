"""Who may come in, and what a browser may do with what it gets: a middleware around the page.

The token is asked for on any address but loopback; a foreign host name (DNS rebinding) is refused
everywhere, and so is an action that another site's page asks for.
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
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """The middleware; `host` is what the page listens on, `token` what is asked for."""

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self._app = app
        self._names = {"localhost", socket.gethostname().lower(), host.lower()}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not come in, and put the headers on what goes out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await (refused or self._app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return refusal(scope, 421, "This host name is not ours.")
        if scope["method"] not in {"GET", "HEAD"}:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return refusal(scope, 403, "Another site may not ask for this.")
        return self._without_token(scope, headers) if self._token else None

    def _is_ours(self, host: str) -> bool:
        """Say whether a Host header names us: by address (no DNS that lies), or by our name."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True

    def _without_token(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if given and self._is_token(given):
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return answer
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or (cookie is not None and self._is_token(cookie.value)):
            return None
        return refusal(
            scope,
            401,
            "A token is asked for here: open this address once with ?token=… behind it, or send"
            " `Authorization: Bearer …`.",
        )

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), (self._token or "").encode())


def refusal(scope: Scope, code: int, why: str) -> Response:
    """Refuse a program by a problem_response, and a person by a sentence."""
    to_program = str(scope["path"]).startswith(PREFIX)
    return problem_response(code, why) if to_program else PlainTextResponse(why, code)
