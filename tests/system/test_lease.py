"""Leases: one holder at a time, known by its process id, until it closes or dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streaming.system.lease import TAKE_OVER, acquire, holder
from tests.support import wait_until

HOLD = """
import sys, time
from pathlib import Path
from streaming.system.lease import acquire
lease = acquire(Path(sys.argv[1]))
time.sleep(600)
"""


def test_a_lease_has_one_holder_until_it_is_closed(tmp_path: Path) -> None:
    """A second one gets nothing, and learns who has it; afterwards it is free again."""
    path = tmp_path / "a" / "lock"
    assert holder(path) is None
    lease = acquire(path)
    assert lease is not None
    with lease:
        assert acquire(path) is None
        assert holder(path) == os.getpid()
    assert holder(path) is None
    again = acquire(path)
    assert again is not None
    again.close()


def test_a_killed_holder_frees_its_lease(tmp_path: Path) -> None:
    """The kernel does it, so nobody is locked out by a file that was left."""
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)])
    wait_until(lambda: holder(path) == process.pid, 60, "it does not start")
    process.kill()
    process.wait()
    assert holder(path) is None


def test_a_shorter_process_id_leaves_nothing_of_the_longer_one(tmp_path: Path) -> None:
    """The id is written in place, so that a full disk is no obstacle."""
    path = tmp_path / "lock"
    path.write_text("1234567890123456789\n")
    with acquire(path) or pytest.fail("the lease is not free"):
        assert holder(path) == os.getpid()
        length = path.stat().st_size
        subprocess.run([*TAKE_OVER, path, "true"], check=True)
        assert holder(path) != os.getpid()
        assert path.stat().st_size == length
