"""Endpoints of the JSON API, each declared once; their routes are built here.

A handler takes the settings and a typed record of parameters, and returns a record. Requests,
ETags, problem details (RFC 9457) and limits are dealt with here. Figures, authentication and the
dashboard are not.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import IO, Any, Final

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from streaming.api.parameters import parse_body, parse_parameters
from streaming.errors import NotFound, PurchasesError, TooLarge, Unavailable, UsageError
from streaming.settings import Settings
from streaming.system.logs import get_logger

PREFIX: Final = "/api/v1/"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
RETRY_SECONDS: Final = "1"
MAX_CONCURRENT: Final = 16
"""Requests of one endpoint at a time. Starlette's thread pool has 40 threads for all of them."""
MAX_BODY_BYTES: Final = 64 * 1024
"""A list of 500 dead letters to redrive has 40 KB."""
CHUNK_BYTES: Final = 64 * 1024
"""A client that takes less in ten seconds is gone."""
BODIES: Final = 4
"""Bodies of the largest size that an endpoint holds at a time; of usual ones far more."""
STATUS_OF_ERROR: Final[tuple[tuple[type[PurchasesError], int], ...]] = (
    # In this order: the first two are usage errors too.
    (NotFound, 404),
    (TooLarge, 413),
    (UsageError, 400),
    (Unavailable, 503),
)

AsyncHandler = Callable[[Request], Awaitable[Response]]


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of an endpoint that takes none."""


@dataclass(frozen=True)
class Endpoint:
    """One address of the API, below `/api/v1/`.

    `parameters` is the record of path and query, or for POST of the body; `parse` makes one from a
    request that needs more than that, whose body is of one of `body_types`. `handle` returns a
    `result`, or a response of its own of one of `media_types`. A request over `max_concurrent` is
    answered with 429, and a body over `max_body_bytes` with 413.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[Settings, Any], object]
    result: Any
    parameters: Any = NoParameters
    parse: Callable[[Request, bytes], object] | None = None
    media_types: tuple[str, ...] = (JSON,)
    body_types: tuple[str, ...] = (JSON,)
    max_concurrent: int = MAX_CONCURRENT
    max_body_bytes: int = MAX_BODY_BYTES


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def build_routes(settings: Settings, endpoints: Sequence[Endpoint]) -> list[Route]:
    """Return the routes of endpoints."""
    return [
        Route(PREFIX + endpoint.path, _build_handler(settings, endpoint), methods=[endpoint.method])
        for endpoint in endpoints
    ]


def bounded_handler(
    respond: Callable[[Request, bytes], Response],
    max_concurrent: int = MAX_CONCURRENT,
    max_body_bytes: int = 0,
) -> AsyncHandler:
    """Return a handler that runs `respond` in a thread, with limits.

    A `PurchasesError` becomes problem details, not a traceback.
    """
    semaphore, held = BoundedSemaphore(max_concurrent), HeldBytes(BODIES * max_body_bytes)

    async def answer(request: Request, body: bytes) -> Response:
        # Refused at once: who waited would hold one of the threads that all endpoints share.
        if not semaphore.acquire(blocking=False):
            return too_many_requests(f"{max_concurrent} such requests are being answered")
        try:
            response = await run_in_threadpool(respond, request, body)
        except PurchasesError as error:
            response = problem_response(status_of(error), str(error))
        except BaseException:
            semaphore.release()
            raise
        if isinstance(response, StreamingResponse):
            return _Sent(response, semaphore)
        semaphore.release()
        return response

    async def handle(request: Request) -> Response:
        # The body is read before the limit applies, so that a slow sender keeps nobody waiting.
        with held.share() as share:
            body = await read_body(request, max_body_bytes, share)
            return await answer(request, body)

    return handle


class _Sent(Response):
    """A stream that gives its slot back when it was sent, or when its client has gone.

    Otherwise exports that nobody reads would keep any number of files open.
    """

    def __init__(self, response: Response, slot: BoundedSemaphore) -> None:
        super().__init__()
        self._response = response
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            self._slot.release()


class FileStream(StreamingResponse):
    """An open file, which is closed when it was sent, or when its client has gone."""

    def __init__(self, file: IO[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(_read_chunks(file), media_type=media_type, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


class HeldBytes:
    """How many bytes of bodies an endpoint holds at the moment, `most` at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield what counts further bytes of one body; they are given back at the end.

        It raises `HTTPException`, 429, if the endpoint would hold too many.
        """
        own = 0

        def add(count: int) -> None:
            nonlocal own
            if self._held + count > self._most:
                raise HTTPException(
                    429,
                    f"Such requests hold {self._held:,} bytes; try again in {RETRY_SECONDS} s.",
                    {"retry-after": RETRY_SECONDS},
                )
            own += count
            self._held += count

        try:
            yield add
        finally:
            self._held -= own


def status_of(error: PurchasesError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUS_OF_ERROR if isinstance(error, kind)), 500)


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a response with problem details."""
    content = ProblemDetails(HTTPStatus(status).phrase, status, detail)
    return Response(msgspec.json.encode(content), status, headers, PROBLEM)


def too_many_requests(reason: str) -> Response:
    """Return a 429 with the seconds to wait."""
    detail = f"{reason}; try again in {RETRY_SECONDS} s."
    return problem_response(429, detail, {"retry-after": RETRY_SECONDS})


async def handle_http_exception(_request: Request, error: Exception) -> Response:
    """Return problem details for what Starlette itself refuses, such as an unknown path."""
    if not isinstance(error, HTTPException):
        raise error
    return problem_response(error.status_code, error.detail, dict(error.headers or {}))


async def handle_unexpected(_request: Request, error: Exception) -> Response:
    """Return problem details for a bug; Starlette raises it again, and the server logs it."""
    detail = f"This is a bug, {type(error).__name__}; the traceback is in the server's log."
    return problem_response(500, detail)


async def read_body(
    request: Request, max_bytes: int, count: Callable[[int], None] = lambda _bytes: None
) -> bytes:
    """Return the body of a request, whose bytes are counted as they come.

    Raises `HTTPException`: 413 if it is over `max_bytes`, 415 if it is compressed, 400 if the
    client has gone.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        # Unpacked, a small body may be a thousand times larger than what `max_bytes` allows.
        raise HTTPException(
            415,
            f"The body has the Content-Encoding {encoding!r}; send it uncompressed, without that"
            " header.",
            {"accept-encoding": "identity"},
        )
    body = bytearray()
    try:
        async for chunk in request.stream():
            # Counted while it comes, because Content-Length may be missing, or wrong.
            count(len(chunk))
            body += chunk
            if len(body) > max_bytes:
                raise HTTPException(
                    413, f"The body is over {max_bytes:,} bytes; send less at once."
                )
    except ClientDisconnect:
        # Nobody reads the answer, but a traceback in the log would be a stranger's.
        raise HTTPException(400, "The client has gone.") from None
    return bytes(body)


def json_response(content: object, request: Request) -> Response:
    """Return content as JSON, or a 304 if the client has it already by its ETag."""
    body = msgspec.json.encode(content)
    # By the content, so it holds after a restart too, and nothing has to track changes.
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    cached = request.headers.get("if-none-match", "")
    # A proxy that compresses marks the ETag as weak; for a 304 the weak form is as good.
    if etag in {part.strip().removeprefix("W/") for part in cached.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)


def _build_handler(settings: Settings, endpoint: Endpoint) -> AsyncHandler:
    def parse(request: Request, body: bytes) -> object:
        if endpoint.parse is not None:
            return endpoint.parse(request, body)
        if endpoint.method == "GET":
            return parse_parameters(endpoint.parameters, request)
        return parse_body(endpoint.parameters, body)

    def respond(request: Request, body: bytes) -> Response:
        parameters = parse(request, body)
        if endpoint.method == "GET":
            result = endpoint.handle(settings, parameters)
        else:
            result = _handle_action(settings, endpoint, parameters, request)
        return result if isinstance(result, Response) else json_response(result, request)

    return bounded_handler(respond, endpoint.max_concurrent, endpoint.max_body_bytes)


def _handle_action(
    settings: Settings, endpoint: Endpoint, parameters: object, request: Request
) -> object:
    """Handle an action, and log by whom it was requested and how it was answered."""
    status = 500
    try:
        result = endpoint.handle(settings, parameters)
        status = result.status_code if isinstance(result, Response) else 200
    except PurchasesError as error:
        status = status_of(error)
        raise
    finally:
        client = request.client.host if request.client else ""
        get_logger().info("action", action=endpoint.path, client=client, status=status)
    return result
