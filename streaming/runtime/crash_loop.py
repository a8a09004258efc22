"""Crash loops: how often a slot's worker died, and whether it made progress in between.

Also the supervisor's status file, which says so. What starts workers again is in `supervisor`.
"""

import signal
from collections import deque
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from streaming.runtime.status_file import WorkerStatus
from streaming.runtime.worker import EXIT_LEASED, EXIT_STUCK
from streaming.system.home import Home

FAILING_DEATHS: Final = 5
"""Enough that kills by hand or a reboot of the broker are no crash loop."""
FAILING_SECONDS: Final = 60.0
"""At the longest delay (5 s) five deaths take 25 s, so a crash loop is always found."""
MEANINGS: Final = {
    0: "it left by itself",
    EXIT_LEASED: "another process works this slot",
    EXIT_STUCK: "its loop was stuck",
}


class SlotRestarts(Struct):
    """One slot as its supervisor sees it; times are epoch seconds.

    `failing` means a crash loop: five deaths within a minute without progress, and none since.
    The worker is still started again. `last_error` is of the last death.
    """

    slot: int
    pid: int | None = None
    restarts: int = 0
    failing: bool = False
    last_exit_code: int | None = None
    last_error: str = ""
    last_ended_at: float | None = None


class SupervisorStatus(Struct):
    """The content of `<home>/workers/<app>.supervisor.json`."""

    app: str
    pid: int
    started_at: float
    updated_at: float
    slots: list[SlotRestarts]


class CrashLoopDetector:
    """Detects that a slot's worker dies again and again without progress."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=FAILING_DEATHS)
        self.failing = False

    def record_progress(self) -> None:
        """Record that a worker committed something, or had nothing left to do."""
        self._deaths.clear()
        self.failing = False

    def record_death(self, now: float) -> None:
        """Record that a worker ended at `now` (monotonic s)."""
        self._deaths.append(now)
        full = len(self._deaths) == FAILING_DEATHS
        # Only progress ends a crash loop: deaths that become rarer do not.
        self.failing |= full and now - self._deaths[0] <= FAILING_SECONDS


def death_reason(code: int, status: WorkerStatus | None, pid: int) -> str:
    """Return why the worker `pid` ended: its own words, or the meaning of its exit code."""
    if status is not None and status.pid == pid and status.state == "failed":
        return status.detail
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return MEANINGS.get(code, f"it ended with exit code {code}; its log says why")


def read_supervisor_status(home: Path, app: str) -> SupervisorStatus | None:
    """Return what the supervisor of `app` last wrote; None if there is nothing to read."""
    try:
        content = Home(home).supervisor_status(app).read_bytes()
        return msgspec.json.decode(content, type=SupervisorStatus)
    except (OSError, ValueError):
        return None
