"""The dashboard's application: its files, its events, the API with the documents, the metrics.

Here the parts are put together. What an endpoint answers is in `endpoints` and `ingest`; what the
batch half adds comes as an `Extension`, because the stream half does not import it.
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
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from streaming.api.endpoint import (
    Endpoint,
    bounded_handler,
    build_routes,
    handle_http_exception,
    handle_unexpected,
    json_response,
    too_many_requests,
)
from streaming.api.openapi import openapi_document
from streaming.dashboard.access import Access
from streaming.dashboard.auth import SECURITY_HEADERS, AccessControl
from streaming.dashboard.endpoints import stream_endpoints
from streaming.dashboard.ingest import PurchaseIngest
from streaming.dashboard.metrics import metrics_text
from streaming.dashboard.record_endpoints import record_endpoints
from streaming.dashboard.server_sent_events import (
    MAX_CLIENTS,
    Broadcaster,
    EventStreamResponse,
    Source,
)
from streaming.errors import PurchasesError
from streaming.kafka.asyncapi import asyncapi_document
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.status.collect import SectionOf, collect_status
from streaming.status.last_hour import SAMPLE_SECONDS, Samples, add_sample, new_samples
from streaming.store.connection import read_store
from streaming.store.live_totals import live_figures, refusals
from streaming.totals.sampler import Sampler

STATIC: Final = Path(__file__).parent / "static"
NOW_SECONDS: Final = 0.5
"""People see two changes a second as live; a sample takes a few milliseconds."""
STATUS_SECONDS: Final = 3.0
"""A status asks the broker for offsets and takes up to a second, so that it must be rarer."""
MIN_COMPRESSED_BYTES: Final = 1_000
"""A smaller answer fits one packet as it is."""
VIEWS: Final = ("now", "stream", "rejected", "sql")
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

SyncHandler = Callable[[Request, bytes], Response]


@dataclass(frozen=True)
class Extension:
    """What another package adds to the dashboard: endpoints, sections of the status, and views."""

    endpoints: Sequence[Endpoint] = ()
    sections: Mapping[str, SectionOf] = field(default_factory=dict)
    views: Sequence[str] = ()


def build_dashboard(
    settings: Settings, access: Access, extension: Extension
) -> tuple[Broadcaster, Starlette]:
    """Return the application over a home for those who have access, and what sends its events."""
    sampler, ingest, samples = Sampler(settings), PurchaseIngest(settings), new_samples()
    sections, names = extension.sections, Names.of(settings)
    endpoints = [
        *stream_endpoints(sampler.sample, sections),
        *record_endpoints(samples),
        *ingest.endpoints(),
        *extension.endpoints,
    ]
    broadcaster = Broadcaster(
        {
            "now": Source(lambda: msgspec.json.encode(sampler.sample()), NOW_SECONDS),
            "status": Source(
                lambda: msgspec.json.encode(collect_status(settings, sections)), STATUS_SECONDS
            ),
        }
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(broadcaster.run())]
        tasks.append(asyncio.create_task(_sample_last_hour(settings, samples)))
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        # At last, because it waits for what Kafka has not acknowledged yet.
        ingest.close()

    app = Starlette(
        routes=[
            Route("/", _index(settings, (*VIEWS, *extension.views), access)),
            Route("/events", _events(broadcaster)),
            Route("/metrics", bounded_handler(_metrics(settings, sections))),
            Route("/openapi.json", bounded_handler(_json(openapi_document(endpoints)))),
            Route("/asyncapi.json", bounded_handler(_json(asyncapi_document(names)))),
            *build_routes(settings, endpoints),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        # The first is the outermost: nobody is answered who may not ask. The second leaves event
        # streams alone, which it would hold back.
        middleware=[
            Middleware(AccessControl, access=access, headers=SECURITY_HEADERS),
            Middleware(GZipMiddleware, minimum_size=MIN_COMPRESSED_BYTES),
        ],
        exception_handlers={HTTPException: handle_http_exception, Exception: handle_unexpected},
        lifespan=lifespan,
    )
    return broadcaster, app


async def _sample_last_hour(settings: Settings, samples: Samples) -> None:
    """Sample also while nobody looks: a chart of the last hour needs the hour."""
    while True:
        await asyncio.to_thread(add_sample, settings, samples)
        await asyncio.sleep(SAMPLE_SECONDS)


def _index(
    settings: Settings, views: Sequence[str], access: Access
) -> Callable[[Request], Response]:
    html = (STATIC / "index.html").read_text().replace("{{views}}", " ".join(views))
    database = "sqlite" if isinstance(settings.database, Path) else "postgresql"
    html = html.replace("{{database}}", database)
    html = html.replace("{{hidden}}", "" if access.has_tokens else "hidden")

    def index(_request: Request) -> Response:
        return HTMLResponse(html, headers={"cache-control": "no-cache"})

    return index


def _events(broadcaster: Broadcaster) -> Callable[[Request], Awaitable[Response]]:
    async def events(_request: Request) -> Response:
        if broadcaster.is_full:
            return too_many_requests(f"{MAX_CLIENTS:,} tabs are open")
        return EventStreamResponse(broadcaster.subscribe())

    return events


def _json(content: object) -> SyncHandler:
    return lambda request, _body: json_response(content, request)


def _metrics(settings: Settings, sections: Mapping[str, SectionOf]) -> SyncHandler:
    def metrics(_request: Request, _body: bytes) -> Response:
        # Without a database there are still metrics of workers, broker and disk.
        live, by_reason = None, {}
        with suppress(PurchasesError), read_store(settings) as store:
            live, by_reason = live_figures(store), refusals(store)
        refused = {reason or "": count for reason, count in by_reason.items()}
        body = metrics_text(collect_status(settings, sections), live, refused)
        return Response(body, media_type=METRICS_TYPE)

    return metrics
