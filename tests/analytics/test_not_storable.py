"""Whatever stands on `analytics`: the events around it are stored, and `verify` counts it."""

import json
import uuid
from typing import Any

import pytest
from confluent_kafka import Producer

from streaming.errors import Mismatch
from streaming.status.collect import collect_status
from streaming.verification.verify import verify
from tests.deployment import Deployment
from tests.faults.raw import send_with_header

HONEST = 20
ODD_NAME = b"gr\xf6sse"


def purchase(number: int) -> bytes:
    """Return a valid purchase."""
    return json.dumps(
        {
            "event_id": str(uuid.UUID(int=number)),
            "user": "ada",
            "item": "tea",
            "timestamp": "2024-03-27T10:15:00Z",
            "quantity": 2,
            "unit_price": "2.50",
        }
    ).encode()


def send(deployment: Deployment, topic: str, records: list[tuple[bytes | None, list[Any]]]) -> None:
    """Send values with their headers, and wait until all are acknowledged."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for value, headers in records:
        producer.produce(deployment.topic(topic), value, b"\xff\0key", headers=headers)
    assert producer.flush(60) == 0


def attacks(event: dict[str, Any]) -> list[tuple[bytes | None, list[Any]]]:
    """Return what nobody can store, made of the `event` that the processor published.

    Headers of an origin count for an event of the topic of redriven records alone.
    """
    redriven = f"{event['source_topic']}.redrive"

    def change_event(**fields: object) -> bytes:
        return json.dumps({**event, "event_id": str(uuid.uuid4()), **fields}).encode()

    values: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe\x00garbage",
        b"[" * 100_000,
        b"[1]",
        change_event(quantity="2"),
        change_event(schema_version=0),
        change_event(schema_version=2**64),
        change_event(quantity=2**64),
        change_event(source_offset=-(2**64)),
        change_event(amount_micros=10**30),
        change_event(amount_micros=-5_000_000),
        change_event(kind="return"),
        change_event(quantity=0),
        change_event(unit_price_micros=None),
        change_event(currency="EUR"),
        change_event(source_topic="another.purchases"),
        change_event(event_time="9999-12-31T23:59:59.999999Z"),
        change_event(event_time="yesterday"),
        change_event(processed_at="2024-03-27T10:15:00"),
        change_event(description="d" * 900_000),
        change_event(item="i" * 129),
        change_event(item="a\0b"),
        change_event(user="\ud800"),
    ]
    return [
        *((value, []) for value in values),
        (
            change_event(source_topic=redriven),
            [("origin.topic", b"purchases"), ("origin.offset", b"x")],
        ),
    ]


def store_attacked(deployment: Deployment) -> int:
    """Store honest purchases before and after all attacks; return the number of attacks."""
    deployment.create_topics()
    send(deployment, "purchases", [(purchase(number), []) for number in range(HONEST)])
    deployment.process()
    published = json.loads(deployment.read_topic("analytics")[0].value() or b"")
    sent = attacks(published)
    send(deployment, "analytics", sent)
    odd = {**published, "source_topic": deployment.topic("purchases.redrive")}
    topic, value = deployment.topic("analytics"), json.dumps(odd).encode()
    send_with_header(deployment.bootstrap_servers, topic, b"k", value, ODD_NAME)
    send(deployment, "purchases", [(purchase(number), []) for number in range(HONEST, 2 * HONEST)])
    deployment.process()
    deployment.analyze()
    return len(sent) + 1


def differences(deployment: Deployment) -> list[str]:
    """Return what `verify` finds."""
    return verify(deployment.settings, lambda _what, _done, _total: None).examples


def problems(deployment: Deployment) -> list[str]:
    """Return the codes of the status's problems."""
    return [problem.code for problem in collect_status(deployment.settings, {}).problems]


def test_what_cannot_be_stored_is_a_dead_letter_of_its_origin(deployment: Deployment) -> None:
    """It stops nothing, is counted by all, is shown, is not redriven, and can be given up."""
    attacked = store_attacked(deployment)
    assert deployment.count("analytics_event") == 2 * HONEST
    dead_letters = deployment.rows(
        "SELECT DISTINCT origin_topic, state, reason, dlq_offset FROM dead_letter"
    )
    assert dead_letters == [(deployment.topic("analytics"), "open", "not_storable", None)]
    counts = "SELECT sum(records), sum(stored), sum(not_storable) FROM stream_offset"
    assert deployment.rows(counts) == [(2 * HONEST + attacked, 2 * HONEST, attacked)]
    assert differences(deployment) == []
    assert "not_storable" in problems(deployment)
    assert f"{attacked} not_storable" in deployment.succeed("dlq", "list")
    origin = "SELECT origin_partition || ':' || origin_offset FROM dead_letter WHERE detail LIKE ?"
    ((name,),) = deployment.rows(origin, "%'EUR'%")
    assert "its currency is 'EUR', not GBP" in deployment.succeed("dlq", "show", str(name))
    assert f"{attacked} not sent: records of analytics" in deployment.succeed("dlq", "redrive")
    deployment.succeed("dlq", "drop", "--reason", "not_storable", "--because", "forged", "--yes")
    assert "not_storable" not in problems(deployment)

    rows = deployment.rows("SELECT * FROM dead_letter ORDER BY 1, 2, 3")
    deployment.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
    deployment.analyze()
    assert deployment.rows("SELECT * FROM dead_letter ORDER BY 1, 2, 3") == rows
    assert differences(deployment) == []
    with deployment.writing() as store:
        store.execute("DELETE FROM dead_letter WHERE detail LIKE '%no analytics event%'")
    assert "and dead_letter has no row of it" in "\n".join(differences(deployment))


def test_a_newer_schema_still_stops_the_store(deployment: Deployment) -> None:
    """An upgrade reads it, so nothing of its batch is stored and its position is named."""
    deployment.create_topics()
    send(deployment, "analytics", [(b'{"schema_version":2}', [])])
    with pytest.raises(Mismatch, match=r"offset 0, cannot be stored: it has schema version 2"):
        deployment.analyze()
    assert deployment.count("dead_letter") == 0
