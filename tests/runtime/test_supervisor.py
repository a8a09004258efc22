"""The supervisor keeps workers running, one to a slot, and ends them."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from streaming.apps import PROCESSOR
from streaming.runtime import supervisor
from streaming.runtime.limits import SILENT_SECONDS
from streaming.runtime.status_file import read_status
from streaming.runtime.supervisor import SupervisedSlot
from tests.deployment import Deployment
from tests.faults.test_workers import worker_of
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until
from tests.terminal import in_terminal


def test_a_second_supervisor_of_an_app_is_refused(deployment: Deployment) -> None:
    """Two would start two workers for one slot."""
    with deployment.running("process"):
        wait_until(lambda: deployment.worker_pid("processor") is not None, 60, "no worker")
        second = deployment.run("process", "--until-caught-up")
    assert second.returncode == 1
    assert "already supervised by process" in second.stderr


def test_workers_leave_when_their_supervisor_is_killed(deployment: Deployment) -> None:
    """An orphan drains and goes, so that the next supervisor finds its slot free."""
    with deployment.running("process") as command:
        wait_until(lambda: deployment.worker_pid("processor") is not None, 60, "no worker")
        command.kill()
        wait_until(lambda: deployment.worker_pid("processor") is None, 60, "the orphan stayed")


def test_a_closed_terminal_ends_a_supervisor_and_its_workers(deployment: Deployment) -> None:
    """The worker drains, as after Ctrl-C, instead of dying of the same signal."""
    command = [sys.executable, "-m", deployment.module, "process"]
    log = deployment.home / "process.log"
    with in_terminal(command, deployment.environment, log) as terminal:
        wait_until(lambda: state(deployment) == "caught_up", 60, "the worker does not work")
        terminal.close()
        assert terminal.process.wait(120) == 0
    # On a busy machine it may not have drained within the supervisor's five seconds.
    assert state(deployment) == "stopped" or '"worker_killed"' in log.read_text()


def state(deployment: Deployment) -> str:
    """Return the state of the processor's worker as it wrote it last."""
    status = read_status(deployment.home, "processor", 0)
    return "" if status is None else status.state


@pytest.mark.parametrize("seconds", [10, pytest.param(SILENT_SECONDS, marks=pytest.mark.faults)])
def test_a_worker_stopped_for_good_is_replaced_and_nothing_is_lost(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """SIGSTOP keeps the lease; the supervisor kills what is silent and starts it again."""
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", seconds)
    supervised = supervisor.Supervisor(deployment.settings, PROCESSOR, slots=1)

    def is_replaced(worker: int | None) -> bool:
        supervised.step()
        return deployment.worker_pid("processor") not in {None, worker}

    with deployment.running("analyze"), ExitStack() as ending:
        ending.callback(supervised.stop, 30)
        supervised.start()
        with Load(deployment, rate=200) as load:
            # Before its first heartbeat it would have longer.
            (slot,) = supervised.slots
            wait_until(lambda: is_replaced(None) and slot.has_reported, 60, "no worker")
            stopped = deployment.worker_pid("processor")
            assert stopped
            os.kill(stopped, signal.SIGSTOP)
            wait_until(lambda: is_replaced(stopped), 90, "the stopped worker was not replaced")
        wait_until_quiet(deployment, load.sent)
    require_exactly_once(deployment, load.sent)


def step_until(deployment: Deployment, holds: Callable[[SupervisedSlot], bool]) -> SupervisedSlot:
    """Supervise one worker until the condition holds for its slot, which is returned."""
    supervised = supervisor.Supervisor(deployment.settings, PROCESSOR, slots=1)
    (slot,) = supervised.slots

    def step() -> bool:
        supervised.step()
        return holds(slot)

    with ExitStack() as ending:
        ending.callback(supervised.stop, 30)
        supervised.start()
        wait_until(step, 60, "the worker does not get there")
    return slot


def test_a_worker_may_start_slower_than_it_may_be_silent(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loaded machine needs long for its imports: killed for that, it would never start."""
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 0.05)
    slot = step_until(deployment, lambda slot: slot.has_reported)
    assert slot.restarts.restarts == 0


def test_a_worker_that_never_reports_is_replaced(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs in its start is no worker."""
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.05)
    slot = step_until(deployment, lambda slot: slot.restarts.restarts > 0)
    assert not slot.has_reported


def kill_slot(deployment: Deployment, load: Load, slot: int) -> None:
    """Kill the processor of a slot after 1,500 more purchases were acknowledged."""
    enough = len(load.sent.good) + 1_500
    wait_until(lambda: len(load.sent.good) > enough, 60, "no load")
    os.kill(worker_of(deployment, "processor", slot), signal.SIGKILL)


def test_two_slots_share_the_work_exactly_once(deployment: Deployment) -> None:
    """One of two processor slots is killed again and again; the other goes on."""
    with deployment.running("process", "--slots", "2"), deployment.running("analyze"):
        with Load(deployment, rate=1_000) as load:
            killed: Counter[int] = Counter()
            for slot in (0, 1, 0):
                kill_slot(deployment, load, slot)
                killed[slot] += 1
        wait_until_quiet(deployment, load.sent)
    assert killed == Counter({0: 2, 1: 1})
    require_exactly_once(deployment, load.sent)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("command", "app", "partitions"), [("process", "processor", 8), ("analyze", "analytics", 5)]
)
def test_a_slot_that_stands_still_is_stood_in_for_and_joins_again(
    deployment: Deployment, command: str, app: str, partitions: int
) -> None:
    """By the other slot once its session has timed out, before its supervisor replaces it."""
    slots = {command: ("--slots", "2")}

    def count_owned(slot: int) -> int:
        status = read_status(deployment.home, app, slot)
        return 0 if status is None else len(status.positions)

    with (
        deployment.running("process", *slots.get("process", ())),
        deployment.running("analyze", *slots.get("analyze", ())),
        Load(deployment, rate=300) as load,
    ):
        wait_until(
            lambda: (
                count_owned(0) and count_owned(1) and count_owned(0) + count_owned(1) == partitions
            ),
            60,
            "the slots do not share the work",
        )
        stopped = worker_of(deployment, app, 1)
        os.kill(stopped, signal.SIGSTOP)
        wait_until(lambda: count_owned(0) == partitions, 60, "nobody stands in")
        sent = len(load.sent.good)
        wait_until(lambda: deployment.count("analytics_event") >= sent, 60, "it does not go on")
        assert deployment.worker_pid(app, 1) == stopped
        os.kill(stopped, signal.SIGCONT)
        wait_until(
            lambda: count_owned(0) < partitions and count_owned(1), 60, "it does not join again"
        )
    with deployment.running("process"), deployment.running("analyze"):
        wait_until_quiet(deployment, load.sent)
    require_exactly_once(deployment, load.sent)
    warned = "for failover, not speed" in (deployment.home / "analyze.log").read_text()
    assert warned == (app == "analytics")
