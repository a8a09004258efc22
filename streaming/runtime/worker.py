"""What every worker process has around its loop: lease, heartbeat, watchdog, signals, status file.

A worker is one process of one slot of one app, started by a supervisor. What it does in its loop
lives in `processor` and `analytics`; who starts it again lives in `supervisor`.
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from streaming.apps import App
from streaming.errors import PurchasesError
from streaming.runtime.counters import (
    Bounds,
    RateWindow,
    RefusalWindow,
    Sample,
    at_ends,
    lag_of,
    positions_of,
)
from streaming.runtime.latency import with_events
from streaming.runtime.status_file import WorkerStatus, replace_json
from streaming.settings import Settings, load_settings
from streaming.system.home import Home
from streaming.system.lease import acquire
from streaming.system.logs import configure_logs, get_logger
from streaming.system.shutdown import Stop

WATCHDOG_SECONDS: Final = 8
STATUS_SECONDS: Final = 1.0
JOINING_SECONDS: Final = 10.0
COLLECTED_AFTER: Final = (200_000, 50, 100)
EXIT_FAILED: Final = 1
EXIT_LEASED: Final = 3
EXIT_STUCK: Final = 70


class Runtime:
    """The worker's life: `turn` says whether to go on, and proves that the loop still turns."""

    def __init__(self, home: Path, app: str, slot: int, supervisor: int | None) -> None:
        self.path = Home(home).worker_status(app, slot)
        self.status = WorkerStatus(app, slot, os.getpid(), started_at=time.time())
        self._supervisor = supervisor
        self._stop = Stop()
        self._turned = threading.Event()
        self._written = 0.0
        self._patience = WATCHDOG_SECONDS
        self._rates = RateWindow()
        self._refusals = RefusalWindow()

    def watch(self) -> None:
        """Listen to SIGTERM, ignore SIGINT (the supervisor's matter), and start the watchdog."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()

    def turn(self) -> bool:
        """Mark a turn of the loop; False when asked to stop, or when the supervisor has died."""
        self._turned.set()
        if time.monotonic() - self._written >= STATUS_SECONDS:
            self.write_status()
        orphaned = self._supervisor is not None and os.getppid() != self._supervisor
        return not (orphaned or self._stop.is_set())

    @contextmanager
    def at_most(self, seconds: int) -> Iterator[None]:
        """Let the watchdog bear with the call inside for `seconds` only."""
        self._turned.set()
        self._patience = seconds
        try:
            yield
        finally:
            self._turned.set()
            self._patience = WATCHDOG_SECONDS

    def pause(self, by: str, seconds: float = 1.0) -> None:
        """Wait inside the living worker, paused by `by`, for at most `seconds`."""
        if (self.status.state, self.status.detail) != ("paused", by):
            get_logger().warning("paused", by=by)
        self.set_state("paused", by)
        self._turned.set()
        self._stop.wait(seconds)

    def stand_by(self, of: str, seconds: float) -> None:
        """Wait for at most `seconds`, as another host's worker has this slot."""
        self.set_state("standby", of)
        self._turned.set()
        self._stop.wait(seconds)

    def set_state(self, state: str, detail: str = "") -> None:
        """Change the state, and write it at once where it is another than before."""
        if (state, detail) != (self.status.state, self.status.detail):
            self.status.state, self.status.detail = state, detail
            if state not in {"caught_up", "running"}:
                self.write_status()

    def committed(
        self,
        records: int,
        stored: int,
        duplicates: int,
        refused: Iterable[tuple[str, bytes | None]],
        last_at: float,
    ) -> None:
        """Count a committed batch; of the refused reason and key, `last_at` of the last record."""
        status, letters = self.status, list(refused)
        status.records += records
        status.stored += stored
        status.duplicates += duplicates
        status.refused += len(letters)
        self._refusals.add(time.monotonic(), records, letters)
        status.committed_at = status.progressed_at = time.time()
        status.lag_seconds = round(max(status.committed_at - last_at, 0.0), 3)

    def took(self, timestamps: Iterable[int]) -> None:
        """Count how long stored events took to the last commit since their origins' times (ms)."""
        status = self.status
        status.latencies = with_events(status.latencies, timestamps, status.committed_at)

    def stands(self, bounds: Bounds) -> None:
        """Take positions and ends of the owned partitions; at all ends it has caught up.

        A worker that owns none is still joining, or after a while has nothing to do.
        """
        status, now = self.status, time.time()
        if not bounds and now - status.started_at < JOINING_SECONDS:
            return
        status.positions = positions_of(bounds)
        status.lag_records = lag_of(bounds)
        if at_ends(bounds):
            status.lag_seconds, status.progressed_at = 0.0, now
            self.set_state("caught_up")
        else:
            self.set_state("running")

    def write_status(self) -> None:
        """Replace the status file."""
        self._written = now = time.monotonic()
        status = self.status
        status.updated_at = time.time()
        status.refusals = self._refusals.seen(now)
        if status.progressed_at:
            counters = (status.records, status.stored, status.refused, status.duplicates)
            status.rates = self._rates.add(Sample(now, *counters, status.lag_records))
        replace_json(self.path, status)

    def _watchdog(self) -> None:
        """End a process whose loop is stuck: some client calls block for ever.

        It counts its own seconds, so that a process that was stopped and goes on is not stuck.
        """
        still = 0
        while True:
            time.sleep(1)
            patience = self._patience
            still = 0 if self._turned.is_set() else still + 1
            self._turned.clear()
            if still >= patience:
                break
        try:
            get_logger().error("stuck", seconds=still)
        finally:
            os._exit(EXIT_STUCK)


def run_worker(
    app: App, slot: int, supervisor: int | None, main: Callable[[Settings, Runtime], None]
) -> int:
    """Run `main` as the worker of a slot; give the process's exit code.

    Whatever goes wrong is said in one log line and in the status file.
    """
    configure_logs()
    structlog.contextvars.bind_contextvars(app=app.name, slot=slot, pid=os.getpid())
    try:
        settings = load_settings()
        configure_logs(debug=settings.log_level == "debug")
        lease = acquire(Home(settings.home).worker_lease(app.name, slot))
    except (PurchasesError, OSError) as error:
        get_logger().error("failed", error=str(error))
        return EXIT_FAILED
    if lease is None:
        get_logger().warning("leased", detail="another process works this slot")
        return EXIT_LEASED
    # A batch leaves no cycles, and looking for them in each takes 5 to 10 % of the CPU.
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    runtime = Runtime(settings.home, app.name, slot, supervisor)
    runtime.watch()
    with lease:
        return _run(settings, runtime, main)


def _run(settings: Settings, runtime: Runtime, main: Callable[[Settings, Runtime], None]) -> int:
    try:
        main(settings, runtime)
    except PurchasesError as error:
        runtime.set_state("failed", str(error))
        get_logger().error("failed", error=str(error), kind=type(error).__name__)
        return EXIT_FAILED
    except Exception as error:
        runtime.set_state("failed", f"{type(error).__name__}: {error}")
        get_logger().exception("crashed")
        return EXIT_FAILED
    runtime.set_state("stopped")
    return 0
