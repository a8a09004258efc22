"""What docs/monitoring asks of Prometheus and Grafana, against the metrics of a real stream."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assets.queries.status_section import read_tables_section
from streaming.dashboard.metrics import metrics_text
from streaming.status.collect import collect_status
from streaming.store.connection import read_store
from streaming.store.live_totals import live_figures
from tests.dashboard.server import send, serve_dashboard
from tests.deployment import Deployment
from tests.support import Broker, unique_namespace, wait_until

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
RULES = MONITORING / "alerts.yaml"
NAME = re.compile(r"\bpurchases_[a-z_]+\b")
PURCHASES = 300
SAME_PURCHASES = ["--rate", "max", "--seed", "1", "--start", "2024-03-01", "--bad-share", "0.1"]


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run Prometheus' tool; it must find nothing wrong."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def deployment(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stream that runs, and has stored, refused and known purchases."""
    made = Deployment(tmp_path_factory.mktemp("home"), broker.bootstrap_servers, unique_namespace())
    made.create_topics()
    made.succeed("db", "upgrade")
    with made.running("process"), made.running("analyze"):
        send(made, "lamp", price=1)
        for _ in range(2):
            made.succeed("produce", "--count", str(PURCHASES), *SAME_PURCHASES)
        read = "SELECT sum(records) FROM stream_offset WHERE topic LIKE '%.analytics'"
        expected = "2 * (SELECT events FROM live_totals) - 1"
        statement = f"SELECT 1 FROM stream_offset WHERE ({read}) = {expected}"
        wait_until(lambda: made.rows(statement), 60, "not all is stored")
        wait_until(lambda: caught_up(made), 60, "no worker has said that it caught up")
        yield made


def caught_up(deployment: Deployment) -> bool:
    """Return whether both workers did, by their files."""
    files = [deployment.home / "workers" / f"{app}-0.json" for app in ("processor", "analytics")]
    return all(json.loads(file.read_bytes())["state"] == "caught_up" for file in files)


@pytest.fixture(scope="module")
def text(deployment: Deployment) -> bytes:
    """The metrics, with what the tables add."""
    with read_store(deployment.settings) as store:
        live = live_figures(store)
    text = b""

    def is_whole() -> bool:
        nonlocal text
        status = collect_status(deployment.settings, {"tables": read_tables_section})
        text = metrics_text(status, live, {"invalid_price": 1})
        return b"purchases_seconds_until_deleted{" in text

    # A broker that is busy does not say in time how long it keeps records.
    wait_until(is_whole, 60, "the broker never said how long it keeps records")
    return text


def samples(text: bytes) -> dict[str, float]:
    """Return the sum of each sample name over its labels."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0) + sample.value
    return values


def expressions(board: Any) -> list[str]:  # noqa: ANN401 - any JSON
    """Return the queries of the board, with its variables filled in."""
    expressions = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", ())
    ]
    return [e.replace("$__rate_interval", "1m").replace("$instance", ".*") for e in expressions]


def test_the_metrics_follow_the_conventions(text: bytes) -> None:
    """By Prometheus' own judgement."""
    assert promtool("check", "metrics", given=text) == ""


def test_over_http_the_histogram_has_each_stored_event_once(deployment: Deployment) -> None:
    """Duplicates were stored before, and do not count; history counts by when it was sent."""
    with (
        serve_dashboard(deployment) as base,
        urllib.request.urlopen(f"{base}/metrics", timeout=120) as answer,  # noqa: S310 - ours
    ):
        text = answer.read()
    values, name = samples(text), "purchases_produced_to_stored_seconds"
    stored = values["purchases_stored_events_total"]
    assert values["purchases_duplicate_events_total"] == stored - 1
    assert 'purchases_unknown_fields_total{field="price",host="",slot="0"} 1.0' in text.decode()
    assert values["purchases_without_price_ratio"] == round(1 / (2 * stored - 1), 6)
    assert values[f"{name}_count"] == values["purchases_stored_events_total"] > PURCHASES / 2
    buckets = [
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == f"{name}_bucket"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == buckets[-2] == values[f"{name}_count"]
    assert 0 < values[f"{name}_sum"] < 3_600 * PURCHASES
    assert promtool("check", "metrics", given=text) == ""


def test_what_the_tables_say_is_among_the_metrics(deployment: Deployment, text: bytes) -> None:
    """Nothing was built yet, so every day of the ledger is behind."""
    values = samples(text)
    assert values["purchases_daily_partitions_behind"] == deployment.count("day_ledger") > 0
    assert values["purchases_failed_builds"] == 0


def test_every_metric_that_rules_and_board_name_is_there(text: bytes) -> None:
    """A metric that is renamed would leave an alert that never fires."""
    there = set(samples(text))
    board = json.loads((MONITORING / "grafana.json").read_text())
    for query in [*re.findall(r"expr: .*", RULES.read_text()), *expressions(board)]:
        assert set(NAME.findall(query)) <= there, query
    named = set(NAME.findall(RULES.read_text() + json.dumps(board)))
    page = set(NAME.findall((MONITORING.parent / "monitoring.md").read_text()))
    families = {family.name for family in text_string_to_metric_families(text.decode())}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in page} == families
    assert named <= there


def test_the_rules_are_right_and_fire_when_they_should() -> None:
    """Each has a test of its own, and says what to do with a command."""
    promtool("check", "rules", RULES)
    promtool("test", "rules", MONITORING / "alerts_test.yaml")
    promtool("check", "config", "--syntax-only", MONITORING / "prometheus.yml")
    rules = re.findall(r"- alert: (\w+)(.*?)(?=- alert|\Z)", RULES.read_text(), re.DOTALL)
    assert len(rules) == 16
    tested = (MONITORING / "alerts_test.yaml").read_text()
    page = (MONITORING.parent / "monitoring.md").read_text()
    for name, rule in rules:
        assert f'alertname="{name}"' in tested
        assert f"`{name}`" in page
        assert re.search(r"remedy: .*`purchases ", rule), name
        assert "summary: " in rule
        assert "description: " in rule


def test_the_board_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each query is parsed as a rule; no panel lies on another."""
    board = json.loads((MONITORING / "grafana.json").read_text())
    queries = expressions(board)
    lines = [f"  - record: q:q{n}\n    expr: {json.dumps(q)}\n" for n, q in enumerate(queries)]
    rules = tmp_path / "board.yaml"
    rules.write_text("groups:\n- name: board\n  rules:\n" + "".join(lines))
    assert f"{len(queries)} rules found" in promtool("check", "rules", rules)
    rectangles = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y)
        for rectangle in rectangles
        for x in range(rectangle["x"], rectangle["x"] + rectangle["w"])
        for y in range(rectangle["y"], rectangle["y"] + rectangle["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    sources = {json.dumps(panel.get("datasource")) for panel in board["panels"]} - {"null"}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
