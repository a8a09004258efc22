"""What every part of the JSON API has in common: an endpoint said once becomes route and schema.

A handler takes the settings and what was asked for as a typed record, and gives a record. Requests,
ETags, problems (RFC 9457) and too many at once are dealt with here; no figure is.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streaming.errors import NotFound, PurchasesError, TooLarge, Unavailable, UsageError
from streaming.settings import Settings

PREFIX: Final = "/api/v1/"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
RETRY_SECONDS: Final = "1"
CODES: Final[tuple[tuple[type[PurchasesError], int], ...]] = (
    (NotFound, 404),
    (TooLarge, 413),
    (UsageError, 400),
    (Unavailable, 503),
)

Handler = Callable[[Request], Awaitable[Response]]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked for."""


@dataclass(frozen=True)
class Endpoint:
    """One address of the API, below `/api/v1/`.

    `asked` holds the parameters of path and query, for POST the fields of the body; `read` makes
    one of a request where that needs more, whose body may be one of `takes`. `answer` gives a
    `gives`, or a response of its own of one of `media_types`. `at_once` is how many requests are
    worked on: one more is told to come again, as one of over `body_bytes` is told to send less.
    """

    method: str
    path: str
    summary: str
    answer: Callable[[Settings, Any], object]
    gives: Any
    asked: Any = Nothing
    read: Callable[[Request, bytes], object] | None = None
    media_types: tuple[str, ...] = (JSON,)
    takes: tuple[str, ...] = (JSON,)
    at_once: int = 16
    body_bytes: int = 64 * 1024


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def routes(settings: Settings, endpoints: Sequence[Endpoint]) -> list[Route]:
    """Make the routes of endpoints."""
    return [
        Route(PREFIX + endpoint.path, _handler(settings, endpoint), methods=[endpoint.method])
        for endpoint in endpoints
    ]


def answering(
    answer: Callable[[Request, bytes], Response], at_once: int = 16, body_bytes: int = 0
) -> Handler:
    """Answer a request and its body in a thread; what goes wrong is a problem, not a traceback."""
    places = BoundedSemaphore(at_once)

    async def handle(request: Request) -> Response:
        body = await body_of(request, body_bytes)
        if not places.acquire(blocking=False):
            return too_many(f"{at_once} such requests are being answered")
        try:
            return await run_in_threadpool(answer, request, body)
        except PurchasesError as error:
            return problem(code_of(error), str(error))
        finally:
            places.release()

    return handle


def code_of(error: PurchasesError) -> int:
    """Give the HTTP status that tells of an error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), 500)


def problem(code: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Answer with a problem."""
    content = Problem(HTTPStatus(code).phrase, code, detail)
    return Response(msgspec.json.encode(content), code, headers, PROBLEM)


def too_many(why: str) -> Response:
    """Tell to come again later."""
    return problem(429, f"{why}; come again in a moment.", {"retry-after": RETRY_SECONDS})


async def http_problem(_request: Request, error: Exception) -> Response:
    """Answer what no route answers."""
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, error.detail, dict(error.headers or {}))


async def unexpected(_request: Request, error: Exception) -> Response:
    """Answer what is a bug; it is logged by whoever serves."""
    return problem(500, f"This is a bug, {type(error).__name__}; the page's log has more.")


async def body_of(request: Request, most: int) -> bytes:
    """Read a body. Raises `HTTPException` (413) where it is longer than `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The body may have {most:,} bytes; send less at once.")
    return bytes(body)


def json_response(content: object, request: Request) -> Response:
    """Answer JSON; what the reader has already, by its ETag, is not sent again."""
    body = msgspec.json.encode(content)
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if etag in {part.strip().removeprefix("W/") for part in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)


def _handler(settings: Settings, endpoint: Endpoint) -> Handler:
    def read(request: Request, body: bytes) -> object:
        if endpoint.read is not None:
            return endpoint.read(request, body)
        if endpoint.method == "GET":
            return asked_for(endpoint.asked, request)
        return body_as(endpoint.asked, body)

    def answer(request: Request, body: bytes) -> Response:
        content = endpoint.answer(settings, read(request, body))
        return content if isinstance(content, Response) else json_response(content, request)

    return answering(answer, endpoint.at_once, endpoint.body_bytes)


def body_as(kind: type[Struct], body: bytes) -> Struct:
    """Read a body, which may be missing. Raises `UsageError` where it is not what is asked for."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"The body is not what is asked for: {error}.") from None


def asked_for(kind: type[Struct], request: Request) -> Struct:
    """Read the parameters of path and query.

    Raises `UsageError` where one is unknown, missing, given twice or not of its type.
    """
    given: dict[str, Any] = dict(request.path_params)
    lists = {f.encode_name for f in msgspec.structs.fields(kind) if _is_list(f.type)}
    for name, value in request.query_params.multi_items():
        if name in lists:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise UsageError(f"The parameter {name} was given twice.")
        else:
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"The parameters are not what is asked for: {error}.") from None


def _is_list(kind: object) -> bool:
    return getattr(kind, "__origin__", None) in {list, tuple}
