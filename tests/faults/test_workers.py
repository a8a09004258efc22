"""Workers killed and stopped, at any moment."""

import os
import signal
import threading

import pytest

from tests.faults.table import injected
from tests.pipeline import Deployment
from tests.support import wait_until

LONG = pytest.mark.faults


def worker_of(deployment: Deployment, app: str) -> int:
    """Give the process of an app's worker, once there is one."""
    wait_until(lambda: deployment.worker_pid(app), 30, f"no {app}")
    return deployment.worker_pid(app) or 0


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
    with injected(deployment, request) as injection:
        for _ in range(times):
            injection.strike(lambda: kill(deployment, "processor"), 15)
            injection.strike(lambda: kill(deployment, "analytics"), 15)
            injection.strike(lambda: kill(deployment, "processor", "analytics"), 15)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=LONG)])
@pytest.mark.parametrize("app", ["processor", "analytics"])
def test_sigstop_then_sigcont(
    deployment: Deployment, request: pytest.FixtureRequest, app: str, seconds: float
) -> None:
    """Past transaction and session timeout it is a zombie, which finds itself replaced."""

    def stop_for_a_while() -> None:
        pid = worker_of(deployment, app)
        os.kill(pid, signal.SIGSTOP)
        wait(seconds)
        os.kill(pid, signal.SIGCONT)

    with injected(deployment, request) as injection:
        injection.strike(stop_for_a_while, 40)
