"""The supervisor of one app: it keeps a worker process in each slot, and stops them all.

It starts a worker that died again (after 0.2 s, doubling to 5 s) and kills one without a heartbeat.
What the workers do is in `processor` and `analytics`.
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
from streaming.runtime.limits import (
    LONGEST_DELAY_SECONDS,
    SILENT_SECONDS,
    START_SECONDS,
    STATUS_SECONDS,
)
from streaming.runtime.status_file import WorkerStatus, read_status, replace_json
from streaming.runtime.worker import EXIT_LEASED
from streaming.settings import Settings, worker_environment
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder
from streaming.system.logs import get_logger
from streaming.system.privacy import keep_private

FIRST_DELAY_SECONDS: Final = 0.2
"""A single death costs no time; what dies again soon is slowed down by the doubling."""
HEALTHY_SECONDS: Final = 10.0
"""A worker that lived so long has joined its group; its death is a new event, not the same one."""


@dataclass
class SupervisedSlot:
    """One slot: its process, what others read of it, and when it may start (monotonic seconds)."""

    number: int
    restarts: SlotRestarts
    process: subprocess.Popen[bytes] | None = None
    deaths: CrashLoopDetector = field(default_factory=CrashLoopDetector)
    delay: float = FIRST_DELAY_SECONDS
    start_at: float = 0.0
    started_at: float = 0.0
    heartbeat: float = 0.0
    heartbeat_seen_at: float = 0.0
    has_reported: bool = False


class Supervisor:
    """The workers of one app as child processes; call `step` a few times a second.

    They are in this process's group, so that they end with its terminal.
    """

    def __init__(self, settings: Settings, app: App, slots: int) -> None:
        self.app = app
        # From -1, because each start counts, and the first one is no restart.
        self.slots = [
            SupervisedSlot(number, SlotRestarts(number, restarts=-1)) for number in range(slots)
        ]
        self._status = SupervisorStatus(
            app.name, os.getpid(), time.time(), 0.0, [slot.restarts for slot in self.slots]
        )
        self._written_at = 0.0
        self._home = settings.home
        self._environment = worker_environment(settings)
        self._lease: Lease | None = None

    def start(self) -> None:
        """Take the lease of the app, and start its workers.

        Raises `PurchasesError` if another supervisor of this home holds the lease.
        """
        keep_private(self._home)
        path = Home(self._home).supervisor_lease(self.app.name)
        self._lease = acquire(path)
        if self._lease is None:
            raise PurchasesError(
                f"The {self.app.name} of {self._home} is already supervised by process"
                f" {holder(path)}; stop that one first (`purchases down`, or Ctrl-C where it runs)."
            )
        self.step()

    def step(self) -> None:
        """Check each slot once: reap a dead worker, start one that is due, kill a silent one."""
        now = time.monotonic()
        for slot in self.slots:
            if slot.process is None:
                if now >= slot.start_at:
                    self._spawn(slot, now)
                continue
            code = slot.process.poll()
            if code is not None:
                self._reap(slot, code, now)
            elif self._is_silent(slot, now):
                # By SIGKILL, because a worker that is silent in spite of its watchdog may be a
                # stopped process, which hears nothing else.
                slot.process.kill()
                get_logger().error("silent_worker_killed", app=self.app.name, slot=slot.number)
        if now - self._written_at >= STATUS_SECONDS:
            self._write_status()

    def ask_to_stop(self) -> None:
        """Ask the workers to drain and leave; a stopped one is continued, or it would not hear."""
        for process in self._list_running():
            # In this order, so that the signal is there when a stopped process goes on.
            process.terminate()
            process.send_signal(signal.SIGCONT)

    def stop(self, seconds: float) -> None:
        """Let the workers drain for at most `seconds`, kill the rest, and release the lease."""
        self.ask_to_stop()
        deadline = time.monotonic() + seconds
        for process in self._list_running():
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                get_logger().error("worker_killed", app=self.app.name, pid=process.pid)
                process.kill()
                process.wait()
        if self._lease is not None:
            self._lease.close()

    def _list_running(self) -> list[subprocess.Popen[bytes]]:
        return [slot.process for slot in self.slots if slot.process is not None]

    def _spawn(self, slot: SupervisedSlot, now: float) -> None:
        module, number, own_pid = self.app.module, slot.number, os.getpid()
        # With our id a worker notices that we died, and leaves.
        command = [sys.executable, "-m", module, f"--slot={number}", f"--supervisor={own_pid}"]
        try:
            slot.process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            # The host has no process or memory just now; the other slots must work on.
            slot.restarts.last_error = f"it cannot be started: {error.strerror}"
            slot.start_at = now + LONGEST_DELAY_SECONDS
            get_logger().error(
                "worker_not_started", app=self.app.name, slot=number, error=str(error)
            )
            return
        slot.restarts.pid = slot.process.pid
        slot.restarts.restarts += 1
        slot.started_at = slot.heartbeat_seen_at = now
        slot.has_reported = False

    def _reap(self, slot: SupervisedSlot, code: int, now: float) -> None:
        self._record_death(slot, code, now)
        slot.process = None
        # The process that has the lease may be a worker that a dead supervisor left stopped.
        if code == EXIT_LEASED:
            self._end_stuck_holder(slot)
        # The delay of a crash loop stays long until progress is seen, however long a worker lived.
        if slot.deaths.failing:
            slot.delay = LONGEST_DELAY_SECONDS
        elif now - slot.started_at >= HEALTHY_SECONDS:
            slot.delay = FIRST_DELAY_SECONDS
        slot.start_at = now + slot.delay
        slot.delay = min(slot.delay * 2, LONGEST_DELAY_SECONDS)
        get_logger().warning("worker_ended", app=self.app.name, slot=slot.number, code=code)

    def _record_death(self, slot: SupervisedSlot, code: int, now: float) -> None:
        # Before the id is forgotten: progress counts for the process that made it.
        status = self._read_worker_status(slot, now)
        pid = slot.restarts.pid or 0
        slot.deaths.record_death(now)
        slot.restarts.pid = None
        slot.restarts.failing = slot.deaths.failing
        slot.restarts.last_exit_code = code
        slot.restarts.last_error = death_reason(code, status, pid)
        slot.restarts.last_ended_at = time.time()
        self._write_status()

    def _write_status(self) -> None:
        self._written_at = time.monotonic()
        self._status.updated_at = time.time()
        replace_json(Home(self._home).supervisor_status(self.app.name), self._status)

    def _read_worker_status(self, slot: SupervisedSlot, now: float) -> WorkerStatus | None:
        """Return the worker's status file, and note its heartbeat and its progress."""
        status = read_status(self._home, self.app.name, slot.number)
        if status is None or status.updated_at == slot.heartbeat:
            return status
        slot.heartbeat, slot.heartbeat_seen_at = status.updated_at, now
        # The file may still be that of the worker before.
        slot.has_reported = status.pid == slot.restarts.pid
        if slot.has_reported and status.progressed_at:
            slot.deaths.record_progress()
            slot.delay = FIRST_DELAY_SECONDS
            slot.restarts.failing = False
        return status

    def _end_stuck_holder(self, slot: SupervisedSlot) -> None:
        """Kill a worker that a dead supervisor left stopped: it would hold its lease forever."""
        status = read_status(self._home, self.app.name, slot.number)
        pid = holder(Home(self._home).worker_lease(self.app.name, slot.number))
        if status is None or status.pid != pid:
            return
        if time.time() - status.updated_at > SILENT_SECONDS:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_silent(self, slot: SupervisedSlot, now: float) -> bool:
        """Return whether the status file did not change for too long, by the monotonic clock."""
        self._read_worker_status(slot, now)
        limit = SILENT_SECONDS if slot.has_reported else START_SECONDS
        return now - slot.heartbeat_seen_at > limit
