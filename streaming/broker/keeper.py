"""The keeper of the embedded broker: it starts a broker that died, in a child process.

How a broker is started is in `embedded`.
"""

import subprocess
import sys
import time
from typing import Final

from streaming.broker.embedded import broker_status
from streaming.settings import Settings, worker_environment
from streaming.system.child_process import start_child, stop_child
from streaming.system.home import Home
from streaming.system.logs import get_logger

CHECK_SECONDS: Final = 1.0
"""A check costs a `flock`; clients notice a broker's death only after seconds."""


class BrokerKeeper:
    """Call `step` a few times a second; once a second it checks that the broker lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._starter: subprocess.Popen[bytes] | None = None
        self._check_at = 0.0

    def step(self) -> None:
        """Start a broker that died; while its start is under way, do nothing."""
        if time.monotonic() < self._check_at:
            return
        self._check_at = time.monotonic() + CHECK_SECONDS
        if self._starter is not None and self._starter.poll() is None:
            return
        self._starter = None
        if broker_status(self._settings.home).state == "stopped":
            get_logger().warning("broker_gone", home=str(self._settings.home))
            # In a child, because a start takes seconds, and `up` has other children to look at.
            self._starter = self._start()

    def ask_to_stop(self) -> None:
        """Ask a start that is under way to stop; the broker itself is stopped elsewhere."""
        if self._starter is not None:
            self._starter.terminate()

    def stop(self, seconds: float) -> None:
        """Wait for that start for at most `seconds`, then kill it."""
        if self._starter is not None:
            stop_child(self._starter, seconds)

    def _start(self) -> "subprocess.Popen[bytes]":
        return start_child(
            [sys.executable, "-m", "streaming", "broker", "start"],
            worker_environment(self._settings),
            Home(self._settings.home).broker_keeper_log,
        )
