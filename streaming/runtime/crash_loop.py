"""How often a slot's worker died, and whether it gets anywhere: what its supervisor says of it.

Pure but for the file's place and reading. Who starts workers again is in `supervisor`.
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
FAILING_SECONDS: Final = 60.0
MEANINGS: Final = {
    0: "it left by itself",
    EXIT_LEASED: "another process works this slot",
    EXIT_STUCK: "its loop was stuck",
}


class SlotRestarts(Struct):
    """One slot as its supervisor sees it; times are epoch seconds.

    `failing` says that it died five times within a minute without any progress, and has made none
    since; it is started again all the same. `last_error` is of the last death.
    """

    slot: int
    pid: int | None = None
    restarts: int = 0
    failing: bool = False
    last_exit_code: int | None = None
    last_error: str = ""
    last_ended_at: float | None = None


class SupervisorStatus(Struct):
    """What a supervisor says of itself, in `<home>/workers/<app>.supervisor.json`."""

    app: str
    pid: int
    started_at: float
    updated_at: float
    slots: list[SlotRestarts]


class CrashLoopDetector:
    """Tells whether a slot's worker dies again and again without progress."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=FAILING_DEATHS)
        self.failing = False

    def record_progress(self) -> None:
        """Note that a worker committed something, or had nothing left to do."""
        self._deaths.clear()
        self.failing = False

    def record_death(self, now: float) -> None:
        """Note that a worker ended at `now` (monotonic s)."""
        self._deaths.append(now)
        full = len(self._deaths) == FAILING_DEATHS
        self.failing |= full and now - self._deaths[0] <= FAILING_SECONDS


def death_reason(code: int, status: WorkerStatus | None, pid: int) -> str:
    """Say in words why the worker `pid` ended: what it wrote itself, else what its code means."""
    if status is not None and status.pid == pid and status.state == "failed":
        return status.detail
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return MEANINGS.get(code, f"it ended with exit code {code}; its log says why")


def read_supervisor_status(home: Path, app: str) -> SupervisorStatus | None:
    """Read what the supervisor of `app` last wrote; None where there is nothing."""
    try:
        content = Home(home).supervisor_status(app).read_bytes()
        return msgspec.json.decode(content, type=SupervisorStatus)
    except (OSError, ValueError):
        return None
