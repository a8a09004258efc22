"""The page put together: its files, its events, the API with its document, the metrics.

What others add (endpoints, sections of the status, views) is given by who puts both halves
together; what an endpoint answers is in `stream_api` and `door`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from streaming.api.endpoint import (
    Endpoint,
    bounded_handler,
    build_routes,
    handle_http_exception,
    handle_unexpected,
    json_response,
)
from streaming.api.openapi import openapi_document
from streaming.dashboard.address import required_token
from streaming.dashboard.auth import Guard
from streaming.dashboard.endpoints import stream_endpoints
from streaming.dashboard.ingest import Door
from streaming.dashboard.metrics import metrics_text
from streaming.dashboard.server_sent_events import Hub
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.status.collect import SectionOf, collect_status
from streaming.store.connection import read_store
from streaming.store.live_totals import live_figures, refusals
from streaming.totals.sampler import Sampler

STATIC: Final = Path(__file__).parent / "static"
NOW_SECONDS: Final = 0.5
STATUS_SECONDS: Final = 3.0
VIEWS: Final = ("now", "stream", "refused")


@dataclass(frozen=True)
class Parts:
    """What other packages bring to the page: endpoints, sections of the status, and views."""

    endpoints: Sequence[Endpoint] = ()
    sections: Mapping[str, SectionOf] = field(default_factory=dict)
    views: Sequence[str] = ()


def page_app(settings: Settings, parts: Parts) -> Starlette:
    """Make the page over a home. Raises `UsageError` where it may not be shown at this address."""
    token = required_token(settings)
    sampler, door = Sampler(settings), Door(settings)
    endpoints = [
        *stream_endpoints(sampler.look, parts.sections),
        door.endpoint(),
        *parts.endpoints,
    ]
    hub = Hub(
        {
            "now": (lambda: msgspec.json.encode(sampler.look()), NOW_SECONDS),
            "status": (
                lambda: msgspec.json.encode(collect_status(settings, parts.sections)),
                STATUS_SECONDS,
            ),
        }
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(hub.run())
        yield
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        door.close()

    return Starlette(
        routes=[
            Route("/", _page((*VIEWS, *parts.views))),
            Route("/events", _events(hub)),
            Route("/metrics", bounded_handler(_metrics(settings, parts.sections))),
            Route("/openapi.json", bounded_handler(_document(openapi_document(endpoints)))),
            *build_routes(settings, endpoints),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Guard, host=settings.dashboard_host, token=token),
            Middleware(GZipMiddleware, minimum_size=1_000),
        ],
        exception_handlers={HTTPException: handle_http_exception, Exception: handle_unexpected},
        lifespan=lifespan,
    )


def _page(views: Sequence[str]) -> Callable[[Request], Response]:
    html = (STATIC / "index.html").read_text().replace("{{views}}", " ".join(views))

    def page(_request: Request) -> Response:
        return HTMLResponse(html, headers={"cache-control": "no-cache"})

    return page


def _events(hub: Hub) -> Callable[[Request], Awaitable[Response]]:
    async def events(_request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(hub.listen(), media_type="text/event-stream", headers=headers)

    return events


def _document(content: object) -> Callable[[Request, bytes], Response]:
    return lambda request, _body: json_response(content, request)


def _metrics(
    settings: Settings, sections: Mapping[str, SectionOf]
) -> Callable[[Request, bytes], Response]:
    def metrics(_request: Request, _body: bytes) -> Response:
        live, reasons = None, {}
        with suppress(PurchasesError), read_store(settings) as store:
            live, reasons = live_figures(store), refusals(store)
        named = {reason or "": number for reason, number in reasons.items()}
        body = metrics_text(collect_status(settings, sections), live, named)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return metrics
