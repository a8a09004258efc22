"""Members that come and go, and a dead-letter topic that is not there."""

import json
import time
from collections import Counter

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.table import inject_fault
from tests.load import Load
from tests.support import leave_group, wait_until

LONG = pytest.mark.faults


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
            leave_group(member)

    with inject_fault(deployment, request) as injection:
        injection.strike(storm, 60)


def committed_offsets(deployment: Deployment) -> dict[int, int]:
    """Return up to which offset of each partition of `purchases` the processor has done its work.

    It commits them with its outputs, so what is below has its dead letter, and nothing else has.
    """
    topic, group = deployment.topic("purchases"), deployment.topic("purchase-processor")
    reader = Consumer({"bootstrap.servers": deployment.bootstrap_servers, "group.id": group})
    partitions = reader.list_topics(topic, timeout=60).topics[topic].partitions
    offsets = reader.committed([TopicPartition(topic, number) for number in partitions], timeout=60)
    reader.close()
    return {offset.partition: max(offset.offset, 0) for offset in offsets}


def test_without_its_dead_letter_topic_the_processor_stops_before_skipping_one(
    deployment: Deployment,
) -> None:
    """It waits or fails, and says so; when the topic is back every refusal is there."""
    deployment.succeed("db", "upgrade")
    topic = deployment.topic("purchases.dlq")
    client = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    with (
        deployment.running("process"),
        deployment.running("analyze"),
        Load(deployment, rate=200, bad_share=0.2) as load,
    ):
        wait_until(lambda: deployment.count("dead_letter") > 20, 60, "no refusals")
        client.delete_topics([topic])[topic].result(60)
        wait_until(
            lambda: (
                (status := read_status(deployment.home, "processor", 0)) is not None
                and status.state in {"paused", "failed"}
            ),
            60,
            "it goes on without",
        )
        enough = len(load.sent.bad) + 20
        wait_until(lambda: len(load.sent.bad) > enough, 60, "no load")
    done = committed_offsets(deployment)
    deployment.create_topics()
    deployment.process()
    left = [
        message.value()
        for message in deployment.read_topic("purchases")
        if message.value() in load.sent.bad
        and (message.offset() or 0) >= done[message.partition() or 0]
    ]
    assert left
    dead_letters = [message.value() for message in deployment.read_topic("purchases.dlq")]
    assert Counter(dead_letters) == Counter(left)
    published = [
        json.loads(m.value() or b"")["event_id"] for m in deployment.read_topic("analytics")
    ]
    assert sorted(published) == sorted(load.sent.good)
