"""A process keeps its own log small while it runs."""

import os
import signal
import sys
from pathlib import Path

from streaming.system.child_process import start_child, stop_child
from streaming.system.log_rotation import LOG_BYTES
from tests.support import wait_until

CHATTY = f"""
import subprocess, sys, time
from streaming.system.log_rotation import rotate_own_log
rotate_own_log()
subprocess.Popen(["/bin/sh", "-c", "while sleep 0.1; do echo a line; done"])
print("first", flush=True)
print("x" * {LOG_BYTES}, flush=True)
time.sleep(600)
"""


def test_a_log_is_rotated_under_all_that_write_into_it(tmp_path: Path) -> None:
    """The process that has it does so, and its children go on in the same file."""
    log = tmp_path / "chatty.log"
    before = log.with_suffix(".log.1")
    process = start_child([sys.executable, "-c", CHATTY], None, log, own_session=True)
    try:
        wait_until(before.exists, 60, "the log is not rotated")
        wait_until(lambda: 0 < log.stat().st_size < LOG_BYTES, 60, "the child's lines stay away")
        assert b"first" in before.read_bytes()
        assert set(log.read_bytes().split(b"\n")) == {b"a line", b""}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        stop_child(process, 30)
