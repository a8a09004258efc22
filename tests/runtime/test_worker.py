"""The frame of a worker: the watchdog's limits, logs that fail, a host without processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from streaming.apps import PROCESSOR
from streaming.runtime.limits import WATCHDOG_SECONDS
from streaming.runtime.supervisor import Supervisor
from streaming.runtime.worker import EXIT_STUCK
from streaming.settings import Settings

LIFE = """
import sys, time
from pathlib import Path
from streaming.system.logs import configure_logs
from streaming.runtime.worker import Runtime
configure_logs()
runtime = Runtime(Path(sys.argv[1]), "processor", 0, None)
runtime.start()
{}
"""
LONG_CALL = "with runtime.watchdog_limit(25): time.sleep({})\ntime.sleep(3)"
SHORT_LATE_CALL = "time.sleep({})\nwith runtime.watchdog_limit(4): time.sleep(2)"
STUCK = "time.sleep({})"
LOG = """
from streaming.system.logs import configure_logs, get_logger
configure_logs()
get_logger().warning("x")
"""


def life(home: Path, body: str) -> "subprocess.Popen[bytes]":
    """Start a worker's runtime that does this."""
    (home / "workers").mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", LIFE.format(body), str(home)])


def test_the_watchdog_keeps_the_limit_that_a_call_was_given(tmp_path: Path) -> None:
    """A long call that ends is no stuck loop, nor a short one that begins late."""
    long_call = life(tmp_path, LONG_CALL.format(WATCHDOG_SECONDS + 3))
    short_late_call = life(tmp_path, SHORT_LATE_CALL.format(WATCHDOG_SECONDS - 4))
    stuck = life(tmp_path, STUCK.format(60))
    assert [process.wait(120) for process in (long_call, short_late_call, stuck)] == [
        0,
        0,
        EXIT_STUCK,
    ]


@pytest.mark.parametrize("log", ["/dev/full", "a pipe whose reader left"])
def test_a_log_that_cannot_be_written_ends_nobody(log: str) -> None:
    """Neither a full disk under it, nor `| tee` that was closed."""
    sink = f"2>{log}" if log.startswith("/") else "2>&1 | true"
    command = f"\"{sys.executable}\" -c '{LOG}' {sink}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], timeout=180, check=False)
    assert done.returncode == 0


def test_a_worker_that_cannot_be_started_is_tried_again_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where there is no process or memory to be had just then."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    supervisor = Supervisor(Settings(home=tmp_path), PROCESSOR, 1)
    supervisor.start()
    (slot,) = supervisor.slots
    assert "cannot be started" in slot.restarts.last_error
    monkeypatch.undo()
    slot.start_at = 0
    supervisor.step()
    assert slot.process is not None
    supervisor.stop(10)
