"""Events in the archive, as the consumer meets their ids again."""

import json
import uuid
from datetime import date

import pytest
from confluent_kafka import Producer

from assets.builds.archive import archive_history
from tests.deployment import Deployment

pytestmark = pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")

PURCHASES = 40


def purchase(number: int) -> bytes:
    """Return a purchase of one of four days."""
    return json.dumps(
        {
            "event_id": str(uuid.UUID(int=number)),
            "user": f"user-{number % 3}",
            "item": "tea",
            "timestamp": f"2024-03-{20 + number % 4}T10:15:00Z",
            "quantity": 1,
            "unit_price": "2.50",
        }
    ).encode()


def send(deployment: Deployment, topic: str, values: list[bytes]) -> None:
    """Send values, and wait until all are acknowledged."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for value in values:
        producer.produce(deployment.topic(topic), value)
    assert producer.flush(60) == 0


def test_the_consumer_knows_archived_ids_and_corrects_what_they_stand_for(
    deployment: Deployment,
) -> None:
    """A purchase sent again changes nothing; a lower source makes its day rows, and wins."""
    deployment.create_topics()
    send(deployment, "purchases", [purchase(number) for number in range(PURCHASES)])
    deployment.process()
    deployment.analyze()
    assert deployment.count("analytics_event") == PURCHASES
    kept = deployment.settings.model_copy(update={"keep_events": 40})
    result = archive_history(kept, date(2030, 1, 1))
    assert not result.problems
    # The newest day stays, and that of the row stored last, which may be another.
    assert result.days in {2, 3}
    archived = result.events
    send(deployment, "purchases", [purchase(number) for number in range(PURCHASES)])
    deployment.process()
    deployment.analyze()
    assert deployment.count("archived_event") == archived
    assert deployment.count("analytics_event") == PURCHASES - archived
    rows = deployment.rows("SELECT date(min(epoch_day) * 86400, 'unixepoch') FROM archived_event")
    day = str(rows[0][0]).encode()
    first = json.loads(
        next(
            value
            for message in deployment.read_topic("analytics")
            if (value := message.value() or b"") and day in value
        )
    )
    send(
        deployment,
        "analytics",
        [
            json.dumps(
                {**first, "item": "x", "source_offset": 0}
                | {"source_timestamp": first["source_timestamp"] - 1_000}
            ).encode()
        ],
    )
    deployment.analyze()
    assert deployment.count("correction") == 1
    assert deployment.count("archived_event") == archived - PURCHASES // 4
    assert deployment.count("analytics_event") == PURCHASES - archived + PURCHASES // 4
