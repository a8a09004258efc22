"""Keeping the embedded broker alive: one that died is started again, without holding up who asks.

How a broker is started lives in `embedded`; here only when.
"""

import subprocess
import sys
import time
from typing import Final

from streaming.broker.embedded import broker_status
from streaming.settings import Settings, worker_environment
from streaming.system.home import Home
from streaming.system.logs import get_logger

LOOK_SECONDS: Final = 1.0


class BrokerKeeper:
    """Call `step` a few times a second; each second it looks whether the broker is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._starter: subprocess.Popen[bytes] | None = None
        self._look_at = 0.0

    def step(self) -> None:
        """Start a broker that is not there, in a child process, and look again when that ended."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        if self._starter is not None and self._starter.poll() is None:
            return
        self._starter = None
        if broker_status(self._settings.home).state == "stopped":
            get_logger().warning("broker_gone", home=str(self._settings.home))
            self._starter = self._start()

    def ask_to_stop(self) -> None:
        """End a start that is under way; what it started already is ended with the broker."""
        if self._starter is not None:
            self._starter.terminate()

    def stop(self, seconds: float) -> None:
        """Wait for that for `seconds`, then kill."""
        if self._starter is None:
            return
        try:
            self._starter.wait(seconds)
        except subprocess.TimeoutExpired:
            self._starter.kill()
            self._starter.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        with Home(self._settings.home).broker_keeper_log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "streaming", "broker", "start"],
                env=worker_environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
