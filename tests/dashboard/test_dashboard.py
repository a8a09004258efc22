"""The dashboard on a real stream: in a browser, over its API, and for those it refuses."""

import gzip
import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page
from prometheus_client.parser import text_string_to_metric_families

from assets.builds.builder import open_builder
from assets.tables.models import WHOLE
from assets.tables.transforms import WHOLE_TRANSFORMS
from streaming.dashboard.app import STATIC
from tests.browser import open_page
from tests.dashboard.server import code_of, get, post, send, serve_dashboard
from tests.deployment import Deployment
from tests.registry.test_client import answer, answering
from tests.support import wait_until

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'; DROP TABLE analytics_event; --",
    "\u202egnp.exe",
    "🫖" * 128,
]
FRAMED: dict[str, object] = {
    "user": "ada",
    "item": "tea",
    "timestamp": "2025-11-24T12:00:00Z",
    "unit_price": -1,
}
FRAMING = "magic byte 0, schema id 7"
TOKEN = "a-token-of-thirty-two-characters!"


def test_a_tab_that_was_cut_off_catches_up_by_itself(
    deployment: Deployment, running: Browser
) -> None:
    """The server is killed and comes back; what was stored meanwhile is shown without a reload."""
    with ExitStack() as opened:
        for app in ("process", "analyze"):
            opened.enter_context(deployment.running(app))
        with serve_dashboard(deployment) as base:
            page, _, _ = opened.enter_context(open_page(running, base))
            send(deployment, "before", unit_price="1")
            page.get_by_text("before", exact=True).first.wait_for()
        send(deployment, "meanwhile", unit_price="2")
        wait_until(lambda: deployment.count("analytics_event") == 2, 60, "it is not stored")
        with serve_dashboard(deployment) as again:
            assert again == base
            page.get_by_text("meanwhile", exact=True).first.wait_for()
            assert page.locator("#revenue").inner_text() == "3.00"


class Figures(NamedTuple):
    """What is compared; `revenue` in micros."""

    events: int
    items_sold: int
    revenue: int


def test_a_purchase_is_shown_at_once_and_hostile_names_are_text(
    deployment: Deployment, running: Browser
) -> None:
    """No console error, no request elsewhere, nothing that an event says is run."""
    with (
        deployment.running("process"),
        deployment.running("analyze"),
        serve_dashboard(deployment) as base,
        open_page(running, base) as (page, errors, foreign),
    ):
        send(deployment, "a-lamp", quantity=3, unit_price="2.50", price=3, **{HOSTILE[1]: 1})
        page.get_by_text("a-lamp").first.wait_for()
        assert page.locator("#items").inner_text() == "3"
        assert page.locator("#revenue").inner_text() == "7.50"
        send(deployment, *HOSTILE, unit_price="1")
        for item in HOSTILE:
            page.get_by_text(item, exact=False).first.wait_for()
        assert page.title() == "purchases"
        page.goto(f"{base}/#stream")
        page.get_by_text("caught up").first.wait_for()
        page.get_by_text("did you mean unit_price?").wait_for()
        page.locator("#unknown-fields").get_by_text(HOSTILE[1]).wait_for()
        follow_a_test_purchase(page)
        page.goto(f"{base}/#rejected")
        page.get_by_text("Nothing is refused").wait_for()
        assert errors == []
        # Last, because Chromium reports each answer 400 as an error.
        ask_in_sql(page, base)
        assert foreign == []


def follow_a_test_purchase(page: Page) -> None:
    """Send one from Stream, follow its path to the database, and look at its record and others."""
    page.locator("#hour canvas").wait_for()
    page.get_by_text("Send a test purchase").click()
    page.get_by_text("the database has it").wait_for()
    page.locator("#paths button.link").nth(1).click()
    page.locator("#peeked").get_by_text('"item":"test-purchase"').wait_for()
    page.locator("#peek-topic").select_option("purchases")
    page.locator("#peek-offset").fill("")
    page.locator("#peek button").click()
    page.locator("#peeked").get_by_text(HOSTILE[2]).wait_for()
    page.locator("#path-name").fill("ada")
    page.locator("#path").get_by_text("Find").click()
    page.locator("#paths").get_by_text("a-lamp").wait_for()


def ask_in_sql(page: Page, base: str) -> None:
    """Run an example, download the answer, and read what is wrong with another question."""
    page.goto(f"{base}/#sql")
    page.locator("#sql-example").select_option("Most sold items")
    page.locator("#sql-text").press("Control+Enter")
    page.locator("#sql-table").get_by_text(HOSTILE[0]).wait_for()
    with page.expect_download() as downloaded:
        page.locator("#sql-csv").click()
    assert "test-purchase" in downloaded.value.path().read_text()
    page.locator("#sql-text").fill("DELETE FROM analytics_event")
    page.locator("#sql").get_by_text("Run").click()
    page.get_by_text(re.compile("SQL may only read .*: (a change|DELETE) is refused.")).wait_for()
    page.locator("#sql-table").wait_for(state="hidden")


def test_the_same_figure_is_the_same_everywhere_under_load(
    deployment: Deployment, running: Browser
) -> None:
    """Dashboard, API, live events, metrics, command line, table and SQL agree to the micro.

    Each names the number of events that it stands for; SQL sums up as many, in their order.
    """
    whole = deployment.whole()
    with (
        whole.running("process"),
        whole.running("analyze"),
        whole.running("produce", "--rate", "500", "--bad-share", "0.05"),
        serve_dashboard(whole) as base,
        open_page(running, base) as (page, errors, _),
    ):
        wait_until(lambda: deployment.count("analytics_event") > 1_000, 60, "nothing is stored")
        with open_builder(deployment.settings, "run") as builder:
            builder.build(WHOLE, WHOLE_TRANSFORMS)
        for _ in range(5):
            require_same(deployment, figures_everywhere(whole, base, page))
        assert errors == []


def figures_everywhere(deployment: Deployment, base: str, page: Page) -> dict[str, Figures]:
    """Ask everyone for events, items sold, net revenue in micros."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=120) as answer:  # noqa: S310 - ours
        text = answer.read().decode()
    samples = {
        sample.name: int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    names = ("stored_events_total", "items_sold", "net_revenue_micros")
    said = re.findall(r"\d[\d,.]*", page.locator("#all-time").inner_text())
    summary = "SELECT events, items_sold, net_revenue_micros FROM sales_summary"
    return {
        "dashboard": Figures(number(said[0]), number(said[1]), number(said[2]) * 10_000),
        "totals over HTTP": figures_of(get(f"{base}/api/v1/totals")),
        "live over HTTP": figures_of(get(f"{base}/api/v1/live")),
        "event": figures_of(first_event(f"{base}/events")),
        "metrics": Figures(*(samples[f"purchases_{name}"] for name in names)),
        "command": figures_of(json.loads(deployment.succeed("totals", "--json"))),
        "table": sql(deployment, summary),
    }


def require_same(deployment: Deployment, by_source: dict[str, Figures]) -> None:
    """Each is the sum of as many events as it names; the dashboard shows two decimals."""
    sums = "SELECT count(*), sum(quantity), sum(coalesce(amount_micros, 0)) FROM"
    for name, figures in by_source.items():
        some = f"(SELECT * FROM analytics_event ORDER BY rowid LIMIT {figures.events})"
        expected = sql(deployment, f"{sums} {some}")
        if name == "dashboard":
            expected = expected._replace(revenue=expected.revenue // 10_000 * 10_000)
        assert figures == expected, name


def sql(deployment: Deployment, statement: str) -> Figures:
    """Return the one row of a statement."""
    events, items_sold, revenue = (int(str(value)) for value in deployment.rows(statement)[0])
    return Figures(events, items_sold, revenue)


def figures_of(content: dict[str, int]) -> Figures:
    """Return the figures of an answer."""
    return Figures(content["events"], content["items_sold"], content["net_revenue_micros"])


def number(text: str) -> int:
    """Read a number with commas, and points left out."""
    return int(re.sub(r"[,.]", "", text.rstrip(",.")))


def test_dead_letters_are_counted_alike_everywhere(deployment: Deployment) -> None:
    """By the API, the metrics, the live events and the status."""
    deployment.succeed("produce", "--rate", "max", "--count", "500", "--bad-share", "0.1")
    deployment.process()
    deployment.analyze()
    with serve_dashboard(deployment) as base:
        live = first_event(f"{base}/events")
        with urllib.request.urlopen(f"{base}/metrics", timeout=120) as answer:  # noqa: S310 - ours
            text = answer.read().decode()
        dead_letters = get(f"{base}/api/v1/dead-letters")
        status = get(f"{base}/api/v1/status")
    refused = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "purchases_refused_records"
    )
    assert refused == sum(dead_letters["counts"].values()) == live["refused"] > 0
    assert status["database"]["refused"] == refused


def first_event(url: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the first `now` event of the stream."""
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - ours
        for line in answer:
            if line.startswith(b"event: now"):
                return json.loads(answer.readline().removeprefix(b"data: "))
    raise AssertionError(url)


def test_dead_letters_are_shown_and_redriven_over_the_api(
    deployment: Deployment, running: Browser
) -> None:
    """A dry run like the command's, then the real one; errors are problems (RFC 9457).

    The record is framed for a schema registry, which its view says, with its JSON. That a real
    registry is asked is tested in `tests.registry`.
    """
    with answering(answer(b"200 OK", b'{"schema": "{}", "schemaType": "JSON"}')) as (url, _):
        with_registry = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": url})
        redrive_a_framed_purchase(with_registry, running)


def redrive_a_framed_purchase(deployment: Deployment, running: Browser) -> None:
    """Refuse one, look at it, and send it again over the API and on the page."""
    send_framed(deployment, FRAMED)
    deployment.process()
    deployment.analyze()
    with (
        serve_dashboard(deployment) as base,
        open_page(running, f"{base}/#rejected") as (page, errors, _),
    ):
        dead_letter = get(f"{base}/api/v1/dead-letters")["dead_letters"][0]
        shown = get(f"{base}/api/v1/dead-letters/{dead_letter['id']}")
        assert bytes.fromhex(shown["value_hex"]) == shown["value"].encode()
        assert (shown["framing"], json.loads(shown["decoded"])) == (FRAMING, FRAMED)
        asked = {"reason": "invalid_price", "set": ["unit_price=1"]}
        assert post(f"{base}/api/v1/dead-letters/redrive", asked) == {
            "sent": False,
            "outcomes": {"stored": 1},
            "left": {},
        }
        day = dead_letter["refused_at"][:10]
        for where in ({"key": "eve"}, {"to": "2020-01-01"}, {"from": "9999-12-31"}):
            assert post(f"{base}/api/v1/dead-letters/redrive", where)["outcomes"] == {}
        named = {
            "key": "ada",
            "from": day,
            "to": day,
            "ids": [dead_letter["id"]],
            "valid_only": True,
        }
        assert post(f"{base}/api/v1/dead-letters/redrive", named)["left"] == {"invalid_price": 1}
        redrive_on_the_page(page)
        assert errors == []
        deployment.process()
        deployment.analyze()
        assert get(f"{base}/api/v1/totals")["events"] == 1
        assert post(f"{base}/api/v1/verify", {})["agrees"] is True
        assert code_of(f"{base}/api/v1/dead-letters/nonsense") == 400
        assert code_of(f"{base}/api/v1/dead-letters?state=shut") == 400


def send_framed(deployment: Deployment, purchase: dict[str, object]) -> None:
    """Send a purchase as a serializer of JSON Schema does, behind its schema's id."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    value = b"\0\0\0\0\7" + json.dumps(purchase).encode()
    producer.produce(deployment.topic("purchases"), value, b"ada")
    assert producer.flush(60) == 0


def redrive_on_the_page(page: Page) -> None:
    """Open the record, choose it, see that it would come back, repair it, and confirm."""
    page.locator("#dead-letters button.link").click()
    page.locator("#dead-letter").get_by_text("purchases dlq show -- ").wait_for()
    facts = page.locator("#dead-letter-facts")
    assert facts.get_by_text(FRAMING, exact=True).is_visible()
    assert facts.get_by_text(json.dumps(FRAMED), exact=True).is_visible()
    assert "id=" in page.url
    page.locator("#dead-letters button.link").click()
    page.locator("#dead-letter").wait_for(state="hidden")
    page.locator("#dead-letters input").check()
    page.locator("#preview").click()
    page.get_by_text("0 would be stored, 1 left (price not valid).").wait_for()
    assert page.locator("#send").is_disabled()
    page.locator("#rule-value").fill("1")
    page.locator("#preview").click()
    page.get_by_text("Send 1 again", exact=True).click()
    page.get_by_text("Send 1 again, with unit_price=1?").wait_for()
    page.locator("#confirm-send").click()
    page.get_by_text("1 sent again, will be stored.").wait_for()


def test_the_first_load_is_small(deployment: Deployment) -> None:
    """All that a browser loads before the first figure, as it is sent: under 300 KB."""
    with serve_dashboard(deployment) as base:
        html = read_compressed(f"{base}/")
        named = re.findall(r'(?:src|href)="(/static/[^"]+)"', gzip.decompress(html).decode())
        assert len(named) > 8
        sizes = [len(html), *(len(read_compressed(base + path)) for path in set(named))]
    assert sum(sizes) < 300_000


def read_compressed(url: str) -> bytes:
    """Return what a browser that takes gzip gets; what is not compressed, compressed."""
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310 - ours
    with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310
        content: bytes = answer.read()
        is_small = answer.headers["content-encoding"] != "gzip"
    return gzip.compress(content) if is_small else content


def test_foreign_hosts_and_origins_are_refused(deployment: Deployment) -> None:
    """Against DNS rebinding, and against other sites."""
    with serve_dashboard(deployment) as base:
        assert code_of(f"{base}/", Host="evil.example") == 421
        assert code_of(f"{base}/api/v1/verify", "POST", Origin="http://evil.example") == 403
        assert code_of(f"{base}/", Host="localhost") == 200
        with urllib.request.urlopen(f"{base}/", timeout=120) as answer:  # noqa: S310
            assert "script-src 'self'" in answer.headers["content-security-policy"]
            assert b"<script>" not in answer.read()


def test_with_a_token_nothing_is_shown_without_it(deployment: Deployment) -> None:
    """By header, or by a cookie that scripts cannot read."""
    deployment.more["PURCHASES_DASHBOARD_TOKEN"] = TOKEN
    with serve_dashboard(deployment) as base:
        assert code_of(f"{base}/api/v1/totals") == 401
        assert code_of(f"{base}/metrics") == 401
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{base}/api/v1/totals")
        assert refused.value.headers["content-type"] == "application/problem+json"
        assert code_of(f"{base}/api/v1/totals", Authorization=f"Bearer {TOKEN}") == 200
        asked = urllib.request.Request(f"{base}/?token={TOKEN}")  # noqa: S310 - ours
        opener = urllib.request.build_opener(NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as answer:
            opener.open(asked, timeout=120)
        cookie = answer.value.headers["set-cookie"]
        assert answer.value.code == 303
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert code_of(f"{base}/", Cookie=cookie.split(";")[0]) == 200


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def test_many_clients_get_the_same_and_a_slow_one_delays_nobody(
    deployment: Deployment,
) -> None:
    """Fifty pages are open; one reads nothing at all."""
    with serve_dashboard(deployment) as base:
        slow = urllib.request.urlopen(f"{base}/events", timeout=120)  # noqa: S310 - ours
        answers: list[int] = []

        def listen() -> None:
            answers.append(first_event(f"{base}/events")["events"])

        threads = [threading.Thread(target=listen) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert answers == [0] * 50
        slow.close()


def test_the_chart_library_is_the_published_one() -> None:
    """Byte for byte, so that a change of it is seen."""
    for line in (STATIC / "uPlot.sha256").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest, name
