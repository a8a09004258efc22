"""Signing in and out: the form, the session's cookie, and the log of refused tokens.

Which token gives which right is in `access`.
"""

from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from streaming.api.endpoint import read_body
from streaming.dashboard.access import Access
from streaming.dashboard.sessions import SESSION_SECONDS
from streaming.system.logs import RateLimitedLogger

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
MAX_FORM_BYTES: Final = 16 * 1024
"""A token and an address are far shorter."""
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><main><h1>Sign in</h1><form method="post" action="{login}">
<input type="hidden" name="path" value="{path}">
<p><label>Token <input type="password" name="token" required autofocus
 autocomplete="current-password"></label> <button>Sign in</button></p>
<p role="status">{notice}</p></form></main></body></html>
"""


class Login:
    """Signs browsers in and out by the rules of `access`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._log = RateLimitedLogger()
        self._refused = 0

    async def submit(self, scope: Scope, receive: Receive) -> Response:
        """Answer the form: with a session for a right token, else with the form again."""
        try:
            body = await read_body(Request(scope, receive), MAX_FORM_BYTES)
        except HTTPException as error:
            return PlainTextResponse(error.detail, error.status_code)
        fields = parse_qs(body.decode("utf-8", "replace"))
        token, path = (fields.get(name, [""])[0] for name in ("token", "path"))
        if not self._access.right_of(token):
            self.log_refusal(scope)
            return login_page(scope, 401, path, "This token is not known here.")
        return self.start(token, path)

    def start(self, token: str, path: str) -> Response:
        """Return the redirect to a path of this server that brings a session to the browser.

        From a token in an address it also takes the token out of the browser's history.
        """
        # With two slashes, or one that leans back, a path is another host's address.
        response = RedirectResponse("/" + path.lstrip("/\\"), 303)
        session = self._access.sessions.start(self._access.right_of(token))
        response.set_cookie(
            self._access.sessions.cookie,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            # No request that the page of another site causes carries it.
            samesite="strict",
            secure=self._access.secure,
        )
        return response

    def end(self, sessions: Sequence[str]) -> Response:
        """End the sessions that a browser has, and let it forget them."""
        for session in sessions:
            self._access.sessions.end(session)
        response = RedirectResponse("/", 303)
        response.delete_cookie(
            self._access.sessions.cookie,
            httponly=True,
            samesite="strict",
            secure=self._access.secure,
        )
        return response

    def log_refusal(self, scope: Scope) -> None:
        """Log that somebody came with a wrong token; at most one line a second, with their number.

        A line for each would let strangers fill the disk.
        """
        if not self._access.has_tokens:
            return
        self._refused += 1
        client = scope.get("client") or ("", 0)
        self._log.warning("login_refused", client=client[0], refused=self._refused)


def login_page(scope: Scope, status: int, path: str | None = None, notice: str = "") -> Response:
    """Return the form, which leads back to where the browser wanted to go."""
    if path is None:
        query = scope["query_string"].decode("latin-1")
        path = "/" if scope["path"] == LOGIN else scope["path"] + (f"?{query}" if query else "")
    page = PAGE.format(login=LOGIN, path=escape(path), notice=escape(notice))
    return HTMLResponse(page, status, {"cache-control": "no-store"})
