"""The page on a real stream: in a browser, over its API, and at its doors."""

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streaming.errors import UsageError
from streaming.page.address import required_token
from streaming.settings import Settings
from tests.browser import browser
from tests.page.served import code_of, get, page_of, post, send
from tests.pipeline import Deployment

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'; DROP TABLE analytics_event; --",
    "\u202egnp.exe",
    "🫖" * 128,
]
TOKEN = "a-token-of-thirty-two-characters!"


@pytest.mark.timeout(180)
def test_a_purchase_is_on_the_page_at_once_and_hostile_names_are_text(
    deployment: Deployment,
) -> None:
    """No console error, no request elsewhere, nothing that an event says is run."""
    with (
        deployment.running("process"),
        deployment.running("analyze"),
        page_of(deployment) as base,
        browser(base) as (page, errors, foreign),
    ):
        send(deployment, "a-lamp", quantity=3, unit_price="2.50")
        page.get_by_text("a-lamp").first.wait_for(timeout=15_000)
        assert page.locator("#items").inner_text() == "3"
        assert page.locator("#revenue").inner_text() == "7.50"
        send(deployment, *HOSTILE, unit_price="1")
        for item in HOSTILE:
            page.get_by_text(item, exact=False).first.wait_for(timeout=15_000)
        assert page.title() == "purchases"
        page.goto(f"{base}/#stream")
        page.get_by_text("caught up").first.wait_for(timeout=15_000)
        page.goto(f"{base}/#refused")
        page.get_by_text("Nothing is refused").wait_for(timeout=15_000)
        assert errors == []
        assert foreign == []


def test_the_same_figure_is_the_same_everywhere(deployment: Deployment) -> None:
    """API, live events, metrics, command line and SQL agree, to the micro."""
    deployment.succeed("produce", "--rate", "max", "--count", "500", "--bad-share", "0.1")
    deployment.succeed("process", "--until-caught-up")
    deployment.succeed("analyze", "--until-caught-up")
    with page_of(deployment) as base:
        totals = get(f"{base}/api/v1/totals")
        live = first_event(f"{base}/events")
        with urllib.request.urlopen(f"{base}/metrics", timeout=30) as answer:  # noqa: S310
            text = answer.read().decode()
        letters = get(f"{base}/api/v1/dead-letters")
        status = get(f"{base}/api/v1/status")
    line = json.loads(deployment.succeed("totals", "--json"))
    sums = "SELECT count(*), sum(quantity), sum(amount_micros) FROM analytics_event"
    expected = deployment.rows(sums)[0]
    for found in (totals, live, line):
        assert (found["events"], found["items_sold"], found["net_revenue_micros"]) == expected
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["purchases_stored_events_total",] == expected[0]
    refused = sum(v for key, v in samples.items() if key[0] == "purchases_refused_records")
    assert refused == sum(letters["counts"].values()) == totals["refused"] == live["refused"]
    assert status["database"]["refused"] == refused


def first_event(url: str) -> Any:  # noqa: ANN401 - any JSON
    """Give the first `now` event of the stream."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - ours
        for line in answer:
            if line.startswith(b"event: now"):
                return json.loads(answer.readline().removeprefix(b"data: "))
    raise AssertionError(url)


def test_dead_letters_are_shown_and_redriven_over_the_api(deployment: Deployment) -> None:
    """A dry run like the command's, then the real one; errors are problems (RFC 9457)."""
    send(deployment, "tea", unit_price=-1)
    deployment.succeed("process", "--until-caught-up")
    deployment.succeed("analyze", "--until-caught-up")
    with page_of(deployment) as base:
        letter = get(f"{base}/api/v1/dead-letters")["dead_letters"][0]
        shown = get(f"{base}/api/v1/dead-letters/{letter['id']}")
        assert bytes.fromhex(shown["value_hex"]) == shown["value"].encode()
        asked = {"reason": "invalid_price", "set": ["unit_price=1"]}
        assert post(f"{base}/api/v1/dead-letters/redrive", asked) == {
            "sent": False,
            "outcomes": {"stored": 1},
            "left": {},
        }
        post(f"{base}/api/v1/dead-letters/redrive", {**asked, "send": True})
        deployment.succeed("process", "--until-caught-up")
        deployment.succeed("analyze", "--until-caught-up")
        assert get(f"{base}/api/v1/totals")["events"] == 1
        assert post(f"{base}/api/v1/verify", {})["agrees"] is True
        assert code_of(f"{base}/api/v1/dead-letters/nonsense") == 400
        assert code_of(f"{base}/api/v1/dead-letters?state=shut") == 400


def test_foreign_hosts_and_origins_are_refused(deployment: Deployment) -> None:
    """Against DNS rebinding, and against other sites' pages."""
    with page_of(deployment) as base:
        assert code_of(f"{base}/", Host="evil.example") == 421
        assert code_of(f"{base}/api/v1/verify", "POST", Origin="http://evil.example") == 403
        assert code_of(f"{base}/", Host="localhost") == 200
        with urllib.request.urlopen(f"{base}/", timeout=10) as answer:  # noqa: S310
            assert "script-src 'self'" in answer.headers["content-security-policy"]
            assert b"<script>" not in answer.read()


def test_with_a_token_nothing_is_shown_without_it(deployment: Deployment) -> None:
    """By header, or by a cookie that scripts cannot read."""
    deployment.more["PURCHASES_DASHBOARD_TOKEN"] = TOKEN
    with page_of(deployment) as base:
        assert code_of(f"{base}/api/v1/totals") == 401
        assert code_of(f"{base}/metrics") == 401
        assert code_of(f"{base}/api/v1/totals", Authorization=f"Bearer {TOKEN}") == 200
        asked = urllib.request.Request(f"{base}/?token={TOKEN}")  # noqa: S310 - ours
        opener = urllib.request.build_opener(NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as answer:
            opener.open(asked, timeout=10)
        cookie = answer.value.headers["set-cookie"]
        assert answer.value.code == 303
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert code_of(f"{base}/", Cookie=cookie.split(";")[0]) == 200


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


@pytest.mark.parametrize(
    ("host", "token", "wrong"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("0.0.0.0", None, True),
        ("shop.example", None, True),
        ("0.0.0.0", "short", True),
        ("0.0.0.0", TOKEN, False),
        ("127.0.0.1", "short", True),
    ],
)
def test_another_address_than_loopback_needs_a_long_token(
    host: str,
    token: str | None,
    wrong: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """It refuses to start without, naming the setting."""
    settings = Settings(home=Path("nowhere"), dashboard_host=host, dashboard_token=token)
    if wrong:
        with pytest.raises(UsageError, match="DASHBOARD_TOKEN"):
            required_token(settings)
    else:
        assert required_token(settings) == token


def test_many_listeners_get_the_same_and_a_slow_one_holds_up_nobody(
    deployment: Deployment,
) -> None:
    """Fifty pages are open; one reads nothing at all."""
    with page_of(deployment) as base:
        slow = urllib.request.urlopen(f"{base}/events", timeout=60)  # noqa: S310 - ours
        found: list[int] = []

        def listen() -> None:
            found.append(first_event(f"{base}/events")["events"])

        threads = [threading.Thread(target=listen) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [0] * 50
        slow.close()
