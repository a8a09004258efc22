"""Purchases over HTTP while broker and page die: what is sent until it is taken is stored once."""

import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.deployment import Deployment
from tests.faults.cluster import Cluster
from tests.faults.test_workers import wait
from tests.oracle import require_figures_agree, require_order_per_user
from tests.support import wait_until

BATCH = 100
USERS = 10


class HttpLoad:
    """Sends batches of purchases at a rate; each is sent again, unchanged, until it is taken.

    `taken` holds the event ids of all that was answered with 200; `unconfirmed` counts answers of
    503, `broken` the requests that had no answer.
    """

    def __init__(self, home: Path, rate: int) -> None:
        self.taken: set[str] = set()
        self.unconfirmed = self.broken = self.sent = 0
        self._port, self._rate = home / "dashboard.port", rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="http-load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the load did not end"

    def _send(self) -> None:
        start = time.monotonic()
        while not self._stop.wait(0.005):
            while self._due(start) and not self._stop.is_set():
                key, body = uuid.uuid4().hex, self._batch()
                while not self._is_taken(body, key):
                    wait(0.2)

    def _due(self, start: float) -> bool:
        """Return whether a batch is due; a slow machine may stay behind, and still ends."""
        return (time.monotonic() - start) * self._rate >= self.sent + BATCH

    def _batch(self) -> bytes:
        now, first = int(time.time() * 1000), self.sent
        self.sent += BATCH
        return json.dumps(
            [
                {
                    "user": f"user-{number % USERS}",
                    "item": f"item-{number % 20}",
                    "timestamp": now,
                    "unit_price": "1.25",
                    "order_id": f"{number:09d}",
                }
                for number in range(first, self.sent)
            ]
        ).encode()

    def _is_taken(self, body: bytes, key: str) -> bool:
        url = f"http://127.0.0.1:{self._port.read_text().strip()}/api/v1/purchases"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            asked = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310
                receipts = json.load(answer)["records"]
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            self.unconfirmed += 1
            return False
        except OSError:
            self.broken += 1
            return False
        self.taken |= {record["event_id"] for record in receipts}
        return True


@pytest.mark.faults
def test_broker_and_dashboard_die_under_http_load(alone: Deployment, cluster: Cluster) -> None:
    """At 2,000 purchases a second: nothing is lost, nothing stored twice, each user's in order."""
    alone.more["PURCHASES_HTTP_IN"] = "on"
    alone.succeed("db", "upgrade")
    node = cluster.nodes[0]
    with alone.running("process"), alone.running("analyze"), ExitStack() as pages:
        first = pages.enter_context(alone.running("dashboard"))
        wait_until((alone.home / "dashboard.port").exists, 60, "no page")
        with HttpLoad(alone.home, 2_000) as load:
            wait_until(lambda: alone.count("analytics_event") > 2_000, 60, "nothing is stored")
            node.kill()
            wait_until(lambda: load.unconfirmed, 60, "nobody noticed that the broker is gone")
            node.start()
            flows(load)
            first.kill()
            wait_until(lambda: load.broken, 60, "nobody noticed that the page is gone")
            pages.enter_context(alone.running("dashboard"))
            flows(load)
        wait_until(
            lambda: alone.count("analytics_event") >= len(load.taken), 90, "it is not stored"
        )
    assert load.sent == len(load.taken)
    stored = [str(row[0]) for row in alone.rows("SELECT event_id FROM analytics_event_readable")]
    assert len(stored) == len(set(stored))
    assert set(stored) == load.taken
    require_order_per_user(alone)
    require_figures_agree(alone)


def flows(load: HttpLoad) -> None:
    """Wait until purchases are taken again."""
    before = len(load.taken)
    wait_until(lambda: len(load.taken) > before + 2_000, 90, "nothing is taken again")
