"""A log that was cut and grew again past where an app stands: only its leader's epoch tells."""

import struct
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streaming.apps import ANALYTICS, PROCESSOR, App
from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.cluster import Cluster
from tests.offsets.support import COUNT, drain, failure, positions, produce
from tests.support import wait_until

BATCH_HEAD = struct.Struct(">qiibih")
TRANSACTIONAL, CONTROL = 0x10, 0x20
MORE = 4_000


def cut(log: Path) -> None:
    """Cut a log after its first batch, or where that is of a transaction after its marker."""
    content, end = log.read_bytes(), 0
    while end < len(content):
        _, length, _, _, _, attributes = BATCH_HEAD.unpack_from(content, end)
        end += 12 + length
        if attributes & CONTROL or not attributes & TRANSACTIONAL:
            break
    log.write_bytes(content[:end])


@pytest.mark.faults
def test_a_transaction_that_outlived_its_leader_is_no_cut(
    alone: Deployment, cluster: Cluster
) -> None:
    """Its marker is of a later epoch than what it ends: a position is stored with its own."""
    produce(alone)
    drain(alone)
    servers = {"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": "stranger"}
    producer = Producer({**servers, "transaction.timeout.ms": 60_000})
    producer.init_transactions(60)
    producer.begin_transaction()
    for name in ("purchases", "analytics"):
        for partition in range(4):
            producer.produce(alone.topic(name), b"{}", partition=partition)
    assert producer.flush(60) == 0
    node = cluster.nodes[0]
    node.kill()
    node.start()
    wait_until(cluster.serves, 60, "the broker does not come back")
    producer.abort_transaction(60)
    drain(alone)
    drain(alone)
    produce(alone)
    drain(alone)
    assert alone.count("analytics_event") == 2 * COUNT
    alone.succeed("verify")


@pytest.mark.parametrize(
    "apps",
    [
        pytest.param([PROCESSOR], id="processor"),
        pytest.param([PROCESSOR, ANALYTICS], id="both", marks=pytest.mark.faults),
    ],
)
def test_a_log_that_was_cut_and_grew_again_is_noticed_and_read_again(
    alone: Deployment, cluster: Cluster, apps: list[App]
) -> None:
    """As after an unclean election: the stored offset is there again, but of another record."""
    for _ in range(2):
        produce(alone)
        drain(alone)
    before = {(p["topic"], p["partition"]): p["position"] for p in positions(alone)}
    node = cluster.nodes[0]
    node.kill()
    for app in apps:
        for log in node.properties.parent.glob(f"data*/{alone.topic(app.reads[0])}-*/*0.log"):
            cut(log)
    node.start()
    wait_until(cluster.serves, 60, "the broker does not come back")
    produce(alone, MORE)
    for app in apps:
        now = [each for each in positions(alone) if each["app"] == app.name]
        ends = {(each["topic"], each["partition"]): each["end"] for each in now}
        assert all(
            end > before[partition] for partition, end in ends.items() if "dlq" not in partition[0]
        )
        with alone.running(app.command):
            wait_until(failure(alone, app.name), 60, "it was not noticed")
        status = read_status(alone.home, app.name, 0)
        assert status is not None
        assert "truncation" in status.detail
        assert "None" not in status.detail
        alone.succeed("offsets", "reset", app.name, "--to", "earliest", "--yes")
        alone.process()
    alone.analyze()
    assert alone.count("analytics_event") == 2 * COUNT + MORE
