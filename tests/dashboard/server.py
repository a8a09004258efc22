"""The dashboard as a test sees it: served over a real deployment, requested by plain HTTP."""

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn
from confluent_kafka import Producer
from starlette.types import ASGIApp

from streaming.dashboard.connections import Limits, bounded_config
from tests.deployment import Deployment
from tests.store.users import drop_privileges
from tests.support import wait_until

HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
"""The headers with which a client asks for a WebSocket."""


@contextmanager
def serve_dashboard(deployment: Deployment) -> Iterator[str]:
    """Serve the dashboard; yield its address."""
    with deployment.running("dashboard"):
        port = deployment.home / "dashboard.port"
        wait_until(lambda: port.exists() and port.read_text(), 60, "the dashboard has no port")
        base = f"http://127.0.0.1:{port.read_text().strip()}"
        wait_until(lambda: code_of(f"{base}/") in {200, 401}, 60, "the dashboard does not answer")
        yield base


@contextmanager
def serve_app(
    app: ASGIApp,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve an application in this process, as the dashboard's server does; yield its address."""
    server = uvicorn.Server(bounded_config(app, limits, tls, port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, 30, "the server does not start")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(120)


def answer_to(
    base: str,
    method: str,
    path: str,
    body: bytes | None = None,
    trust: ssl.SSLContext | None = None,
    **headers: str,
) -> http.client.HTTPResponse:
    """Return the answer to a request, whose redirections are not followed; its body is read."""
    address = urlsplit(base)
    host, port = str(address.hostname), address.port or 0
    return _answer(
        http.client.HTTPConnection(host, port, timeout=120)
        if trust is None
        else http.client.HTTPSConnection(host, port, timeout=120, context=trust),
        (method, path, body, headers),
    )


def answer_to_nobody(
    base: str, method: str, path: str, headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """Return the answer to a request of another user of the machine."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=120)
    with drop_privileges():
        connection.connect()
    return _answer(connection, (method, path, None, headers or {}))


def _answer(
    connection: http.client.HTTPConnection, asked: tuple[str, str, bytes | None, Mapping[str, str]]
) -> http.client.HTTPResponse:
    with closing(connection):
        connection.request(*asked)
        answer = connection.getresponse()
        answer.read()
        return answer


def code_of(url: str, method: str = "GET", **headers: str) -> int:
    """Return the status of an answer, 0 if there is none."""
    asked = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def get(url: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON answer."""
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - ours
        return json.load(answer)


def post(url: str, body: object) -> Any:  # noqa: ANN401 - any JSON
    """Send JSON; return the JSON answer."""
    asked = urllib.request.Request(url, json.dumps(body).encode(), method="POST")  # noqa: S310
    with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310
        return json.load(answer)


def send(deployment: Deployment, *items: str, **more: object) -> None:
    """Send a purchase of each item, now."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for item in items:
        event = {"user": "ada", "item": item, "timestamp": int(time.time() * 1000), **more}
        producer.produce(deployment.topic("purchases"), json.dumps(event).encode(), b"ada")
    assert producer.flush(60) == 0


def upgrade(base: str, **headers: str) -> int:
    """Return the status of the answer to a WebSocket's handshake at `/graphql`."""
    address = urlsplit(base)
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=120)
    with closing(connection):
        names = {"Host": address.netloc, **headers}
        connection.request("GET", "/graphql", headers={**HANDSHAKE, **names})
        return connection.getresponse().status
