"""The frame of every worker process: lease, heartbeat, watchdog, signals, status file.

A worker is one process of one slot of one app, started by a supervisor. What it does in its loop is
in `processor` and `analytics`; what starts it again is in `supervisor`.
"""

import argparse
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from streaming.apps import App, worker_name
from streaming.errors import PurchasesError
from streaming.runtime.counters import (
    CounterSample,
    RateWindow,
    ReadPositions,
    RecentWindow,
    SustainedRate,
    is_caught_up,
    list_positions,
    sum_unknown_fields,
    total_lag,
)
from streaming.runtime.latency import with_latencies
from streaming.runtime.limits import STATUS_SECONDS, WATCHDOG_SECONDS
from streaming.runtime.status_file import WorkerStatus, replace_json
from streaming.settings import Settings, load_settings
from streaming.system.home import Home
from streaming.system.lease import acquire
from streaming.system.loading import GC_THRESHOLDS
from streaming.system.logs import configure_logs, get_logger
from streaming.system.shutdown import StopRequest

JOINING_SECONDS: Final = 10.0
"""Longer than the session timeout (6 s), within which the group assigns what a dead member had."""
EXIT_FAILED: Final = 1
EXIT_LEASED: Final = 3
EXIT_STUCK: Final = 70
"""3 and 70 are no codes of Python, a shell or a signal, so the supervisor knows why it ended."""


class Runtime:
    """One worker's heartbeat, state and counters, for its loop: `while runtime.heartbeat(): ...`.

    `name` is the worker's among all hosts. A loop that does not call it for `WATCHDOG_SECONDS` is
    stuck, and its process is ended.
    """

    def __init__(
        self, home: Path, app: str, slot: int, supervisor: int | None, host: str = ""
    ) -> None:
        self.name = worker_name(app, host, slot)
        self.path = Home(home).worker_status(app, slot)
        self.status = WorkerStatus(app, slot, os.getpid(), started_at=time.time())
        self._supervisor = supervisor
        self._stop = StopRequest()
        self._beaten = threading.Event()
        self._written_at = 0.0
        self._limit = WATCHDOG_SECONDS
        self._rates = RateWindow()
        self._sustained = SustainedRate()
        self._recent = RecentWindow()

    def start(self) -> None:
        """Install the handler of SIGTERM, ignore SIGINT and SIGHUP, and start the watchdog.

        Ctrl-C in a terminal, and its closing, reach the whole process group; the supervisor then
        asks the workers.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()

    def heartbeat(self) -> bool:
        """Record a turn of the loop, and write the status file if it is due.

        Returns False when asked to stop, or when the supervisor has died.
        """
        self._beaten.set()
        if time.monotonic() - self._written_at >= STATUS_SECONDS:
            self.write_status()
        # No signal tells that the parent was killed, but its id is another one then.
        orphaned = self._supervisor is not None and os.getppid() != self._supervisor
        return not (orphaned or self._stop.is_set())

    @contextmanager
    def watchdog_limit(self, seconds: int) -> Iterator[None]:
        """Limit the call inside to `seconds` in place of `WATCHDOG_SECONDS`."""
        # A turn at both ends, so that each limit judges its own seconds only
        # (docs/postmortems/0013).
        self._beaten.set()
        self._limit = seconds
        try:
            yield
        finally:
            self._beaten.set()
            self._limit = WATCHDOG_SECONDS

    def pause(self, by: str, seconds: float = 1.0) -> None:
        """Set the state `paused`, and wait for at most `seconds` or until asked to stop.

        `by` names what the worker waits for, such as `broker`.
        """
        # A pause is repeated every second, and only its beginning is news.
        if (self.status.state, self.status.detail) != ("paused", by):
            get_logger().warning("paused", by=by)
        self.set_state("paused", by)
        self._beaten.set()
        self._stop.wait(seconds)

    def stand_by(self, of: str, seconds: float) -> None:
        """Set the state `standby`, and wait: another host's worker, `of`, has this slot."""
        self.set_state("standby", of)
        self._beaten.set()
        self._stop.wait(seconds)

    def set_state(self, state: str, detail: str = "") -> None:
        """Set the state; a change is written at once, unless it is one between running states."""
        if (state, detail) != (self.status.state, self.status.detail):
            self.status.state, self.status.detail = state, detail
            # A worker goes from one of these to the other with each small batch; the next second
            # shows it.
            if state not in {"caught_up", "running"}:
                self.write_status()

    def record_batch(
        self,
        records: int,
        stored: int,
        duplicates: int,
        refused: Iterable[tuple[str, bytes | None]],
        last_at: float,
    ) -> None:
        """Count a committed batch.

        `records` were read, `stored` of them published or stored, `refused` has reason and key of
        each refused one. `last_at` is the timestamp of the last record, in epoch seconds.
        """
        status, refusals = self.status, list(refused)
        status.records += records
        status.stored += stored
        status.duplicates += duplicates
        status.refused += len(refusals)
        self._recent.add(time.monotonic(), records, refusals)
        status.committed_at = status.progressed_at = time.time()
        status.lag_seconds = round(max(status.committed_at - last_at, 0.0), 3)

    def observe_latencies(self, timestamps: Iterable[int]) -> None:
        """Count the latencies of stored events, from their producers' timestamps (epoch ms).

        A latency ends with the last recorded batch.
        """
        status = self.status
        status.latencies = with_latencies(status.latencies, timestamps, status.committed_at)

    def observe_contents(self, without_price: int, unknown_fields: Mapping[str, int]) -> None:
        """Count what the purchases of the last recorded batch held.

        `without_price` of the accepted ones had no price, and `unknown_fields` says how many had
        each field that the contract does not know.
        """
        self._recent.add_without_price(without_price)
        if unknown_fields:
            status = self.status
            status.unknown_fields = sum_unknown_fields([status.unknown_fields, unknown_fields])

    def observe_positions(self, positions: ReadPositions) -> None:
        """Take positions and end offsets of the assigned partitions; at all ends it has caught up.

        A worker without partitions is still joining; after `JOINING_SECONDS` it is idle.
        """
        status, now = self.status, time.time()
        if not positions and now - status.started_at < JOINING_SECONDS:
            return
        status.positions = list_positions(positions)
        status.lag_records = total_lag(positions)
        if is_caught_up(positions):
            status.lag_seconds, status.progressed_at = 0.0, now
            self.set_state("caught_up")
        else:
            self.set_state("running")

    def write_status(self) -> None:
        """Replace the status file, with the rates and recent records of now."""
        self._written_at = now = time.monotonic()
        status = self.status
        status.updated_at = time.time()
        status.recent = self._recent.count_recent(now)
        # Not before the first progress: rates would count the wait for cluster and database too.
        if status.progressed_at:
            counters = (status.records, status.stored, status.refused, status.duplicates)
            status.rates = self._rates.add(CounterSample(now, *counters, status.lag_records))
            status.stored_per_second = self._sustained.add(now, status.stored)
        replace_json(self.path, status)

    def _watchdog(self) -> None:
        """End the process if its loop is stuck: librdkafka may block forever (#5456, #5511)."""
        silent = 0
        while True:
            # Counting its own seconds, not the clock's: a process that was stopped and continues
            # is not stuck.
            time.sleep(1)
            # Read before the heartbeat: a long call that returns between the two must not be
            # judged by the shorter limit that holds after it.
            limit = self._limit
            silent = 0 if self._beaten.is_set() else silent + 1
            self._beaten.clear()
            if silent >= limit:
                break
        try:
            get_logger().error("stuck", seconds=silent)
        finally:
            # No handler or destructor runs: the stuck call may hold what they wait for.
            os._exit(EXIT_STUCK)


def run_worker(app: App, main: Callable[[Settings, Runtime], None]) -> int:
    """Run `main` as the worker of the slot that the arguments name; return the exit code.

    An error is in one log line and in the status file.
    """
    parser = argparse.ArgumentParser(description="The worker of one slot, started by a supervisor.")
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--supervisor", type=int, default=None, help="leave when it is gone")
    arguments = parser.parse_args()
    slot: int = arguments.slot
    # Before the settings are read, so that what is wrong with them is a log line too.
    configure_logs()
    structlog.contextvars.bind_contextvars(app=app.name, slot=slot, pid=os.getpid())
    try:
        settings = load_settings()
        configure_logs(debug=settings.log_level == "debug", host=settings.host)
        lease = acquire(Home(settings.home).worker_lease(app.name, slot))
    except (PurchasesError, OSError) as error:
        get_logger().error("failed", error=str(error))
        return EXIT_FAILED
    # Before the status file is touched, which is the holder's.
    if lease is None:
        get_logger().warning("slot_leased", detail="another process works this slot")
        return EXIT_LEASED
    # A batch leaves no cycles, and searching for them in each batch takes 5 to 10 % of the CPU.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    runtime = Runtime(settings.home, app.name, slot, arguments.supervisor, settings.host)
    runtime.start()
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
