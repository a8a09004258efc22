"""What producers may do: bad records, large ones, the same again, in any order."""

import json
import random
import time
import uuid

import pytest
from confluent_kafka import Producer

from tests.deployment import Deployment
from tests.faults.table import inject_fault, keep
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until

LONG = pytest.mark.faults
DAY = 86_400_000


@pytest.mark.parametrize(
    "share", [pytest.param(0.6, marks=pytest.mark.injection), pytest.param(1.0, marks=LONG)]
)
def test_bad_records(deployment: Deployment, request: pytest.FixtureRequest, share: float) -> None:
    """However many are refused, the others go on and nothing is lost."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, 500, bad_share=share) as load:
            wait_until(lambda: len(load.sent.bad) > 1_000, 60, "no load")
        wait_until_quiet(deployment, load.sent)
    require_exactly_once(deployment, load.sent)
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), [])


@pytest.mark.faults
def test_records_of_a_megabyte_among_others(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    """They are refused as too large and kept, at their size."""
    with inject_fault(deployment, request) as injection:
        injection.await_flow()
        producer = Producer(
            {"bootstrap.servers": deployment.bootstrap_servers, "message.max.bytes": 2_000_000}
        )
        for number in range(20):
            value = json.dumps({"number": number, "user": "x" * 1_000_000}).encode()[:1_000_000]
            producer.produce(deployment.topic("purchases"), value, b"k")
            injection.load.sent.bad.add(value)
        assert producer.flush(120) == 0


@pytest.mark.faults
def test_event_times_of_other_days_and_a_clients_own_record_time(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    """Two days ahead is refused, two days back is stored, and the record's time says nothing."""
    now = int(time.time() * 1000)
    times = {"ahead": now + 2 * DAY, "back": now - 2 * DAY, "now": now}
    with inject_fault(deployment, request) as injection:
        injection.await_flow()
        producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
        for item, event_time in times.items():
            for order, record_time in enumerate((now, now - 300 * DAY, now + DAY // 48)):
                event = {"event_id": str(uuid.uuid4()), "user": item, "item": item}
                event["order_id"] = str(order)
                value = json.dumps({**event, "timestamp": event_time}).encode()
                topic = deployment.topic("purchases")
                producer.produce(topic, value, item.encode(), timestamp=record_time)
                if item == "ahead":
                    injection.load.sent.bad.add(value)
                else:
                    injection.load.sent.good[event["event_id"]] = item
        assert producer.flush(60) == 0
    stored = deployment.rows(
        "SELECT item, count(*), min(event_time) FROM analytics_event WHERE item NOT LIKE 'item-%'"
        " GROUP BY item ORDER BY item"
    )
    assert stored == [("back", 3, (now - 2 * DAY) * 1000), ("now", 3, now * 1000)]
    refused = "SELECT count(*) FROM dead_letter WHERE reason = 'timestamp_in_future'"
    assert deployment.rows(refused) == [(3,)]


@pytest.mark.parametrize("count", [5_000, pytest.param(50_000, marks=LONG)])
def test_identical_ids_are_stored_once(
    deployment: Deployment, request: pytest.FixtureRequest, count: int
) -> None:
    """A producer in a loop is no reason to count twice."""
    event = {
        "event_id": str(uuid.uuid4()),
        "user": "ada",
        "item": "tea",
        "timestamp": "2011-03-27T10:15:00Z",
    }
    value = json.dumps(event).encode()
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for _ in range(count):
        producer.produce(deployment.topic("purchases"), value, b"ada")
        producer.poll(0)
    assert producer.flush(60) == 0
    deployment.process()
    deployment.analyze()
    assert deployment.count("analytics_event") == 1
    assert deployment.rows("SELECT sum(duplicates), sum(conflicting) FROM stream_offset") == [
        (count - 1, 0)
    ]
    deployment.succeed("verify")
    keep(request, deployment, 1, [])


@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=LONG)])
def test_everything_again_shuffled_and_twice(
    deployment: Deployment, request: pytest.FixtureRequest, count: int
) -> None:
    """As a producer that dies between send and acknowledgement sends again; ids make it once."""
    chance = random.Random(5)
    values = [
        json.dumps(
            {
                "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "user": f"user-{number % 50}",
                "item": "tea",
                "timestamp": "2011-03-27T10:15:00Z",
                "quantity": number % 7 + 1,
            }
        ).encode()
        for number in range(count)
    ]
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for again in range(3):
        for value in values if again == 0 else chance.sample(values, len(values)):
            producer.produce(deployment.topic("purchases"), value, b"k")
            producer.poll(0)
    assert producer.flush(60) == 0
    deployment.process()
    deployment.analyze()
    sold = sum(number % 7 + 1 for number in range(count))
    assert deployment.rows("SELECT events, items_sold FROM live_totals") == [(count, sold)]
    deployment.succeed("verify")
    keep(request, deployment, count, [])
