"""A transaction that nobody ends: its producer's id, and the command that ends it."""

import time
import uuid

from confluent_kafka import Producer

from streaming.kafka.open_transactions import read_open_producer
from streaming.status.collect import collect_status
from tests.deployment import Deployment
from tests.support import OPEN_TRANSACTION_SECONDS, wait_until


def open_transaction(deployment: Deployment, topic: str) -> Producer:
    """Publish a record in a transaction that stays open; by its time for 100 s already."""
    producer = Producer(
        {
            "bootstrap.servers": deployment.bootstrap_servers,
            "transactional.id": f"{deployment.namespace}-{uuid.uuid4()}",
            "transaction.timeout.ms": OPEN_TRANSACTION_SECONDS * 1_000,
            "log_level": 0,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"x", partition=0, timestamp=int((time.time() - 100) * 1000))
    assert producer.flush(60) == 0
    return producer


def test_a_status_names_the_producer_and_the_command_that_ends_its_transaction(
    deployment: Deployment,
) -> None:
    """The id is the one that the broker says; once it is ended neither is named any more."""
    deployment.succeed("db", "upgrade")
    topic = deployment.topic("analytics")
    producer = open_transaction(deployment, topic)
    host, _, port = deployment.bootstrap_servers.partition(":")
    producer_id = read_open_producer((host, int(port)), (topic, 0), 0, 10)
    assert producer_id is not None
    assert read_open_producer((host, int(port)), (topic, 0), 1, 10) is None

    sentence = f"{topic}-0 are hidden by a transaction of producer {producer_id} "
    command = (
        f"kafka-transactions.sh --bootstrap-server {deployment.bootstrap_servers} abort"
        f" --topic {topic} --partition 0 --start-offset 0`"
    )

    def is_named() -> bool:
        status = collect_status(deployment.settings, {})
        assert status.broker.state != "topic_missing"
        return any(sentence in p.sentence and command in p.remedy for p in status.problems)

    # A status gives the broker less than a second, which a busy machine may need longer than.
    wait_until(is_named, 60, "the producer is not named")
    producer.abort_transaction(60)
    wait_until(lambda: not is_named(), 60, "it is named still")
    assert read_open_producer((host, int(port)), (topic, 0), 0, 10) is None


def test_what_is_no_answer_names_no_producer(deployment: Deployment) -> None:
    """An unknown topic has an error, and where nobody listens there is no answer."""
    host, _, port = deployment.bootstrap_servers.partition(":")
    assert read_open_producer((host, int(port)), ("no-such-topic", 0), 0, 10) is None
    assert read_open_producer((host, 1), (deployment.topic("analytics"), 0), 0, 1) is None
