"""The supervisor of one app: keeps a worker process running in each slot, and ends them all.

It starts what died again (0.2 s doubling to 5), kills what no longer beats, and knows nothing of
what the workers do. `process` and `analyze` are it for one app, `up` runs one for each.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from streaming.apps import App
from streaming.errors import PurchasesError
from streaming.runtime.crash_loop import (
    CrashLoopDetector,
    SlotRestarts,
    SupervisorStatus,
    death_reason,
)
from streaming.runtime.limits import LONGEST_DELAY_SECONDS, SILENT_SECONDS, STATUS_SECONDS
from streaming.runtime.status_file import WorkerStatus, read_status, replace_json
from streaming.runtime.worker import EXIT_LEASED
from streaming.settings import Settings, worker_environment
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder
from streaming.system.logs import get_logger

FIRST_DELAY_SECONDS: Final = 0.2
HEALTHY_SECONDS: Final = 10.0


@dataclass
class SupervisedSlot:
    """One worker: its process, and when it may start again (monotonic seconds)."""

    number: int
    said: SlotRestarts
    process: subprocess.Popen[bytes] | None = None
    deaths: CrashLoopDetector = field(default_factory=CrashLoopDetector)
    delay: float = FIRST_DELAY_SECONDS
    start_at: float = 0.0
    started: float = 0.0
    beat: float = 0.0
    beat_seen: float = 0.0


class Supervisor:
    """Workers as children in this process's group; call `step` a few times a second."""

    def __init__(self, settings: Settings, app: App, slots: int) -> None:
        self.app = app
        self.slots = [
            SupervisedSlot(number, SlotRestarts(number, restarts=-1)) for number in range(slots)
        ]
        self._status = SupervisorStatus(
            app.name, os.getpid(), time.time(), 0.0, [slot.said for slot in self.slots]
        )
        self._written = 0.0
        self._home = settings.home
        self._environment = worker_environment(settings)
        self._lease: Lease | None = None

    def start(self) -> None:
        """Take the app of this home. Raises `PurchasesError` where another supervisor has it."""
        path = Home(self._home).supervisor_lease(self.app.name)
        self._lease = acquire(path)
        if self._lease is None:
            raise PurchasesError(
                f"The {self.app.name} of {self._home} is already supervised by process"
                f" {holder(path)}; stop that one first (`purchases down`, or Ctrl-C where it runs)."
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
                slot.process.kill()
                get_logger().error("silent_worker_killed", app=self.app.name, slot=slot.number)
        if now - self._written >= STATUS_SECONDS:
            self._write_status()

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
                get_logger().error("worker_killed", app=self.app.name, pid=process.pid)
                process.kill()
                process.wait()
        if self._lease is not None:
            self._lease.close()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [slot.process for slot in self.slots if slot.process is not None]

    def _spawn(self, slot: SupervisedSlot, now: float) -> None:
        module, number, own_pid = self.app.module, slot.number, os.getpid()
        command = [sys.executable, "-m", module, f"--slot={number}", f"--supervisor={own_pid}"]
        try:
            slot.process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            # No process or memory is to be had just now; the other slots work on.
            slot.said.last_error = f"it cannot be started: {error.strerror}"
            slot.start_at = now + LONGEST_DELAY_SECONDS
            get_logger().error(
                "worker_not_started", app=self.app.name, slot=number, error=str(error)
            )
            return
        slot.said.pid = slot.process.pid
        slot.said.restarts += 1
        slot.started = slot.beat_seen = now

    def _reap(self, slot: SupervisedSlot, code: int, now: float) -> None:
        self._remember_death(slot, code, now)
        slot.process = None
        if code == EXIT_LEASED:
            self._end_stuck_holder(slot)
        if slot.deaths.failing:
            slot.delay = LONGEST_DELAY_SECONDS
        elif now - slot.started >= HEALTHY_SECONDS:
            slot.delay = FIRST_DELAY_SECONDS
        slot.start_at = now + slot.delay
        slot.delay = min(slot.delay * 2, LONGEST_DELAY_SECONDS)
        get_logger().warning("worker_ended", app=self.app.name, slot=slot.number, code=code)

    def _remember_death(self, slot: SupervisedSlot, code: int, now: float) -> None:
        status = self._look(slot, now)
        pid = slot.said.pid or 0
        slot.deaths.record_death(now)
        slot.said.pid = None
        slot.said.failing = slot.deaths.failing
        slot.said.last_exit_code = code
        slot.said.last_error = death_reason(code, status, pid)
        slot.said.last_ended_at = time.time()
        self._write_status()

    def _write_status(self) -> None:
        self._written = time.monotonic()
        self._status.updated_at = time.time()
        replace_json(Home(self._home).supervisor_status(self.app.name), self._status)

    def _look(self, slot: SupervisedSlot, now: float) -> WorkerStatus | None:
        """Read what the worker last wrote, and note when it did and whether it got anywhere."""
        status = read_status(self._home, self.app.name, slot.number)
        if status is None or status.updated_at == slot.beat:
            return status
        slot.beat, slot.beat_seen = status.updated_at, now
        if status.pid == slot.said.pid and status.progressed_at:
            slot.deaths.record_progress()
            slot.delay = FIRST_DELAY_SECONDS
            slot.said.failing = False
        return status

    def _end_stuck_holder(self, slot: SupervisedSlot) -> None:
        """Kill a worker that a dead supervisor left stopped: it holds its lease for ever."""
        status = read_status(self._home, self.app.name, slot.number)
        pid = holder(Home(self._home).worker_lease(self.app.name, slot.number))
        if status is None or status.pid != pid:
            return
        if time.time() - status.updated_at > SILENT_SECONDS:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _silent_for(self, slot: SupervisedSlot, now: float) -> float:
        """Give the seconds since the worker's status file last changed, by our own clock."""
        self._look(slot, now)
        return now - slot.beat_seen
