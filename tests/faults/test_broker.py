"""The broker killed, stopped, and three of them losing their leaders."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.conftest import deployment_on
from tests.faults.table import inject_fault
from tests.faults.test_workers import wait
from tests.support import wait_until

LONG = pytest.mark.faults


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=LONG)])
def test_sigkill_of_the_broker_and_restart(
    alone: Deployment, cluster: Cluster, request: pytest.FixtureRequest, times: int
) -> None:
    """Clients wait, or are ended by their watchdogs, and go on."""
    node = cluster.nodes[0]

    def kill() -> None:
        node.kill()
        wait(1)
        node.start()
        wait_until(cluster.serves, 60, "the broker does not come back")

    with inject_fault(alone, request) as injection:
        for _ in range(times):
            injection.strike(kill, 60)
    log = (alone.home / "process.log").read_text()
    assert f'"code": {-signal.SIGABRT}' not in log, "an assertion in the client ended a worker"


@pytest.mark.faults
def test_sigstop_of_the_broker_for_20_s(
    alone: Deployment, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """Longer than the session and the transaction may last."""
    node = cluster.nodes[0]

    def stop() -> None:
        node.send(signal.SIGSTOP)
        wait(20)
        node.send(signal.SIGCONT)

    with inject_fault(alone, request) as injection:
        injection.strike(stop, 60)


@pytest.mark.faults
def test_a_standby_takes_over_after_the_groups_coordinator_moved(
    jars: Path, tmp_path: Path
) -> None:
    """It has asked the old coordinator before, which still answers, but knows the group no more."""

    def state(of: Deployment) -> str:
        status = read_status(of.home, "processor", 0)
        return "" if status is None else status.state

    with running_cluster(jars, tmp_path / "three", 3) as cluster:
        deployment = deployment_on(cluster, tmp_path)
        other = replace(deployment, home=tmp_path / "other")
        other.home.mkdir()
        with deployment.running("process") as first:
            wait_until(lambda: state(deployment) == "caught_up", 60, "it does not work")
            with other.running("process"):
                wait_until(lambda: state(other) == "standby", 60, "the second does not stand by")
                coordinator = cluster.leader_of("__consumer_offsets")
                coordinator.send(signal.SIGSTOP)
                wait_until(
                    lambda: cluster.leader_of("__consumer_offsets") is not coordinator,
                    60,
                    "the coordinator does not move",
                )
                coordinator.send(signal.SIGCONT)
                wait_until(cluster.serves, 60, "it does not come back")
                first.kill()
                first.wait()
                wait_until(lambda: state(other) == "caught_up", 60, "it does not take over")


@pytest.mark.faults
def test_three_brokers_lose_their_leaders_in_turn_and_two_at_once(
    jars: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With three copies the stream goes on, and with one it waits for the second."""
    with running_cluster(jars, tmp_path / "three", 3) as cluster:
        deployment = deployment_on(cluster, tmp_path)
        topic = deployment.topic("purchases")

        def kill_leader() -> None:
            node = cluster.leader_of(topic)
            node.kill()
            wait(5)
            node.start()
            wait_until(cluster.serves, 60, "it does not come back")

        def kill_two() -> None:
            for node in cluster.nodes[1:]:
                node.kill()
            wait(8)
            for node in cluster.nodes[1:]:
                node.start()
            wait_until(cluster.serves, 90, "they do not come back")

        with inject_fault(deployment, request, rate=200, deadline=120) as injection:
            for _ in range(3):
                injection.strike(kill_leader, 60)
            injection.strike(kill_two, 90)
