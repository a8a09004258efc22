"""Clients that are slow, silent or malformed, over raw sockets: they keep nobody else out."""

import re
import resource
import socket
import ssl
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streaming.api.endpoint import FileStream, bounded_handler
from streaming.dashboard.connections import Limits, raise_file_limit
from streaming.dashboard.ingest import MAX_BODY_BYTES
from streaming.dashboard.ingest_records import MAX_RECORDS, read_batch
from streaming.errors import TooLarge
from tests.dashboard.server import answer_to, code_of, serve_app, serve_dashboard
from tests.deployment import Deployment
from tests.support import wait_until

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
OWN = b" HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n"
REQUEST_SECONDS = 3.0
"""A limit that is waited for, and within which a test on a busy machine does what it must."""
MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close\r\nHost: [\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close\r\nHost: \xff\xfe\r\n\r\n",
    b"GET /" + OWN + b"Host: evil.example\r\n\r\n",
    b"GET /%00" + OWN + b"\r\n",
    b"GET /static/%00" + OWN + b"\r\n",
    b"GET /static/%2e%2e/app.py" + OWN + b"\r\n",
    b"GET /static/" + b"a" * 5_000 + OWN + b"\r\n",
    b"GET /api/v1/days?from=%ff" + OWN + b"\r\n",
    b"GET /api/v1/dead-letters?limit=x" + OWN + b"\r\n",
    b"GET /api/v1/dead-letters/%00" + OWN + b"\r\n",
    b"GET /?token=%00%ff" + OWN + b"Accept-Encoding: \xff\r\nCookie: \xff=\xff\r\nRange: x\r\n"
    b"Authorization: \xff\r\nOrigin: \xff\r\nIf-None-Match: \xff\r\nX-Forwarded-For: [\r\n\r\n",
    b"GET http://[" + OWN + b"\r\n",
    b"FROB /" + OWN + b"\r\n",
    b"POST /api/v1/verify" + OWN + b"Origin: http://[\r\n\r\n",
    b"POST /api/v1/verify" + OWN + b"Content-Length: -1\r\n\r\n",
    b"POST /api/v1/dead-letters/redrive" + OWN + b"Content-Length: 1\r\n\r\n\xff",
    b"POST /login" + OWN + b"Content-Length: 7\r\n\r\ntoken=\xff",
    b"POST /login" + OWN + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n\xff",
    b"POST /login" + OWN + b"Content-Length: 99999\r\n\r\n" + b"x" * 99_999,
    b"POST /api/v1/verify" + OWN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /events" + OWN.replace(b"close", b"Upgrade") + b"Upgrade: websocket\r\n\r\n",
)


def connect(base: str, *sent: bytes) -> socket.socket:
    """Return a connection on which something was sent."""
    address = urlsplit(base)
    connection = socket.create_connection((str(address.hostname), address.port or 0), 120)
    for part in sent:
        connection.sendall(part)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    content = b""
    try:
        while part := connection.recv(65_536):
            content += part
    except ConnectionResetError:
        pass
    return content


def status_of(answer: bytes) -> int:
    """Return the status of a raw answer; 0 if there is none."""
    match = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return int(match[1]) if match else 0


def hello(_request: Request) -> Response:
    """Answer at once."""
    return PlainTextResponse("hello")


@contextmanager
def serving(limits: Limits, *routes: Route) -> Iterator[str]:
    """Serve routes, and one that answers at once."""
    with serve_app(Starlette(routes=[Route("/", hello), *routes]), limits) as base:
        yield base


def test_strangers_keep_nobody_out_and_write_no_log(deployment: Deployment) -> None:
    """More half requests than a process has files; all that is malformed gets 4xx or is closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_024), hard))
    with serve_dashboard(deployment) as base, ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # The dashboard has begun with what most hosts allow; the test opens more.
        raise_file_limit()
        log = deployment.home / "dashboard.log"
        before = log.read_bytes()
        half = [opened.enter_context(connect(base, HALF)) for _ in range(1_100)]
        assert code_of(f"{base}/static/format.js") == 200
        wait_until(lambda: is_closed(half[0]), 30, "the oldest stays open")
        assert not is_closed(half[-1])
        for request in MALFORMED:
            with closing(connect(base, request)) as connection:
                expected = {200} if b"?token=" in request else range(400, 500)
                assert status_of(read_all(connection)) in expected, request
        # Who leaves in the midst of a body is no error either.
        with closing(connect(base, b"POST /login" + OWN + b"Content-Length: 9\r\n\r\nhalf")):
            pass
        assert code_of(f"{base}/static/format.js") == 200
        assert log.read_bytes() == before


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection, on which it answered nothing."""
    connection.setblocking(False)  # noqa: FBT003 - a method of the standard library
    try:
        # What is too slow is answered: that stays, and does not count.
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_request_that_does_not_become_whole_is_408() -> None:
    """Half a header, half a body, and one that begins behind an answer; who is silent is closed."""
    post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
    slow = Route(
        "/slow", bounded_handler(lambda _r, _b: Response(), max_body_bytes=9), methods=["POST"]
    )
    cases = (
        ((HALF,), 408),
        ((post.replace(b"/ ", b"/slow ", 1),), 408),
        ((HALF + b"\r\n", HALF), 200),
        ((), 0),
    )
    with serving(Limits(request_seconds=REQUEST_SECONDS), slow) as base, ExitStack() as opened:
        # At once, because each is waited for until its limit.
        connections = [opened.enter_context(connect(base, *sent)) for sent, _ in cases]
        for connection, (sent, expected) in zip(connections, cases, strict=True):
            assert status_of(answer := read_all(connection)) == expected
            assert (b" 408 " in answer) == (HALF in sent or expected == 408)


def test_half_tls_handshakes_are_bounded_as_half_requests_are() -> None:
    """In number and time: whoever begins none, half of one, or sends no TLS keeps nobody out."""
    issuer = trustme.CA()
    own, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    issuer.issue_cert("127.0.0.1").configure_cert(own)
    issuer.configure_trust(trust)
    app = Starlette(routes=[Route("/", hello)])
    client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with serve_app(app, Limits(waiting=20), own) as base, ExitStack() as opened:
        half = [opened.enter_context(connect(base, sent)) for sent in (b"", client_hello) * 15]
        assert answer_to(base, "GET", "/", trust=trust).status == 200
        wait_until(lambda: all(map(is_closed, half[:10])), 30, "the oldest stay open")
        assert not is_closed(half[-1])
    with serve_app(app, Limits(request_seconds=REQUEST_SECONDS), own) as base:
        with ExitStack() as opened:
            no_tls = (b"", client_hello, HALF + b"\r\n")
            for connection in [opened.enter_context(connect(base, sent)) for sent in no_tls]:
                assert status_of(read_all(connection)) == 0
        assert answer_to(base, "GET", "/", trust=trust).status == 200
        # Within TLS a half request is what it is without.
        with closing(trust.wrap_socket(connect(base), server_hostname="127.0.0.1")) as connection:
            connection.sendall(HALF)
            assert status_of(read_all(connection)) == 408


def test_headers_and_bodies_have_an_end() -> None:
    """Endless headers, trailers, frames of a body, and a body, to a server that reads no body."""
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    limits = Limits(header_bytes=10_000, body_bytes=100_000)
    for head, part, expected in (
        (HALF, b"a: " + b"b" * 1_000 + b"\r\n", {431}),
        (HALF + b"a: ", b"b" * 1_000, {431}),
        (b"GET /", b"a" * 1_000, {431}),
        (chunked, b"1\r\nx\r\n" * 100, {431}),
        (chunked + b"0\r\n", b"a: b\r\n" * 100, {431}),
        (chunked, b"3e8\r\n" + b"x" * 1_000 + b"\r\n", {413}),
    ):
        with (
            serving(limits, Route("/never", hello)) as base,
            closing(connect(base, head)) as sender,
        ):
            answer = b""
            for _ in range(500):
                try:
                    sender.sendall(part)
                except OSError:
                    break
            answer = read_all(sender)
            assert status_of(answer) in {*expected, 0, 405}, head


def test_what_nobody_reads_ends_and_gives_its_place_back(tmp_path: Path) -> None:
    """An export of a gigabyte, of which one is sent at a time; its file is closed."""
    path = tmp_path / "export"
    with path.open("wb") as file:
        file.truncate(1_000_000_000)
    opened: list[IO[bytes]] = []

    def export(_request: Request, _body: bytes) -> Response:
        opened.append(path.open("rb"))
        return FileStream(opened[-1], "text/csv", {})

    request = b"GET /export HTTP/1.1\r\nHost: localhost\r\n\r\n"
    route = Route("/export", bounded_handler(export, 1))
    with (
        serving(Limits(write_seconds=REQUEST_SECONDS), route) as base,
        closing(connect(base, request)),
    ):
        wait_until(lambda: opened, 30, "the export does not begin")
        wait_until(lambda: opened[0].closed, 30, "the export goes on")
        # The next is answered; it would be 429 otherwise.
        with closing(connect(base, request)) as reader:
            assert status_of(reader.recv(100)) == 200


def test_an_array_costs_no_more_than_its_bytes() -> None:
    """Eight million elements of two bytes were a gigabyte of objects; lines likewise."""
    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]})
    lines = Request({"type": "http", "headers": [(b"content-type", b"application/x-ndjson")]})
    for asked, body in (
        (request, b"[" + b"0," * (MAX_BODY_BYTES // 2 - 1) + b"0]"),
        (lines, b"0\n" * (MAX_BODY_BYTES // 2)),
    ):
        tracemalloc.start()
        with pytest.raises(TooLarge, match="1,000"):
            read_batch(asked, body)
        assert tracemalloc.get_traced_memory()[1] < MAX_BODY_BYTES * 1.5
        tracemalloc.stop()
    assert len(read_batch(request, b"[" + b"{]," * 0 + b"1," * (MAX_RECORDS - 1) + b"1]").records)


def test_bodies_that_are_held_have_a_bound() -> None:
    """Slow senders of large bodies get 429, and the bytes of those who have gone are free again."""
    take = bounded_handler(lambda _r, body: Response(body), max_body_bytes=1_000)
    head = b"POST /in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with serving(Limits(), Route("/in", take, methods=["POST"])) as base:

        def status() -> int:
            with closing(connect(base, head + b"x" * 1_000)) as connection:
                return status_of(connection.recv(100))

        with ExitStack() as opened:
            for _ in range(4):
                opened.enter_context(connect(base, head + b"x" * 900))
            wait_until(lambda: status() == 429, 30, "a fifth is taken")
        wait_until(lambda: status() == 200, 30, "bytes stay counted")
