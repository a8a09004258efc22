"""The dashboard while the stream runs: how soon a purchase is on it, and what a look costs.

Measured from outside: in Debian's Chromium, by the server's own process, by two hundred readers.
"""

import json
import random
import selectors
import shutil
import socket
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from confluent_kafka import Producer
from playwright.sync_api import Browser, sync_playwright

from benchmarks.backlog import cpu_seconds
from benchmarks.long_runs import Rate, waits
from benchmarks.measure import Figure, tell
from benchmarks.scratch import PURCHASES, Bench
from streaming.kafka.names import Names

RATE: Final = Rate(2_000, 20, "", "")
DASHBOARDS: Final = 200
PAINTS: Final = 5
MARKS: Final = 100
MARK: Final = 1_000_000
"""Items of a marked purchase: more than all others sell meanwhile."""
OBSERVE: Final = """
mark => {
  const items = document.getElementById('items');
  const shown = () => Number(items.textContent.replace(/[^0-9]/g, ''));
  const before = shown();
  window.seen = [];
  new MutationObserver(() => {
    const count = Math.floor((shown() - before) / mark);
    while (window.seen.length < count) window.seen.push(Date.now());
  }).observe(items, { childList: true, characterData: true, subtree: true });
}
"""
PAINTED: Final = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
LOADED: Final = """
() => performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0) / 1000
"""
"""Kilobytes over the wire, with headers: the document and all that it loads."""


def measure_dashboard(bench: Bench) -> list[Figure]:
    """Measure the dashboard while 2,000 purchases a second come in."""
    with ExitStack() as running:
        for command in ("process", "analyze"):
            running.enter_context(bench.running(command))
        bench.run("produce", "--rate", "max", "--count", "1000")
        bench.wait_until_stored(1_000)
        server = running.enter_context(bench.process([*PURCHASES, "dashboard"], "dashboard"))
        port = port_of(bench)
        nobody, _ = measure_readers(bench, server.pid, port, 0)
        waited, one = measure_readers(bench, server.pid, port, 1)
        waited_many, many = measure_readers(bench, server.pid, port, DASHBOARDS)
        figures = [
            Figure("server, one open dashboard", "% of a core", (one,), "< 2"),
            Figure(f"server, {DASHBOARDS} open dashboards", "% of a core", (many,), "< 100"),
            Figure("made → stored, p99, nobody looks", "ms", (nobody,)),
            Figure("made → stored, p99, one dashboard", "ms", (waited,)),
            Figure(f"made → stored, p99, {DASHBOARDS} dashboards", "ms", (waited_many,)),
        ]
        return [*figures, *in_browser(bench, port)]


def port_of(bench: Bench) -> int:
    """Wait until the dashboard answers; give its port."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            port = int((bench.home / "dashboard.port").read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return port
        time.sleep(0.1)
    raise TimeoutError("the dashboard does not answer")


def measure_readers(bench: Bench, pid: int, port: int, dashboards: int) -> tuple[float, float]:
    """Return p99 of made → stored (ms) and the server's share of a core (%) under readers."""
    with readers(port, dashboards):
        started, cpu = time.monotonic(), cpu_seconds(pid)
        p99 = statistics.quantiles(waits(bench, RATE), n=100)[98]
        share = (cpu_seconds(pid) - cpu) / (time.monotonic() - started) * 100
    tell(f"{dashboards} dashboards: {share:.1f} % of a core, made → stored p99 {p99:.0f} ms")
    return p99, share


@contextmanager
def readers(port: int, number: int) -> Iterator[None]:
    """Listen to its events on so many connections, as open dashboards do.

    Raises `ConnectionError` in the end where one of them was dropped.
    """
    stop, dropped = threading.Event(), []
    with ExitStack() as opened, selectors.DefaultSelector() as selector:
        for _ in range(number):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            selector.register(connection, selectors.EVENT_READ, connection)

        def read() -> None:
            while not stop.is_set():
                for key, _ in selector.select(0.2):
                    if not key.data.recv(1 << 16):
                        selector.unregister(key.fileobj)
                        dropped.append(key.fd)

        reading = threading.Thread(target=read)
        reading.start()
        yield
        stop.set()
        reading.join()
    if dropped:
        raise ConnectionError(f"{len(dropped)} of {number} readers were dropped")


def in_browser(bench: Bench, port: int) -> list[Figure]:
    """Measure first paint, and how soon a purchase is on the dashboard."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return [Figure("on the dashboard", "ms", (), "left out: no Chromium here")]
    url = f"http://127.0.0.1:{port}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        paints, loads = zip(*(first_look(browser, url) for _ in range(PAINTS)), strict=True)
        with bench.process([*PURCHASES, "produce", "--rate", str(RATE.events)], "produce"):
            seen = sorted(until_seen(bench, browser, url))
        browser.close()
    cuts = statistics.quantiles(seen, n=100)
    tell(f"on the dashboard: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms")
    return [
        Figure("first paint", "ms", paints, "< 500"),
        Figure("loaded by a new visitor, compressed", "KB", loads, "< 300"),
        Figure(f"sent → on the dashboard, of {MARKS}, p50", "ms", (cuts[49],)),
        Figure(f"sent → on the dashboard, of {MARKS}, p99", "ms", (cuts[98],), "≤ 1000"),
    ]


def first_look(browser: Browser, url: str) -> tuple[float, float]:
    """Return when (ms) a new visitor's browser has painted something, and the KB it has loaded."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(500)
    painted, loaded = float(page.evaluate(PAINTED)), float(page.evaluate(LOADED))
    context.close()
    return painted, loaded


def until_seen(bench: Bench, browser: Browser, url: str) -> list[float]:
    """Send marked purchases one after another; return how long (ms) until each was counted."""
    producer = Producer({"bootstrap.servers": bench.servers, "linger.ms": 0})
    topic, chance = Names.of(bench.settings).purchases, random.Random(3)
    page = browser.new_page()
    page.goto(url)
    page.wait_for_timeout(3_000)
    page.evaluate(OBSERVE, MARK)
    sent = []
    for _ in range(MARKS):
        page.wait_for_timeout(chance.uniform(100, 500))
        now = time.time() * 1000
        event = {"user": "ada", "item": "mark", "timestamp": int(now), "quantity": MARK}
        producer.produce(topic, json.dumps(event).encode(), b"ada")
        producer.flush(10)
        sent.append(now)
    page.wait_for_timeout(5_000)
    seen = page.evaluate("window.seen")
    return [at - began for began, at in zip(sent, seen, strict=True)]
