"""Workers killed and stopped, at any moment."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.table import inject_fault
from tests.support import wait_until

LONG = pytest.mark.faults
ALSO = pytest.mark.injection


def worker_of(deployment: Deployment, app: str, slot: int = 0) -> int:
    """Return the process of an app's worker, once there is one."""
    pids: list[int] = []

    def is_there() -> bool:
        pids.extend(filter(None, [deployment.worker_pid(app, slot)]))
        return bool(pids)

    wait_until(is_there, 60, f"no {app}")
    return pids[0]


def kill(deployment: Deployment, *apps: str) -> None:
    """Kill the worker of each app."""
    for app in apps:
        os.kill(worker_of(deployment, app), signal.SIGKILL)


def wait(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=LONG)])
def test_sigkill_of_processor_consumer_and_both(
    deployment: Deployment, request: pytest.FixtureRequest, times: int
) -> None:
    """Static ids and file locks let each come back at once."""
    with inject_fault(deployment, request) as injection:
        for _ in range(times):
            injection.strike(lambda: kill(deployment, "processor"), 60)
            injection.strike(lambda: kill(deployment, "analytics"), 60)
            injection.strike(lambda: kill(deployment, "processor", "analytics"), 60)


@LONG
def test_sigkill_while_idle(deployment: Deployment, request: pytest.FixtureRequest) -> None:
    """With nothing to do too, each comes back and goes on with the next purchase."""
    with inject_fault(deployment, request) as injection:
        injection.await_flow()
    deployment.process()
    with deployment.running("process"), deployment.running("analyze"):
        for app in ("processor", "analytics"):
            wait_until(partial(idle, deployment, app), 60, f"the {app} is not idle")
        before = deployment.count("analytics_event")
        kill(deployment, "processor", "analytics")
        deployment.succeed("produce", "--rate", "max", "--count", "100")
        wait_until(lambda: deployment.count("analytics_event") == before + 100, 60, "no hundred")
    deployment.succeed("verify")


@LONG
def test_sigkill_during_a_rebalance(deployment: Deployment, request: pytest.FixtureRequest) -> None:
    """A worker of another slot joins; the first is killed as soon as the group knows of it."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    group = deployment.topic("purchase-processor")

    def has_joined() -> bool:
        described = admin.describe_consumer_groups([group])[group].result(60)
        return any(member.group_instance_id == "processor-1" for member in described.members)

    def kill_when_it_joins() -> None:
        first = worker_of(deployment, "processor")
        command = [sys.executable, "-m", "streaming.processor.app", "--slot=1"]
        joining = subprocess.Popen(command, env=deployment.environment)
        try:
            wait_until(has_joined, 60, "no second slot")
            os.kill(first, signal.SIGKILL)
        finally:
            joining.kill()
            joining.wait()

    with inject_fault(deployment, request) as injection:
        injection.strike(kill_when_it_joins, 60)


def idle(deployment: Deployment, app: str) -> bool:
    """Return whether an app's worker has nothing to do."""
    status = read_status(deployment.home, app, 0)
    return status is not None and status.state == "caught_up"


@pytest.mark.parametrize(
    ("app", "seconds"),
    [
        pytest.param("processor", 3, marks=ALSO),
        pytest.param("analytics", 3, marks=LONG),
        pytest.param("processor", 15, marks=LONG),
        pytest.param("analytics", 15, marks=LONG),
    ],
)
def test_sigstop_then_sigcont(
    deployment: Deployment, request: pytest.FixtureRequest, app: str, seconds: float
) -> None:
    """Past transaction and session timeout it is a zombie, which finds itself replaced."""

    def stop_for_a_while() -> None:
        pid = worker_of(deployment, app)
        os.kill(pid, signal.SIGSTOP)
        wait(seconds)
        os.kill(pid, signal.SIGCONT)

    with inject_fault(deployment, request) as injection:
        injection.strike(stop_for_a_while, 60)
