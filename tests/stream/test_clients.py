"""Anyone's client works: what plain producers send is stored."""

import json
import time

from confluent_kafka import Producer

from tests.deployment import Deployment


def test_what_plain_clients_send_is_stored(deployment: Deployment) -> None:
    """The getting-started form, JSON without an id, a keyed guest order, another compression."""
    now = int(time.time() * 1000)
    plain = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    plain.produce(deployment.topic("purchases"), "batteries", "htanaka")
    without_id = {"user": "eabara", "item": "alarm clock", "timestamp": now, "unit_price": 9.99}
    plain.produce(deployment.topic("purchases"), json.dumps(without_id))
    guest = {"user": None, "item": "book", "timestamp": now, "order_id": "G-1"}
    plain.produce(deployment.topic("purchases"), json.dumps(guest), "G-1")
    assert plain.flush(60) == 0
    compressed = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "compression.type": "gzip"}
    )
    compressed.produce(deployment.topic("purchases"), "t-shirts", "jsmith")
    assert compressed.flush(60) == 0
    deployment.process()
    deployment.analyze()
    rows = deployment.rows('SELECT "user", item, amount_micros FROM analytics_event ORDER BY item')
    assert rows == [
        ("eabara", "alarm clock", 9_990_000),
        ("htanaka", "batteries", None),
        (None, "book", None),
        ("jsmith", "t-shirts", None),
    ]
    keys = {message.key() for message in deployment.read_topic("analytics")}
    assert keys == {b"eabara", b"htanaka", b"G-1", b"jsmith"}
