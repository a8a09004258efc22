"""The connectors of docs/connect, on a real worker of Kafka Connect and a real PostgreSQL."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest

from streaming.events.topic_schemas import connect_schema
from streaming.settings import Settings
from streaming.status import connectors
from streaming.status.collect import collect_status
from streaming.status.connectors import read_connectors_section
from tests.connect.shop import count_arrived, purchase, require_agreement, sell
from tests.connect.worker import Connect, Worker, connector, running_connect
from tests.deployment import Deployment
from tests.support import free_port, wait_until


@pytest.fixture(scope="module")
def connect(worker: Worker) -> Iterator[Connect]:
    """The worker, which runs both connectors."""
    with running_connect(worker) as made:
        yield made


@pytest.mark.parametrize("name", ["analytics-to-postgres", "analytics-to-iceberg"])
def test_the_schema_of_a_sink_is_that_of_analytics(name: str) -> None:
    """What `purchases schemas show` prints stands in the file, for the topic is plain JSON."""
    content = json.loads(connector(name, {})["value.converter.schema.content"])
    assert content == connect_schema("analytics")


@pytest.mark.faults
@pytest.mark.usefixtures("connect")
def test_what_a_shop_sells_comes_into_its_postgres_exactly_once(
    deployment: Deployment, shop: psycopg.Connection
) -> None:
    """What it sells once or twice counts once, and what it rolls back does not count."""
    sales = [purchase(number) for number in range(200)]
    sell(shop, [*sales, sales[0]])
    with shop.transaction(force_rollback=True):
        sell(shop, [purchase(0)])
    wait_until(lambda: len(deployment.read_topic("purchases")) == 201, 60, "outbox not read")
    deployment.process()
    deployment.analyze()
    wait_until(lambda: count_arrived(shop) == 200, 60, "not all events came into PostgreSQL")
    records = deployment.read_topic("purchases")
    assert all(json.loads(each.value() or b"")["user"].encode() == each.key() for each in records)
    require_agreement(deployment, shop, len(sales))


@pytest.mark.faults
def test_a_failed_task_is_a_problem_that_names_how_to_start_it_again(
    connect: Connect, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two connectors that run, and of one whose database is not there."""
    monkeypatch.setattr(connectors, "CONNECT_SECONDS", 30.0)
    nowhere = f"jdbc:postgresql://127.0.0.1:{free_port()}/nowhere"
    topic = deployment.topic("analytics")
    changes = {"name": "to-nowhere", "topics": topic, "connection.url": nowhere}
    connect.put("/connectors/to-nowhere/config", connector("analytics-to-postgres", changes))
    settings = deployment.settings.model_copy(update={"connect_url": connect.url})

    def figures() -> dict[str, str | int | float | bool | None]:
        return collect_status(settings, {}).sections["connectors"].figures

    expected = {"answers": True, "connectors": 3, "tasks": 3, "failed_tasks": 1}
    wait_until(lambda: figures() == expected, 60, "no task failed")
    problem = collect_status(settings, {}).sections["connectors"].problems[0]
    assert problem.code == "connector_failed"
    assert problem.sentence.startswith("Task 0 of 'to-nowhere' in Kafka Connect has failed: ")
    assert f"{connect.url}/connectors/to-nowhere/restart?" in problem.remedy


def test_a_connect_that_does_not_answer_is_a_problem(deployment: Deployment) -> None:
    """Its worker may be down, or the setting wrong."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = deployment.settings.model_copy(update={"connect_url": url})
    section = collect_status(settings, {}).sections["connectors"]
    assert section.figures == {"answers": False}
    assert [problem.code for problem in section.problems] == ["connect_down"]
    assert url in section.problems[0].sentence


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([b'{"a":' * 100_000], "recursion"),
        ([b" " * 1_000_000] * 6, "over 4,194,304 bytes"),
        ([b" "] * 100, "no whole answer in 0.8 s"),
        ([b"\x1b[2Jno JSON"], "malformed"),
    ],
    ids=["deep", "long", "slow", "no_json"],
)
def test_whatever_connect_answers_the_status_is_there(
    parts: list[bytes], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the shop's own, but at that address may be anything."""
    if "no whole answer" not in why:
        # On a busy machine even what comes at once may take longer than the status waits.
        monkeypatch.setattr(connectors, "CONNECT_SECONDS", 30.0)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                for part in parts:
                    self.wfile.write(part)
                    # Between the parts of one that comes slowly; who asks goes away before its end.
                    time.sleep(0.1 if len(parts) > 10 else 0)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        section = read_connectors_section(Settings(connect_url=url))
        server.shutdown()
    assert section is not None
    assert section.figures == {"answers": False}
    (problem,) = section.problems
    assert why in problem.sentence
    assert problem.sentence.isprintable()
