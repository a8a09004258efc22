"""A page of another origin in a real browser, which tries all that it can on one of our servers.

What the server must answer, and what must not have changed, is the tests' matter.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.browser import browser

REBOUND: Final = "rebound.example"
"""A name that the browser resolves to 127.0.0.1, as another's DNS would make it."""
SCRIPT: Final = """
async ([base, { image, action, body, websocket }]) => {
  const loaded = (node, attributes) => new Promise((done) => {
    Object.assign(node, { onload: done, onerror: done, ...attributes });
    document.body.append(node);
  });
  const submit = () => {
    const sent = loaded(document.createElement("iframe"), { name: "answer" });
    const form = Object.assign(document.createElement("form"),
      { method: "post", target: "answer", action: base + action });
    document.body.append(form);
    form.submit();
    return sent;
  };
  const opens = () => new Promise((done) => {
    const socket = new WebSocket(base.replace("http", "ws") + websocket, "graphql-ws");
    Object.assign(socket, { onopen: () => done(true), onerror: () => done(false) });
  });
  await loaded(new Image(), { src: base + image });
  await loaded(document.createElement("iframe"), { src: base + image });
  await submit();
  // JSON that a browser sends without asking the server first.
  await fetch(base + action, { method: "POST", mode: "no-cors", body,
    headers: { "content-type": "text/plain; application/json" } }).catch(() => {});
  return await opens();
}
"""


class Attack(NamedTuple):
    """What a page tries: paths of the server, and a body of JSON for `action`."""

    image: str
    action: str
    body: str
    websocket: str


def attack_from_other_origins(base: str, attack: Attack) -> tuple[list[int], int]:
    """Let pages of three origins attack the server at `base`.

    Two are another site, and another port of the same host: the first list has the status of each
    answer to them. The third is a name that its owner's DNS leads to the server: the status of
    the page there. Raises `AssertionError` if a WebSocket opens.
    """
    resolve = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    statuses: list[int] = []
    with _serve_page() as port, browser("about:blank", flags=[resolve]) as (page, _, _):
        page.on(
            "response",
            lambda answer: statuses.append(answer.status) if answer.url.startswith(base) else None,
        )
        for host in ("localhost", "127.0.0.1"):
            page.goto(f"http://{host}:{port}/")
            assert not page.evaluate(SCRIPT, [base, attack._asdict()])
        return statuses, _rebind(page, f"http://{REBOUND}:{urlsplit(base).port}/")


def _rebind(page: Page, url: str) -> int:
    answer = page.goto(url)
    assert answer
    return answer.status


@contextmanager
def _serve_page() -> Iterator[int]:
    """Serve an empty page at all paths; yield the port."""

    class EmptyPage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body></body>")

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
