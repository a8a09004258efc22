"""Dagster's webserver behind the dashboard's access control, on loopback.

What Dagster shows and does is its own. Its own command `dagster-webserver` has no access control:
any page that a browser on this host has open could change runs and sensors.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from orchestration.instance import open_instance
from orchestration.local.services import HOST
from streaming.dashboard.access import Right, read_access
from streaming.dashboard.auth import AccessControl
from streaming.dashboard.connections import bounded_config, raise_file_limit
from streaming.settings import Settings

HEADERS: Final = {
    # Beside Dagster's own policy for scripts; both hold.
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
POLL_MILLISECONDS: Final = 2_000
"""As often as Dagster's own command lets its UI ask for news."""


class ControlledWebserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver; `access` is the middleware that each request passes first."""

    def __init__(self, context: WorkspaceProcessContext, access: Middleware) -> None:
        super().__init__(context, live_data_poll_rate=POLL_MILLISECONDS)
        self._access = access

    def build_middleware(self) -> list[Middleware]:
        """Return the access control, then what Dagster has."""
        return [self._access, *super().build_middleware()]

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answer a query that was sent with POST, and the page on which people write one.

        Dagster also executes a query in the address, which is all that an image can send. Old
        browsers, and all on plain HTTP beyond loopback, do not tell who loads an image.
        """
        if request.method == "GET" and "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("Send the query with POST.", 405, {"allow": "POST"})
        answer: Response = await super().graphql_http_endpoint(request)
        return answer


def build_webserver(settings: Settings, context: WorkspaceProcessContext) -> Starlette:
    """Return the application over Dagster's context. Raises `UsageError` for wrong settings."""
    access = read_access(settings)
    # A query is sent with POST as an action is, and nearly every page offers actions.
    control = Middleware(AccessControl, access=access, headers=HEADERS, least=Right.ACT)
    return ControlledWebserver(context, control).create_asgi_app()


def serve_webserver(settings: Settings, port: int) -> None:
    """Serve Dagster's UI at a port of loopback until SIGTERM."""
    configure_loggers(log_level="WARNING")
    # The directory is a part of each sensor's identity: with another one than the daemon's the UI
    # would show no tick.
    definitions = ModuleTarget("orchestration.definitions", None, os.fspath(Path.cwd()), None)
    # As Ctrl-C, so that the code servers end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), open_instance(settings) as instance:
        instance.optimize_for_webserver(
            DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
        )
        with WorkspaceProcessContext(instance, definitions, version=__version__) as context:
            app = build_webserver(settings, context)
            raise_file_limit()
            uvicorn.Server(bounded_config(app, host=HOST, port=port)).run()
