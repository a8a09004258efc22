"""HTTP in on a real broker: taken when Kafka has it, stored once however often it is sent."""

import gzip
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from streaming.store.preparation import prepare_store
from tests.dashboard.server import get, serve_dashboard
from tests.deployment import Deployment
from tests.registry.test_client import answering

NDJSON = "application/x-ndjson"


def post(
    base: str,
    body: bytes,
    kind: str = "application/json",
    path: str = "purchases",
    **headers: str,
) -> tuple[int, Any]:
    """Send a body; give the code and the JSON that was answered."""
    url = f"{base}/api/v1/{path}"
    asked = urllib.request.Request(url, body, {"Content-Type": kind, **headers})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310 - ours
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.fixture
def ingest_deployment(deployment: Deployment) -> Deployment:
    """A deployment that takes purchases over HTTP."""
    deployment.more["PURCHASES_HTTP_IN"] = "on"
    return deployment


def test_what_is_sent_twice_is_stored_once_and_refusals_are_named(
    ingest_deployment: Deployment,
) -> None:
    """By the idempotency key; the answer says where each record is, and what will become of it."""
    now = int(time.time() * 1000)
    lamp = {"user": "ada", "item": "lamp", "timestamp": now, "unit_price": "2.50"}
    bad = [{**lamp, "unit_price": price} for price in ("-1", "1000000.01")]
    body = json.dumps([lamp, *bad, {**lamp, "item": "book"}]).encode()
    with serve_dashboard(ingest_deployment) as base:
        first = post(base, body, **{"Idempotency-Key": "order-1"})
        again = post(base, body, **{"Idempotency-Key": "order-1"})
        line = json.dumps({**lamp, "event_id": "0190a6f0-0000-7000-8000-000000000001"}).encode()
        third = post(base, line + b"\nno json\n", NDJSON)
        ingest_deployment.process()
        ingest_deployment.analyze()
        dead_letters = get(f"{base}/api/v1/dead-letters")["counts"]
    assert [code for code, _ in (first, again, third)] == [200, 200, 200]
    assert [r["refused"] for r in first[1]["records"]] == [
        None,
        "invalid_price",
        "invalid_price",
        None,
    ]
    assert [r["refused"] for r in third[1]["records"]] == [None, "malformed_json"]
    ids = {r["event_id"] for r in first[1]["records"] + third[1]["records"] if not r["refused"]}
    stored = ingest_deployment.rows("SELECT event_id FROM analytics_event_readable")
    assert {row[0] for row in stored} == ids
    assert ids >= {r["event_id"] for r in again[1]["records"] if not r["refused"]}
    assert dead_letters == {"invalid_price": 4, "malformed_json": 1}
    positions = {(r["partition"], r["offset"]) for r in first[1]["records"]}
    in_topic = {(m.partition(), m.offset()) for m in ingest_deployment.read_topic("purchases")}
    assert positions <= in_topic


def test_a_registry_that_is_away_is_asked_once_for_a_request(
    ingest_deployment: Deployment,
) -> None:
    """The records are in Kafka, and those that name no schema are judged."""
    with answering(b"") as (url, requests):
        ingest_deployment.more["PURCHASES_SCHEMA_REGISTRY_URL"] = url
        with serve_dashboard(ingest_deployment) as base:
            code, receipt = post(base, b"\0\0\0\0\7x\n" * 50 + b"no json\n", NDJSON)
    assert (code, len(requests)) == (200, 1)
    assert [one["refused"] for one in receipt["records"]] == [None] * 50 + ["malformed_json"]


def test_http_in_is_off_unless_it_is_switched_on(deployment: Deployment) -> None:
    """It says which setting opens it, also if the records are wrong."""
    with serve_dashboard(deployment) as base:
        answers = [post(base, body, **{"Idempotency-Key": "k"}) for body in (b"{}", b"not JSON")]
    for code, problem in answers:
        assert code == 404
        assert "PURCHASES_HTTP_IN" in problem["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip"])
def test_a_compressed_body_is_415_naming_its_encoding(quiet_dashboard: str, encoding: str) -> None:
    """It is not taken for broken JSON; without the header the same body would be answered."""
    packed = gzip.compress(b'{"user": "ada"}')
    code, problem = post(quiet_dashboard, packed, **{"Content-Encoding": encoding})
    assert (code, problem["status"]) == (415, 415)
    assert repr(encoding) in problem["detail"]
    assert post(quiet_dashboard, b"{}", **{"Content-Encoding": "identity"})[0] != 415


def test_before_a_broker_ever_ran_purchases_and_verify_are_503(tmp_path: Path) -> None:
    """Who sends purchases is to send them again, and no bug is reported."""
    own = Deployment(tmp_path, "", "", {"PURCHASES_HTTP_IN": "on"})
    prepare_store(own.settings)
    with serve_dashboard(own) as base:
        for path in ("purchases", "verify"):
            code, problem = post(base, b"{}", path=path, **{"Idempotency-Key": "order-1"})
            assert (code, problem["status"]) == (503, 503), problem
            assert "purchases broker start" in problem["detail"]


def test_too_much_at_once_is_413_and_other_sites_are_refused(ingest_deployment: Deployment) -> None:
    """As the browser's own rules do not hold for everything that is sent."""
    with serve_dashboard(ingest_deployment) as base:
        code, problem = post(base, b" " * (17 * 1024 * 1024))
        assert (code, problem["status"]) == (413, 413)
        url = f"{base}/api/v1/purchases"
        asked = urllib.request.Request(url, b"{}", {"Origin": "http://evil.example"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked, timeout=120)  # noqa: S310 - ours
