"""Child processes: their logs and leases, and how they are stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from orchestration.local.down import end_holders
from streaming.system.child_process import start_child, start_detached, stop_child
from streaming.system.lease import acquire, holder
from streaming.system.log_rotation import LOG_BYTES
from tests.support import wait_until

DIES_AT_THE_START = """
import os, signal, subprocess, sys
from pathlib import Path
from streaming.system.child_process import start_child
from streaming.system.lease import acquire

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

subprocess.Popen = Popen
path = Path(sys.argv[1])
start_child(sys.argv[2:], None, path.with_suffix(".log"), acquire(path))
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
IGNORE_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def test_a_child_holds_its_lease_until_it_dies(tmp_path: Path) -> None:
    """The lease names the child's process, and outlives the parent's descriptor."""
    path = tmp_path / "child.lock"
    lease = acquire(path)
    assert lease is not None
    with lease:
        child = start_child(SLEEP, None, tmp_path / "child.log", lease)
    wait_until(lambda: holder(path) == child.pid, 30, "the lease does not name the child")
    child.terminate()
    stop_child(child, 30)
    assert holder(path) is None
    assert child.returncode == -signal.SIGTERM


def test_a_child_whose_parent_is_killed_at_its_start_is_found(tmp_path: Path) -> None:
    """It names itself, so whoever ends the holders of leases ends it."""
    path = tmp_path / "child.lock"
    parent = subprocess.Popen([sys.executable, "-c", DIES_AT_THE_START, path, *SLEEP])
    assert parent.wait(120) == -signal.SIGKILL
    wait_until(lambda: holder(path) not in {None, parent.pid}, 30, "nobody finds the child")
    assert end_holders([path], 30) == 1
    assert holder(path) is None


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """After the seconds that it was given."""
    log = tmp_path / "child.log"
    child = start_child([sys.executable, "-c", IGNORE_SIGTERM], None, log)
    wait_until(lambda: "deaf" in log.read_text(), 60, "it does not start")
    child.terminate()
    stop_child(child, 0.2)
    assert child.returncode == -signal.SIGKILL


def test_a_long_log_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    """A shorter one is continued."""
    log = tmp_path / "logs" / "child.log"
    for size, kept in ((10, 10), (LOG_BYTES + 1, 0)):
        log.parent.mkdir(exist_ok=True)
        log.write_bytes(b"x" * size)
        stop_child(start_child(["true"], None, log), 30)
        assert log.stat().st_size == kept
    assert log.with_suffix(".log.1").stat().st_size == LOG_BYTES + 1


def test_a_detached_process_is_no_child(tmp_path: Path) -> None:
    """It runs in a session of its own, and somebody else has to reap it."""
    log = tmp_path / "detached.log"
    code = "import os; print(os.getpid() != 0, os.getsid(0), flush=True)"
    start_detached([sys.executable, "-c", code], dict(os.environ), log)
    wait_until(lambda: log.read_text().endswith("\n"), 60, "it does not start")
    assert int(log.read_text().split()[1]) != os.getsid(0)
