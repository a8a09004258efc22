"""SIGTERM to both supervisors amid a fault: all go in time, and nothing is lost."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from streaming.cli.foreground import STOP_SECONDS
from streaming.system.disk_space import free_bytes
from tests.databases import change
from tests.deployment import Deployment
from tests.faults.cluster import Cluster
from tests.faults.table import Injection, keep
from tests.faults.test_workers import wait, worker_of
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import leave_group, wait_until

LONG = pytest.mark.faults
APPS = {"process": "processor", "analyze": "analytics"}
GONE_SECONDS = 30
"""Longer than the ten that are promised, because on a loaded machine a kill takes its time too."""
Fault = Callable[[Deployment, Cluster], AbstractContextManager[None]]


@contextmanager
def no_fault(_deployment: Deployment, _cluster: Cluster) -> Iterator[None]:
    """Everything works."""
    yield


@contextmanager
def broker_killed(_deployment: Deployment, cluster: Cluster) -> Iterator[None]:
    """The broker is gone."""
    cluster.nodes[0].kill()
    yield
    cluster.nodes[0].start()
    wait_until(cluster.serves, 90, "the broker does not come back")


@contextmanager
def broker_stopped(_deployment: Deployment, cluster: Cluster) -> Iterator[None]:
    """The broker takes connections and says nothing."""
    cluster.nodes[0].send(signal.SIGSTOP)
    yield
    cluster.nodes[0].send(signal.SIGCONT)
    wait_until(cluster.serves, 90, "the broker does not go on")


@contextmanager
def network_cut(_deployment: Deployment, cluster: Cluster) -> Iterator[None]:
    """Connections are open, and nothing passes."""
    cluster.nodes[0].proxy.cut()
    yield
    cluster.nodes[0].proxy.mend()


@contextmanager
def database_locked(deployment: Deployment, _cluster: Cluster | None = None) -> Iterator[None]:
    """Another program writes, and does not end."""
    with change(deployment.settings, 30):
        yield


@contextmanager
def disk_full(deployment: Deployment, _cluster: Cluster) -> Iterator[None]:
    """The home's disk has 4 MiB left."""
    filler = deployment.home / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(deployment.home) - 4 * 1024 * 1024)
    yield
    filler.unlink()


@contextmanager
def workers_stopped(deployment: Deployment, _cluster: Cluster) -> Iterator[None]:
    """Both workers are stopped, and cannot hear a signal."""
    for app in APPS.values():
        os.kill(worker_of(deployment, app), signal.SIGSTOP)
    yield


@contextmanager
def rebalancing(deployment: Deployment, _cluster: Cluster) -> Iterator[None]:
    """A member joins or leaves every half second."""
    ended = threading.Event()
    config = {
        "bootstrap.servers": deployment.bootstrap_servers,
        "group.id": f"{deployment.namespace}.purchase-processor",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6_000,
        "enable.auto.commit": False,
    }

    def storm() -> None:
        while not ended.is_set():
            member = Consumer(config)
            member.subscribe([deployment.topic("purchases")])
            for _ in range(5):
                member.poll(0.1)
            leave_group(member)

    thread = threading.Thread(target=storm, name="storm")
    thread.start()
    yield
    ended.set()
    thread.join(120)


def workers_of(supervisor: int) -> list[int]:
    """Return the processes that were started by a supervisor and live."""
    workers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--supervisor={supervisor}".encode() in words:
            workers.append(int(path.parent.name))
    return workers


def stop_all(supervisors: "list[subprocess.Popen[bytes]]") -> float:
    """Send SIGTERM to the supervisors; they and their workers must go. Return after how many s.

    What has not ended by its deadline is killed, so on an idle machine it takes 10 s at most.
    """
    assert STOP_SECONDS < 10
    asked = time.monotonic()
    for supervisor in supervisors:
        supervisor.terminate()
    wait_until(
        lambda: all(s.poll() is not None and not workers_of(s.pid) for s in supervisors),
        GONE_SECONDS,
        "not all processes are gone",
    )
    return time.monotonic() - asked


@pytest.mark.parametrize(
    "fault",
    [
        no_fault,
        broker_killed,
        broker_stopped,
        network_cut,
        database_locked,
        disk_full,
        workers_stopped,
        rebalancing,
    ],
)
@LONG
def test_sigterm_in_the_middle_of(
    cluster: Cluster, small_disk: Path, request: pytest.FixtureRequest, fault: Fault
) -> None:
    """However it stands, the supervisors and workers go, and what they left is taken up again."""
    deployment = Deployment(small_disk, cluster.bootstrap_servers, "f")
    deployment.create_topics()
    require_ends(deployment, request, partial(fault, deployment, cluster), (0, 7))


def test_sigterm_while_the_database_is_locked(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    """The supervisors and workers go, and what they left is taken up again."""
    require_ends(deployment, request, partial(database_locked, deployment), (2,))


def require_ends(
    deployment: Deployment,
    request: pytest.FixtureRequest,
    fault: Callable[[], AbstractContextManager[None]],
    moments: tuple[int, ...],
) -> None:
    """Stop the apps amid a fault, at each moment (s after its begin), and judge what they did."""
    deployment.succeed("db", "upgrade")
    stops = []
    with Load(deployment, 200) as load:
        for moment in moments:
            with ExitStack() as running:
                apps = [running.enter_context(deployment.running(command)) for command in APPS]
                Injection(deployment, load).await_flow()
                with fault():
                    wait(moment)
                    stops.append(stop_all(apps))
    with deployment.running("process"), deployment.running("analyze"):
        wait_until_quiet(deployment, load.sent)
        deployment.succeed("verify")
    require_exactly_once(deployment, load.sent)
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), stops)
