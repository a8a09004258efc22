"""The result does not depend on the way: the same input always gives the same database."""

import hashlib
import json
import random
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streaming.analytics.app import AnalyticsConsumerApp
from streaming.kafka.records import headers_of
from streaming.processor.app import PurchaseProcessorApp
from tests.deployment import Deployment
from tests.kills import kill_workers
from tests.load import Sent
from tests.oracle import wait_until_quiet
from tests.support import Broker, wait_until

EVENTS = 200
"""More than a batch of 100, and few: batches of 1 take two transactions each."""
COMPARED = {
    "analytics_event": 'event_id, event_time, kind, "user", item, quantity, unit_price_micros,'
    " amount_micros, currency, order_id, description, country",
    "live_totals": "events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events",
    "live_item_totals": "item, events, items_sold, gross_revenue_micros, net_revenue_micros",
    "day_ledger": "day, events, items_sold, net_revenue_micros",
}


@dataclass(frozen=True)
class Way:
    """One way to run the same input."""

    batch: int = 5_000
    slots: int = 1
    kills: int = 0
    times_sent: int = 1


COMBINED = {
    "batches of 20,000": Way(batch=20_000),
    "batches of 100, good records sent twice": Way(batch=100, times_sent=2),
    "two slots, with restarts": Way(slots=2, kills=2),
}
EACH = {
    "batches of 1": Way(batch=1),
    "batches of 100": Way(batch=100),
    "batches of 20,000": Way(batch=20_000),
    "two slots": Way(slots=2),
    "with restarts": Way(kills=2),
    "good records sent twice": Way(times_sent=2),
}


def purchases() -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Return the same good and refused purchases each time: (key, value) each."""
    chance = random.Random(5)
    good, bad = [], []
    for number in range(EVENTS):
        user = f"user-{chance.randrange(40)}"
        fields = {
            "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "user": user if chance.random() < 0.8 else None,
            "item": f"item-{chance.randrange(30)}",
            "timestamp": 1_300_000_000_000 + chance.randrange(20 * 86_400_000),
            "quantity": chance.choice([-1, 1, 2, 12]),
            "unit_price": chance.choice(["0", "0.85", "12.5", None]),
            "order_id": f"order-{number // 3}",
        }
        if number % 50 == 0:
            bad.append((user, json.dumps({**fields, "quantity": 0}).encode()))
        else:
            good.append((user, json.dumps(fields).encode()))
    return good, bad


def send_purchases(deployment: Deployment, times: int) -> Sent:
    """Send the good purchases so many times, and the refused ones once."""
    good, bad = purchases()
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "partitioner": "murmur2_random"}
    )
    for key, value in good * times + bad:
        producer.produce(deployment.topic("purchases"), value, key)
    assert producer.flush(60) == 0
    return Sent({json.loads(value)["event_id"]: key for key, value in good}, {v for _, v in bad})


def run_one_way(deployment: Deployment, way: Way) -> str:
    """Run the input one way, and give the digest of what it left."""
    deployment.succeed("db", "upgrade")
    sent = send_purchases(deployment, way.times_sent)
    with ExitStack() as ways:
        if way.kills or way.slots > 1:
            # Partitions are shared, and a killed worker comes back, only among processes.
            ways.enter_context(deployment.running("process", "--slots", str(way.slots)))
            ways.enter_context(deployment.running("analyze"))
            kill_workers(deployment, ["processor", "analytics"], way.kills, lambda: True)
        else:
            patch = ways.enter_context(pytest.MonkeyPatch.context())
            for app in PurchaseProcessorApp, AnalyticsConsumerApp:
                patch.setattr(app, "batch_records", way.batch)
            deployment.process()
            deployment.analyze()
        wait_until_quiet(deployment, sent, 150)
        read = "SELECT sum(records) FROM stream_offset WHERE topic LIKE '%analytics'"
        expected = [(len(sent.good) * way.times_sent,)]
        wait_until(lambda: deployment.rows(read) == expected, 60, "not all records were read")
    return digest(deployment)


def digest(deployment: Deployment) -> str:
    """Return a hash over the tables, and over the dead letters by reason and value."""
    checksum = hashlib.sha256()
    for table, columns in COMPARED.items():
        for row in deployment.rows(f"SELECT {columns} FROM {table} ORDER BY 1"):
            checksum.update(repr(row).encode())
    dead_letters = [
        (dict(headers_of(dead_letter))["dlq.reason"], dead_letter.value())
        for dead_letter in deployment.read_topic("purchases.dlq")
    ]
    checksum.update(repr(sorted(dead_letters)).encode())
    return checksum.hexdigest()


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param(COMBINED, id="combined"),
        pytest.param(EACH, id="each", marks=pytest.mark.faults),
    ],
)
def test_the_same_input_gives_the_same_database_whatever_the_way(
    broker: Broker, namespace: str, tmp_path: Path, ways: dict[str, Way]
) -> None:
    """Batch sizes, slots, restarts and repeated sending leave no trace in the result."""
    results = {}
    for number, (name, way) in enumerate(ways.items()):
        home = tmp_path / str(number)
        home.mkdir()
        deployment = Deployment(home, broker.bootstrap_servers, f"{namespace}-{number}")
        deployment.create_topics()
        results[name] = run_one_way(deployment, way)
    assert len(set(results.values())) == 1, results
