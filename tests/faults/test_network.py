"""The network between the apps and the broker: slow, narrow, cut, reset."""

import pytest
from confluent_kafka.admin import AdminClient

from streaming.kafka.acls import processor_rules
from streaming.kafka.config import Config
from streaming.kafka.names import Names
from streaming.kafka.permissions import find_permissions
from streaming.kafka.preflight import preflight
from streaming.system.deadline import Deadline
from tests.deployment import Deployment
from tests.faults.cluster import Cluster
from tests.faults.table import inject_fault
from tests.faults.test_workers import wait
from tests.support import wait_until

LONG = pytest.mark.faults
ALSO = pytest.mark.injection


@pytest.mark.parametrize("seconds", [pytest.param(5, marks=ALSO), pytest.param(60, marks=LONG)])
def test_the_network_is_cut(
    alone: Deployment, cluster: Cluster, request: pytest.FixtureRequest, seconds: float
) -> None:
    """Connections stay open and nothing comes; no client hears of it."""
    proxy = cluster.nodes[0].proxy

    def cut() -> None:
        proxy.cut()
        wait(seconds)
        proxy.mend()

    with inject_fault(alone, request) as injection:
        injection.strike(cut, 60)


@LONG
def test_connections_are_reset(
    alone: Deployment, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """As by a firewall that restarts, ten times."""
    with inject_fault(alone, request) as injection:
        for _ in range(10):
            injection.strike(cluster.nodes[0].proxy.reset, 30)


@pytest.mark.faults
def test_latency_of_200_ms_and_10_kilobytes_a_second(
    alone: Deployment, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """Slow is no failure: it goes on, and catches up when the line is good again."""
    proxy = cluster.nodes[0].proxy

    def slow() -> None:
        proxy.delay = 0.2
        wait(10)
        proxy.mend()

    def narrow() -> None:
        proxy.bytes_per_second = 10_000
        wait(10)
        proxy.mend()

    with inject_fault(alone, request, rate=50) as injection:
        injection.strike(slow, 60)
        injection.strike(narrow, 60)


def test_a_broker_that_answers_late_is_not_given_up_and_ends_no_process(
    alone: Deployment, cluster: Cluster
) -> None:
    """A command asks for longer each time; librdkafka would end it if a request's time was over."""
    proxy = cluster.nodes[0].proxy
    config: Config = {"bootstrap.servers": cluster.bootstrap_servers}
    proxy.delay = 0.25
    assert preflight(alone.settings).cluster_id
    rules = processor_rules(Names.of(alone.settings), [0])
    admin = AdminClient(config)
    admin.list_topics(timeout=60)
    proxy.delay = 0.6
    groups = [rule for rule in rules if rule.kind == "group"]
    assert not find_permissions(admin, config, groups, (), Deadline.after(0)).forbidden
    # By then the client has learned where the coordinator is, and is connected to it.
    for _ in range(3):
        assert admin.list_topics(timeout=30)
    proxy.delay = 0.05
    wait_until(lambda: "answering" in alone.run("status", "--json").stdout, 60, "it is down")
