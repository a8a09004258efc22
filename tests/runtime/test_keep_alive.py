"""A detached supervisor runs while its keep-alive file is fresh, and drains when it is not."""

import os
import signal
from pathlib import Path

import psutil

from streaming.apps import PROCESSOR
from streaming.runtime.keep_alive import KEEP_ALIVE_SECONDS, KeepAlive, keep_running
from streaming.system.home import Home
from streaming.system.lease import holder
from tests.deployment import Deployment
from tests.support import wait_until


def supervisor(deployment: Deployment) -> int | None:
    """Return the process that supervises the processor."""
    return holder(Home(deployment.home).supervisor_lease("processor"))


def test_a_keep_alive_holds_while_its_file_is_touched(tmp_path: Path) -> None:
    """Only a change of the file renews it, whatever the machine's clock says."""
    now = [0.0]
    path = tmp_path / "app.wanted"
    assert not KeepAlive(path).is_fresh()
    path.touch()
    keep_alive = KeepAlive(path, lambda: now[0])
    assert keep_alive.is_fresh()
    now[0] = KEEP_ALIVE_SECONDS - 1
    os.utime(path, (1, 1))
    assert keep_alive.is_fresh()
    now[0] += KEEP_ALIVE_SECONDS
    assert keep_alive.is_fresh()
    now[0] += 1
    assert not keep_alive.is_fresh()


def test_a_detached_supervisor_is_started_once_and_again_after_it_was_killed(
    deployment: Deployment,
) -> None:
    """It is no child of its starter, logs into the home, and ends with its keep-alive file."""
    settings = deployment.settings
    assert keep_running(settings, PROCESSOR).state == "started"
    keep_alive = Home(deployment.home).keep_alive("processor")
    touched_ns = keep_alive.stat().st_mtime_ns
    wait_until(lambda: deployment.worker_pid("processor"), 60, "no worker")
    assert keep_alive.stat().st_mtime_ns == touched_ns, "a start must not look like a touch"
    supervision = keep_running(settings, PROCESSOR)
    assert (supervision.state, supervision.pid) == ("wanted", supervisor(deployment))
    assert supervision.pid
    process = psutil.Process(supervision.pid)
    assert os.getpid() not in {parent.pid for parent in process.parents()}
    process.kill()
    wait_until(lambda: not psutil.pid_exists(process.pid), 60, "a zombie stayed")
    assert keep_running(settings, PROCESSOR).state == "started"
    wait_until(lambda: supervisor(deployment) not in {None, process.pid}, 60, "not started again")
    assert Home(deployment.home).supervisor_log("processor").exists()

    keep_alive.unlink()
    wait_until(lambda: supervisor(deployment) is None, 60, "it stayed without its keep-alive file")
    # The worker of the one that was killed may still be ending.
    wait_until(lambda: deployment.worker_pid("processor") is None, 60, "its worker stayed")


def test_a_supervisor_by_hand_is_found_and_not_doubled(deployment: Deployment) -> None:
    """It needs no keep-alive: it stays when the file goes, until somebody ends it."""
    with deployment.running("process") as by_hand:
        wait_until(lambda: supervisor(deployment) == by_hand.pid, 60, "no supervisor")
        supervision = keep_running(deployment.settings, PROCESSOR)
        assert (supervision.state, supervision.pid) == ("by_hand", by_hand.pid)
        Home(deployment.home).keep_alive("processor").unlink()
        wait_until(lambda: deployment.worker_pid("processor"), 60, "no worker")
        assert by_hand.poll() is None
        by_hand.send_signal(signal.SIGTERM)
        by_hand.wait(120)
