"""The routes of the stream's half: the page itself, its events, the JSON API, the metrics.

What is answered is made elsewhere; here requests become calls, and errors problems (RFC 9457).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from streaming.dead_letters.reading import LetterReader
from streaming.dead_letters.redrive import Request as RedriveRequest
from streaming.dead_letters.redrive import redrive
from streaming.dead_letters.repair import Repair, read_rules
from streaming.dead_letters.show import Listing, listed, shown
from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.page.address import required_token
from streaming.page.guard import Guard
from streaming.page.hub import Hub
from streaming.page.live import Sampler
from streaming.page.metrics import metrics_text
from streaming.report import read_report
from streaming.settings import Settings
from streaming.status.gather import gather
from streaming.store.connection import connect_current, store_errors
from streaming.store.figures import refusals, snapshot
from streaming.store.letters import (
    STATES,
    LetterFilter,
    count_by_reason,
    find_letter,
    find_letters,
)
from streaming.verify import verify

STATIC: Final = Path(__file__).parent / "static"
STATUS_TICKS: Final = 2
MOST: Final = 500
NOT_STORED: Final = ("open", "redriven", "parked", "dropped")

Handler = Callable[[Request], Awaitable[Response]]


class RedriveBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/dead-letters/redrive` takes; without `send` it is a dry run."""

    reason: str | None = None
    ids: list[str] = []
    set: list[str] = []
    force: bool = False
    send: bool = False


def stream_page(settings: Settings) -> Starlette:
    """Make the page over a home. Raises `UsageError` where it may not be shown at this address."""
    token = required_token(settings)
    sampler = Sampler(settings)
    hub = Hub(
        {
            "now": (lambda: msgspec.json.encode(sampler.look()), 1),
            "status": (lambda: msgspec.json.encode(gather(settings, {})), STATUS_TICKS),
        }
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:  # noqa: ANN401 - Starlette's type
        ticking = asyncio.create_task(hub.run())
        yield
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking

    async def events(_request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(hub.listen(), media_type="text/event-stream", headers=headers)

    async def page(_request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/metrics", _answering(settings, _metrics)),
            *_api(settings),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Guard, host=settings.dashboard_host, token=token),
            Middleware(GZipMiddleware, minimum_size=1_000),
        ],
        lifespan=lifespan,
    )


def _api(settings: Settings) -> list[Route]:
    def get(path: str, answer: Callable[[Settings, Request], Response]) -> Route:
        return Route(f"/api/v1/{path}", _answering(settings, answer))

    def post(path: str, answer: Callable[[Settings, bytes], Response]) -> Route:
        return Route(f"/api/v1/{path}", _acting(settings, answer), methods=["POST"])

    return [
        get("totals", _totals),
        get("status", lambda s, r: _json(gather(s, {}), r)),
        get("dead-letters", _letters),
        get("dead-letters/{id}", _letter),
        post("dead-letters/redrive", _redrive),
        post("verify", _verify),
    ]


def _answering(settings: Settings, answer: Callable[[Settings, Request], Response]) -> Handler:
    """Answer in a thread; what goes wrong is a problem, not a traceback."""

    async def handle(request: Request) -> Response:
        try:
            return await asyncio.to_thread(answer, settings, request)
        except PurchasesError as error:
            return _problem(error)

    return handle


def _acting(settings: Settings, act: Callable[[Settings, bytes], Response]) -> Handler:
    async def handle(request: Request) -> Response:
        body = await request.body()
        try:
            return await asyncio.to_thread(act, settings, body)
        except PurchasesError as error:
            return _problem(error)

    return handle


def _problem(error: PurchasesError) -> Response:
    code = 400 if isinstance(error, UsageError) else 503 if isinstance(error, Unavailable) else 500
    content = {"type": "about:blank", "title": type(error).__name__, "status": code}
    content["detail"] = str(error)
    return Response(msgspec.json.encode(content), code, media_type="application/problem+json")


def _json(content: object, request: Request | None = None) -> Response:
    """Answer JSON; one that is the same as the reader has, by its ETag, is not sent again."""
    body = msgspec.json.encode(content)
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if request is not None and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _totals(settings: Settings, request: Request) -> Response:
    path = settings.database_path
    with closing(connect_current(path, read_only=True)) as store, store_errors(path):
        report, _ = read_report(store, settings, distinct=True)
    return _json(report, request)


def _metrics(settings: Settings, _request: Request) -> Response:
    path = settings.database_path
    reasons: dict[str, int] = {}
    with suppress(PurchasesError):
        reasons = _reasons(path)
    body = metrics_text(gather(settings, {}), reasons)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def _reasons(path: Path) -> dict[str, int]:
    with closing(connect_current(path, read_only=True)) as store, store_errors(path):
        return {reason or "": number for reason, number in refusals(store).items()}


def _letters(settings: Settings, request: Request) -> Response:
    query, path = request.query_params, settings.database_path
    states = query.getlist("state") or list(NOT_STORED)
    for state in states:
        if state not in STATES:
            raise UsageError(f"state {state} must be one of {', '.join(STATES)}.")
    wanted = LetterFilter(tuple(states), reason=query.get("reason"), key=query.get("key"))
    offset = query.get("offset", "0")
    if not offset.isdecimal():
        raise UsageError(f"offset {offset} must be a whole number.")
    reading = closing(connect_current(path, read_only=True))
    with reading as store, store_errors(path), snapshot(store):
        counts = count_by_reason(store, wanted)
        page = []
        for number, letter in enumerate(find_letters(store, wanted, newest_first=True)):
            if number >= int(offset) + MOST:
                break
            if number >= int(offset):
                page.append(listed(letter))
    return _json(Listing(counts, page), request)


def _letter(settings: Settings, request: Request) -> Response:
    path = settings.database_path
    with closing(connect_current(path, read_only=True)) as store, store_errors(path):
        letter = find_letter(store, request.path_params["id"])
    cluster = preflight(settings, reads=[Names.of(settings).dead_letters])
    with LetterReader(settings, cluster.bootstrap_servers) as reader:
        return _json(shown(letter, reader.find(letter), reader.attempts(letter)), request)


def _redrive(settings: Settings, body: bytes) -> Response:
    try:
        asked = msgspec.json.decode(body, type=RedriveBody)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"The body is not what is asked for: {error}.") from None
    states = ("open", "parked") if asked.force else ("open",)
    ids = frozenset(asked.ids) if asked.ids else None
    wanted = LetterFilter(states, reason=asked.reason, ids=ids)
    request = RedriveRequest(wanted, Repair(read_rules(asked.set)), asked.force)
    return _json(redrive(settings, request, send=asked.send))


def _verify(settings: Settings, _body: bytes) -> Response:
    verdict = verify(settings, lambda _what, _done, _total: None)
    found = {"agrees": not verdict.differences, "differences": verdict.differences}
    return _json({**found, "examples": verdict.examples})
