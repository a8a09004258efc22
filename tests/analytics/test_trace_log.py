"""A W3C trace context is carried from a producer's record to the log line of its stored row."""

import json
from typing import Any

from confluent_kafka import Producer

from streaming.kafka.records import headers_of
from tests.deployment import Deployment

TRACED = [f"00-4bf92f3577b34da6a3ce929d0e0e470{n}-00f067aa0ba902b7-01" for n in range(3)]
COMMON = ("level", "timestamp", "app", "slot", "pid")
# None of them can be in a time or among hexadecimal digits.
SECRETS = ["greta", "a-lamp", "98.76"]


def send(deployment: Deployment, event_id: str, *headers: str, **fields: object) -> None:
    """Send a purchase, with a `traceparent` header for each that is given."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    user, item, price = SECRETS
    event: dict[str, object] = {
        "event_id": event_id,
        "user": user,
        "item": item,
        "unit_price": price,
    }
    event |= {"timestamp": "2024-03-01T10:00:00Z", **fields}
    carried: list[tuple[str, str | bytes | None]] = [("traceparent", h.encode()) for h in headers]
    producer.produce(
        deployment.topic("purchases"), json.dumps(event).encode(), b"ada", headers=carried
    )
    assert producer.flush(60) == 0


def uuid(number: int) -> str:
    """Return an event id."""
    return f"01890a5d-ac96-774b-bcce-{number:012d}"


def stored_lines(deployment: Deployment) -> list[dict[str, Any]]:
    """Drain the stream; give what the consumer's worker logged of stored events."""
    deployment.process()
    done = deployment.run("analyze", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    for secret in SECRETS:
        assert secret not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "stored"]


def traces_on(deployment: Deployment, topic: str) -> list[str]:
    """Return the traceparent headers of a topic's records."""
    return [
        (value or b"").decode()
        for message in deployment.read_topic(topic)
        for name, value in headers_of(message)
        if name == "traceparent"
    ]


def test_a_trace_reaches_analytics_the_dead_letters_and_the_stored_row(
    deployment: Deployment,
) -> None:
    """One line for each stored row that had one; nothing of the user, the item, the value."""
    deployment.more["PURCHASES_LOG_LEVEL"] = "debug"
    send(deployment, uuid(1), TRACED[0])
    send(deployment, uuid(2))
    send(deployment, uuid(3), TRACED[1], quantity=0)
    send(deployment, uuid(4), "greta bought a-lamp")
    lines = stored_lines(deployment)
    assert [(line["event_id"], line["traceparent"]) for line in lines] == [(uuid(1), TRACED[0])]
    assert lines[0]["level"] == "debug"
    assert lines[0].keys() == {"event", "event_id", "traceparent", *COMMON}
    assert sorted(traces_on(deployment, "analytics")) == [TRACED[0], "greta bought a-lamp"]
    assert traces_on(deployment, "purchases.dlq") == [TRACED[1]]
    send(deployment, uuid(1), TRACED[2])
    assert stored_lines(deployment) == [], "a duplicate is not stored again"
    assert deployment.count("analytics_event") == 3


def test_without_debug_no_line_is_logged(deployment: Deployment) -> None:
    """It would be a line for every purchase."""
    send(deployment, uuid(1), TRACED[0])
    assert stored_lines(deployment) == []
    assert deployment.count("analytics_event") == 1
