"""The locks of runs: one writes at a time, and a dead one differs from a live one."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.builds import locks
from assets.builds.locks import hold_write_lock, is_run_alive
from streaming.errors import PurchasesError, Unavailable
from streaming.system.home import Home
from streaming.system.lease import holder
from tests.support import wait_until

CHILD = """
import sys, time
from pathlib import Path
from assets.builds.locks import hold_write_lock
with hold_write_lock(Path(sys.argv[1]), "other"):
    time.sleep(120)
"""


@contextmanager
def other_run(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Let another process hold the locks of the run `other`; the last one it takes is to write."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(home)])
    try:
        wait_until(
            lambda: holder(Home(home).write_lease) == child.pid, 60, "the other run does not start"
        )
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_is_run_alive_as_long_as_its_process(tmp_path: Path) -> None:
    """The kernel frees the lock of a process that was killed."""
    assert not is_run_alive(tmp_path, "other")
    with other_run(tmp_path) as child:
        assert is_run_alive(tmp_path, "other")
        child.kill()
        child.wait()
        assert not is_run_alive(tmp_path, "other")


def test_a_run_that_ended_leaves_no_file(tmp_path: Path) -> None:
    """Runs are many; the write lock alone stays."""
    with hold_write_lock(tmp_path, "mine"):
        assert is_run_alive(tmp_path, "mine")
    assert not is_run_alive(tmp_path, "mine")
    assert list(Home(tmp_path).run_lease("mine").parent.iterdir()) == [Home(tmp_path).write_lease]


def test_one_run_writes_at_a_time(tmp_path: Path) -> None:
    """The next one waits, alive, until the first has ended."""
    entered = threading.Event()

    def wait_and_write() -> None:
        with hold_write_lock(tmp_path, "mine"):
            entered.set()

    waiting = threading.Thread(target=wait_and_write)
    with other_run(tmp_path):
        waiting.start()
        wait_until(lambda: is_run_alive(tmp_path, "mine"), 60, "the second run does not start")
        assert not entered.is_set()
    waiting.join(30)
    assert entered.is_set()


def test_the_wait_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that never ends is named by its process."""
    monkeypatch.setattr(locks, "DEADLINE_SECONDS", 0.0)
    with (
        other_run(tmp_path) as child,
        pytest.raises(Unavailable, match=f"{child.pid} holds"),
        hold_write_lock(tmp_path, "mine"),
    ):
        pass
    assert not is_run_alive(tmp_path, "mine")


def test_a_run_is_not_run_twice(tmp_path: Path) -> None:
    """The same id in another process is refused."""
    with (
        other_run(tmp_path) as child,
        pytest.raises(PurchasesError, match=str(child.pid)),
        hold_write_lock(tmp_path, "other"),
    ):
        pass
    assert not is_run_alive(tmp_path, "other")
