"""One HTTP request and its whole answer, bounded in time and size, whatever in it is slow.

What an answer means is the caller's matter. No redirection is followed and no proxy is asked, so a
password goes to the named address only.
"""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct

from streaming.errors import Unavailable
from streaming.formatting import printable_text

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from ssl import SSLContext

SHOWN: Final = 300
"""Characters of what the other side says."""


class HttpAnswer(Struct, frozen=True):
    """The status and the body of an answer; None if it is longer than was allowed."""

    status: int
    body: bytes | None


class HttpRequest(Struct, frozen=True):
    """What is asked."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: bytes | None = None


def exchange(
    request: HttpRequest, seconds: float, most_bytes: int, context: "SSLContext | None" = None
) -> HttpAnswer:
    """Return the answer to a request.

    Raises `Unavailable` if it is not there after `seconds`, from looking the name up to its last
    byte, or is none; the message is the reason, as the end of a sentence.
    """
    # Imported here: it takes 20 ms, which most workers need not spend.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(request.url)
    connection: HTTPConnection
    if parts.scheme == "http":
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    else:
        connection = HTTPSConnection(
            parts.hostname or "", parts.port, timeout=seconds, context=context
        )
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"

    def ask() -> HttpAnswer:
        connection.request(request.method, path, request.body, request.headers)
        response = connection.getresponse()
        # One byte more tells that there is more, and memory stays bounded.
        content = response.read(most_bytes + 1)
        if len(content) > most_bytes:
            return HttpAnswer(response.status, None)
        if response.length:
            raise OSError("the answer ended too early")
        return HttpAnswer(response.status, content)

    try:
        return _in_time(connection, ask, seconds)
    except UnicodeError as error:
        # A name with an empty label, or a path beyond ASCII.
        text = printable_text(str(error))[:SHOWN]
        raise Unavailable(f"no request can be sent to this address ({text}); correct it.") from None
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        text = printable_text(str(reason))[:SHOWN] or f"no whole answer in {seconds:g} s"
        raise Unavailable(f"{text}.") from None


def _in_time(
    connection: "HTTPConnection", ask: Callable[[], HttpAnswer], seconds: float
) -> HttpAnswer:
    """Return what `ask` does once connected. Raises `TimeoutError` after `seconds`.

    Nothing else bounds a name server, several addresses of a name, and an answer that drips
    together.
    """
    answered: Future[HttpAnswer] = Future()
    over, sockets = Event(), list[socket.socket]()

    def connect_and_ask() -> None:
        try:
            connection.connect()
            # The connection forgets it as soon as the other side says that it will close it.
            sockets.append(connection.sock)
            if not over.is_set():
                answered.set_result(ask())
        except Exception as error:  # noqa: BLE001 - who waits for it raises it
            answered.set_exception(error)
        finally:
            connection.close()

    Thread(target=connect_and_ask, name="http-exchange", daemon=True).start()
    try:
        return answered.result(seconds)
    finally:
        over.set()
        # Ends what the thread reads; while it still connects, its own timeouts do.
        for one in sockets:
            with suppress(OSError):
                # The plain socket's own: that of TLS would first drop what the other thread reads
                # by.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
