"""The API as a whole: attacked by its own document, and the rules that hold for every address."""

import asyncio
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from streaming.api.endpoint import bounded_handler
from tests.dashboard.server import code_of, get, send, serve_dashboard
from tests.deployment import Deployment

BY_DESIGN = "positive_data_acceptance,negative_data_rejection"
"""Dates in the wrong order fit the document, and a purchase that will be refused is taken, too.
"""


@pytest.mark.parametrize(
    ("phases", "examples"),
    [("fuzzing", 3), pytest.param("coverage,fuzzing", 10, marks=pytest.mark.faults)],
)
def test_schemathesis_finds_nothing_that_the_document_does_not_say(
    deployment: Deployment, phases: str, examples: int
) -> None:
    """Codes, types, problems and methods are as the document says, and nothing is a bug."""
    deployment.more["PURCHASES_HTTP_IN"] = "on"
    whole = deployment.whole()
    send(whole, "lamp", unit_price=-1)
    whole.process()
    whole.analyze()
    with serve_dashboard(whole) as base:
        done = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                *("run", f"{base}/openapi.json", "--checks", "all", "--seed", "1"),
                *("--exclude-checks", BY_DESIGN, "--max-examples", str(examples)),
                *("--phases", phases, "--request-timeout", "60"),
            ],
            cwd=deployment.home,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout


def test_the_topics_are_described_with_the_names_of_the_deployment(quiet_dashboard: str) -> None:
    """Beside OpenAPI; whether it is valid AsyncAPI is tested where it is made."""
    channels = get(f"{quiet_dashboard}/asyncapi.json")["channels"]
    addresses = [channel["address"].partition(".")[2] for channel in channels.values()]
    assert addresses == ["purchases", "purchases.redrive", "analytics", "purchases.dlq"]


def test_what_the_reader_has_is_not_sent_again(deployment: Deployment) -> None:
    """By its ETag; another answer has another one."""
    with serve_dashboard(deployment) as base:
        url = f"{base}/api/v1/dead-letters"
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - ours
            etag = answer.headers["etag"]
        assert code_of(url, **{"If-None-Match": etag}) == 304
        assert code_of(url, **{"If-None-Match": f'"other", W/{etag}'}) == 304
        assert code_of(url, **{"If-None-Match": '"other"'}) == 200


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("dead-letters?limit=0", 400, "limit"),
        ("dead-letters?limit=1&limit=2", 400, "twice"),
        ("dead-letters?key=a%00b", 400, "NUL"),
        ("dead-letters?colour=red", 400, "colour"),
        ("dead-letters/nonsense", 400, "dlq list"),
        ("dead-letters/AAAAAAAAAAAAAAAAAAAAAA:0:7", 404, "dlq list"),
        ("nothing", 404, "Not Found"),
        ("verify", 405, "Method Not Allowed"),
    ],
)
def test_what_is_wrong_is_named_in_problem_details(
    path: str, code: int, said: str, quiet_dashboard: str
) -> None:
    """As RFC 9457 has it: a type, a title, the status, and a detail that names what was wrong."""
    with pytest.raises(urllib.error.HTTPError) as answer:
        get(f"{quiet_dashboard}/api/v1/{path}")
    assert answer.value.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.value.read())
    assert answer.value.code == problem["status"] == code
    assert said in problem["detail"]
    assert problem["title"]


def test_one_request_too_many_is_answered_with_429() -> None:
    """429 with a time to wait, before anything is done; then its turn comes."""
    begun, going_on = threading.Event(), threading.Event()

    def answer(_request: Request, body: bytes) -> Response:
        begun.set()
        going_on.wait(60)
        return Response(body)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def all_three() -> list[Response]:
        handler = bounded_handler(answer, max_concurrent=1, max_body_bytes=1)
        request = {"type": "http", "method": "POST", "headers": []}
        first = asyncio.ensure_future(handler(Request(request, receive)))
        await asyncio.to_thread(begun.wait, 60)
        second = await handler(Request(request, receive))
        going_on.set()
        return [await first, second, await handler(Request(request, receive))]

    first, second, third = asyncio.run(all_three())
    assert [answer.status_code for answer in (first, second, third)] == [200, 429, 200]
    assert second.headers["retry-after"] == "1"
    assert second.media_type == "application/problem+json"


def test_dead_letters_come_in_pages_each_once(deployment: Deployment) -> None:
    """From the first page to the one that has no next."""
    for number in range(5):
        send(deployment, f"item-{number}", unit_price=-1)
    deployment.process()
    deployment.analyze()
    ids, offset = [], 0
    with serve_dashboard(deployment) as base:
        while offset is not None:
            page = get(f"{base}/api/v1/dead-letters?limit=2&offset={offset}")
            assert page["counts"] == {"invalid_price": 5}
            assert sum(count for _, _, count in page["by_day"]) == 5
            ids += [dead_letter["id"] for dead_letter in page["dead_letters"]]
            offset = page["next_offset"]
    assert len(ids) == len(set(ids)) == 5
