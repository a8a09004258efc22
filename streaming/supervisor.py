"""The supervisor of one app: keeps a worker process running in each slot, and ends them all.

It starts what died again (0.2 s doubling to 5), kills what no longer beats, and knows nothing of
what the workers do. `process` and `analyze` are it for one app, `up` runs one for each.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError
from streaming.lease import Lease, acquire, holder
from streaming.logs import get_logger
from streaming.settings import PREFIX, Settings
from streaming.worker import EXIT_LEASED, lease_path, read_status

MODULES: Final = {"processor": "streaming.processor", "analytics": "streaming.analytics"}
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 5.0
HEALTHY_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 30.0


@dataclass
class Slot:
    """One worker: its process, and when it may start again (monotonic seconds)."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    restarts: int = -1
    delay: float = FIRST_DELAY_SECONDS
    start_at: float = 0.0
    started: float = 0.0
    beat: float = 0.0
    beat_seen: float = 0.0


class Supervisor:
    """Workers as children in this process's group; call `step` a few times a second."""

    def __init__(self, settings: Settings, app: str, slots: int) -> None:
        self.app = app
        self.slots = [Slot(number) for number in range(slots)]
        self._home = settings.home
        self._environment = worker_environment(settings)
        self._lease: Lease | None = None

    def start(self) -> None:
        """Take the app of this home. Raises `PurchasesError` where another supervisor has it."""
        path = supervisor_path(self._home, self.app)
        self._lease = acquire(path)
        if self._lease is None:
            raise PurchasesError(
                f"The {self.app} of {self._home} is already supervised by process {holder(path)};"
                " stop that one first (`purchases down`, or Ctrl-C where it runs)."
            )
        self.step()

    def step(self) -> None:
        """Look at each slot once: reap, start again, kill what is silent."""
        now = time.monotonic()
        for slot in self.slots:
            if slot.process is None:
                if now >= slot.start_at:
                    self._spawn(slot, now)
                continue
            code = slot.process.poll()
            if code is not None:
                self._reap(slot, code, now)
            elif self._silent_for(slot, now) > SILENT_SECONDS:
                get_logger().error("silent_worker_killed", app=self.app, slot=slot.number)
                slot.process.kill()

    def ask_to_stop(self) -> None:
        """Ask the workers to drain and leave; a stopped one goes on, to hear it."""
        for process in self._running():
            process.terminate()
            process.send_signal(signal.SIGCONT)

    def stop(self, seconds: float) -> None:
        """Let the workers drain for at most `seconds`, then kill; give up the app."""
        self.ask_to_stop()
        deadline = time.monotonic() + seconds
        for process in self._running():
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                get_logger().error("worker_killed", app=self.app, pid=process.pid)
                process.kill()
                process.wait()
        if self._lease is not None:
            self._lease.close()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [slot.process for slot in self.slots if slot.process is not None]

    def _spawn(self, slot: Slot, now: float) -> None:
        slot.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                MODULES[self.app],
                f"--slot={slot.number}",
                f"--supervisor={os.getpid()}",
            ],
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )
        slot.restarts += 1
        slot.started = slot.beat_seen = now

    def _reap(self, slot: Slot, code: int, now: float) -> None:
        slot.process = None
        if code == EXIT_LEASED:
            self._end_stuck_holder(slot)
        if now - slot.started >= HEALTHY_SECONDS:
            slot.delay = FIRST_DELAY_SECONDS
        slot.start_at = now + slot.delay
        slot.delay = min(slot.delay * 2, LONGEST_DELAY_SECONDS)
        get_logger().warning("worker_ended", app=self.app, slot=slot.number, code=code)

    def _end_stuck_holder(self, slot: Slot) -> None:
        """Kill a worker that a dead supervisor left stopped: it holds its lease for ever."""
        status = read_status(self._home, self.app, slot.number)
        pid = holder(lease_path(self._home, self.app, slot.number))
        if status is None or status.pid != pid:
            return
        if time.time() - status.updated_at > SILENT_SECONDS:
            os.kill(pid, signal.SIGKILL)

    def _silent_for(self, slot: Slot, now: float) -> float:
        """Give the seconds since the worker's status file last changed, by our own clock."""
        status = read_status(self._home, self.app, slot.number)
        if status is not None and status.updated_at != slot.beat:
            slot.beat, slot.beat_seen = status.updated_at, now
        return now - slot.beat_seen


def supervisor_path(home: Path, app: str) -> Path:
    """Give the path of the lease that a supervisor of `app` holds."""
    return home / "workers" / f"{app}.supervisor.lock"


def worker_environment(settings: Settings) -> dict[str, str]:
    """Give the environment in which a child reads these settings, whatever its directory."""
    given = {
        f"{PREFIX}{name.upper()}": str(value)
        for name, value in settings.model_dump().items()
        if value is not None
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, **given}
