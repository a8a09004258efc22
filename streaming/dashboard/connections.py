"""Connections of our HTTP servers, each bounded in time and size: a middle layer below ASGI.

uvicorn waits forever for the rest of a request and for a client that reads nothing, and takes
headers of any length. What is answered to a whole request is the application's matter.
"""

import asyncio
import resource
import ssl
from asyncio.sslproto import SSLProtocol
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streaming.system.peer_user import peer_user

PEER_USER: Final = "peer_user"
"""The key in a request's `state` of the user of this machine who sent it, or None."""
MAX_FILES: Final = 8_192
"""A process may open 1,024 by default, which the event streams alone use up."""


@dataclass(frozen=True)
class Limits:
    """Limits of each connection, in seconds and bytes.

    request_seconds: for a whole request; 16 MiB arrive within it at 4.5 Mbit/s. And for a TLS
        handshake.
    write_seconds: a client that takes nothing for so long is gone; as for event streams.
    waiting: connections on which a request, or a handshake before it, is awaited. Honest ones wait
        for milliseconds, so that of more the oldest is closed. With the event streams they are less
        than `MAX_FILES`.
    header_bytes: cookies of all programs of a host fit into it.
    body_bytes: above what any endpoint takes: each answers 413 for itself. Dagster has no limit.
    """

    request_seconds: float = 30.0
    write_seconds: float = 10.0
    waiting: int = 256
    header_bytes: int = 64 * 1024
    body_bytes: int = 32 * 1024 * 1024


WaitingConnections = dict["BoundedConnection", None]
"""Connections in the order in which they began to wait."""


def bounded_config(
    app: ASGIApp,
    limits: Limits = Limits(),
    tls: ssl.SSLContext | None = None,
    **more: Any,  # noqa: ANN401 - uvicorn's own
) -> uvicorn.Config:
    """Return uvicorn's configuration of a server with bounded connections, over TLS or not.

    Only errors are logged: a warning for each malformed request would fill the disk.
    """
    connection = partial(BoundedConnection, limits=limits, waiting={})
    protocol = (
        connection
        if tls is None
        else lambda **arguments: TlsHandshake(connection(**arguments), tls, limits)
    )
    # uvicorn calls what it declares as a class.
    http = cast("type[asyncio.Protocol]", protocol)
    return uvicorn.Config(app, http=http, log_level="error", access_log=False, **more)


def raise_file_limit() -> None:
    """Let this process open `MAX_FILES` files, if the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if its client is too slow or sends too much."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - uvicorn's
        limits: Limits,
        waiting: WaitingConnections,
        **more: Any,  # noqa: ANN401 - uvicorn's
    ) -> None:
        super().__init__(*arguments, **more)
        self._limits = limits
        self._waiting = waiting
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._framing_bytes = self._body_bytes = 0
        self._has_begun = False

    def begin_handshake(self, transport: asyncio.Transport) -> None:
        """Await the end of a TLS handshake, among those that await a request."""
        self.transport = transport
        self._wait()

    def end_handshake(self) -> None:
        """Await it no more, if it still is awaited."""
        self._stop_waiting()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Await the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all deadlines."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse headers, and frames of a body, that are too long."""
        self._framing_bytes += len(data)
        super().data_received(data)
        # Chunks of a body have a frame each, which may be an eighth of it.
        if self._framing_bytes > self._limits.header_bytes + self._body_bytes // 8:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin a request, which is answered even if it does not become whole."""
        self._has_begun = True
        if PEER_USER not in self.app_state:
            # Here and once, because later the connection may be closed, and its number another's.
            self.app_state = {**self.app_state, PEER_USER: self._find_user()}
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Refuse a body that is too long."""
        self._framing_bytes -= len(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(b"413 Content Too Large")
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Await no more: the request is whole, and the application answers it."""
        super().on_message_complete()
        self._framing_bytes = self._body_bytes = 0
        self._has_begun = False
        # Of a request that was refused before its body came, the answer is complete already.
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def handle_websocket_upgrade(self) -> None:
        """Await no more: uvicorn's WebSocket has deadlines of its own."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """Await the next request."""
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        """Set the client a deadline to read what is sent."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(
            self._limits.write_seconds, self.transport.abort
        )

    def resume_writing(self) -> None:
        """End that deadline."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _find_user(self) -> int | None:
        if self.transport.is_closing():
            return None
        return peer_user(self.transport.get_extra_info("socket").fileno())

    def _wait(self) -> None:
        """Await a request, for a bounded time, among a bounded number."""
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._limits.request_seconds, self._give_up)
        self._waiting[self] = None
        if len(self._waiting) > self._limits.waiting:
            oldest = next(iter(self._waiting))
            oldest._stop_waiting()  # noqa: SLF001 - of the same class
            oldest.transport.abort()

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._has_begun and not self.transport.is_closing():
            self._refuse(b"408 Request Timeout")
        else:
            # Closing waits until the client has read everything, if it ever does.
            self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        """Answer with a status, unless an answer has begun, and close the connection."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            head = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head % status)
        self.transport.close()
        # Closing waits until the client has read the answer; one that does not is cut off.
        self.loop.call_later(self._limits.write_seconds, self.transport.abort)


class TlsHandshake(SSLProtocol):
    """asyncio's TLS before a bounded connection, whose handshake has that one's bounds.

    asyncio tells a connection of itself only after the handshake, and bounds that by 60 s alone.
    """

    def __init__(
        self, connection: BoundedConnection, context: ssl.SSLContext, limits: Limits
    ) -> None:
        super().__init__(
            connection.loop,
            connection,
            context,
            waiter=None,  # type: ignore[arg-type]  # as asyncio's own `start_tls` may
            server_side=True,
            ssl_handshake_timeout=limits.request_seconds,  # type: ignore[arg-type]  # any number
            ssl_shutdown_timeout=limits.write_seconds,
        )
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._connection.begin_handshake(cast("asyncio.Transport", transport))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End a handshake that failed; the connection hears only of one that succeeded."""
        self._connection.end_handshake()
        super().connection_lost(exc)
