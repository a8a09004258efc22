"""One topic read by three homes: the same database, though thousands of ids have two contents."""

import hashlib
import json
import random
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streaming.analytics.app import AnalyticsConsumerApp
from streaming.store.rebuild import rebuild
from streaming.verification.verify import verify
from tests.deployment import Deployment
from tests.store.rows import EVENT_COLUMNS

LONG = pytest.mark.faults
SAME = (
    f"SELECT {EVENT_COLUMNS} FROM analytics_event ORDER BY event_id",
    (
        "SELECT events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events"
        " FROM live_totals"
    ),
    "SELECT * FROM live_item_totals ORDER BY item",
    (
        "SELECT day, events, items_sold, net_revenue_micros FROM day_ledger WHERE events > 0"
        " ORDER BY day"
    ),
    "SELECT * FROM dead_letter ORDER BY 1, 2, 3",
)


def purchase(chance: random.Random, number: int) -> tuple[bytes, bytes]:
    """Return key and value of a purchase of this id; no other has the same content."""
    user = f"user-{chance.randrange(40)}"
    event = {
        "event_id": str(uuid.UUID(int=number)),
        "user": user,
        "item": f"item-{chance.randrange(9)}",
        "timestamp": f"2024-03-{chance.randrange(1, 29):02d}T10:15:00Z",
        "quantity": chance.choice([1, 2, 3, -1]),
        "unit_price": "2.50",
        "order_id": f"{chance.getrandbits(64):016x}",
    }
    return user.encode(), json.dumps(event).encode()


def digest(deployment: Deployment) -> str:
    """Return the hash of what is the same for any order of reading."""
    rows = [deployment.rows(statement) for statement in SAME]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def differences(deployment: Deployment) -> list[str]:
    """Return what `verify` finds."""
    return verify(deployment.settings, lambda _what, _done, _total: None).examples


@pytest.mark.parametrize("ids", [100, pytest.param(3_000, marks=LONG)])
def test_three_readings_of_one_topic_give_one_database(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: int
) -> None:
    """At other batch sizes, and each again; of `ids` there are two contents each."""
    deployment.create_topics()
    chance = random.Random(ids)
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in chance.sample(range(ids), ids) * 2 + list(range(ids, 2 * ids)):
        key, value = purchase(chance, number)
        producer.produce(deployment.topic("purchases"), value, key)
    assert producer.flush(60) == 0
    deployment.process()
    digests = []
    for size in (53, 700, 20_000):
        home = replace(deployment, home=tmp_path / f"home-{size}")
        home.home.mkdir()
        monkeypatch.setattr(AnalyticsConsumerApp, "batch_records", size)
        home.analyze()
        digests.append(digest(home))
        assert home.rows("SELECT sum(conflicting) FROM stream_offset") == [(ids,)]
        home.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
        home.analyze()
        digests.append(digest(home))
        assert differences(home) == []
    assert len(set(digests)) == 1


def test_reading_again_corrects_what_was_stored_by_another_rule(deployment: Deployment) -> None:
    """As after an upgrade: `verify` names such events and the command, after which it agrees."""
    deployment.create_topics()
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in range(50):
        key, value = purchase(random.Random(number), number)
        producer.produce(deployment.topic("purchases"), value, key)
    assert producer.flush(60) == 0
    deployment.process()
    deployment.analyze()
    before = digest(deployment)
    with deployment.writing() as store:
        # The record that won then is taken for one that Kafka does not hold any longer.
        loser = "source_offset = source_offset + 1000, stream_offset = -1"
        store.execute(f"UPDATE analytics_event SET {loser}, item = 'lamp', event_time = 0")
    rebuild(deployment.settings)
    named = differences(deployment)
    assert len(named) > 1
    assert [s for s in named if "offsets reset analytics --to earliest" not in s] == []
    deployment.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
    deployment.analyze()
    assert differences(deployment) == []
    assert digest(deployment) == before
