"""Members that come and go, and a dead-letter topic that is not there."""

import json
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.table import injected
from tests.load import Load
from tests.support import wait_until

LONG = pytest.mark.faults


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=LONG)])
def test_rebalance_storm(
    deployment: Deployment, request: pytest.FixtureRequest, seconds: float
) -> None:
    """A member joins or leaves every second; partitions move, nothing is done twice."""
    config = {
        "bootstrap.servers": deployment.bootstrap_servers,
        "group.id": f"{deployment.namespace}.purchase-processor",
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6_000,
        "enable.auto.commit": False,
    }

    def storm() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            member = Consumer(config)
            member.subscribe([deployment.topic("purchases")])
            joined = time.monotonic() + 1
            while time.monotonic() < joined:
                member.poll(0.1)
            member.close()

    with injected(deployment, request) as injection:
        injection.strike(storm, 30)


def end_of(deployment: Deployment, topic: str) -> int:
    """Give the end of a topic's only partition."""
    reader = Consumer({"bootstrap.servers": deployment.bootstrap_servers, "group.id": "end"})
    _, end = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    reader.close()
    return int(end)


@pytest.mark.timeout(200)
def test_without_its_dead_letter_topic_the_processor_stops_before_skipping_one(
    deployment: Deployment,
) -> None:
    """It waits or fails, and says so; when the topic is back every refusal is there."""
    deployment.succeed("db", "upgrade")
    topic = deployment.topic("purchases.dlq")
    client = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate=200, bad_share=0.2) as load:
            wait_until(lambda: deployment.count("dead_letter") > 20, 30, "no refusals")
            kept_before = end_of(deployment, topic)
            client.delete_topics([topic])[topic].result(10)
            wait_until(
                lambda: (
                    (status := read_status(deployment.home, "processor", 0)) is not None
                    and status.state in {"paused", "failed"}
                ),
                40,
                "it goes on without",
            )
        assert load.sent.bad
    deployment.succeed("topics", "create")
    deployment.succeed("process", "--until-caught-up")
    values = {message.value() for message in deployment.read_topic("purchases.dlq")}
    assert values <= load.sent.bad
    assert len(values) >= len(load.sent.bad) - kept_before
    published = [
        json.loads(m.value() or b"")["event_id"] for m in deployment.read_topic("analytics")
    ]
    assert sorted(published) == sorted(load.sent.good)
