"""The purchases of `up --demo`: a recorded year, then generated ones, in a child process.

The generated ones begin an hour ago, so that the chart of the last hour is one from the start.

The child inherits a lease, so that the next `up` or `down` finds it even after a SIGKILL.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import streaming
from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings, worker_environment
from streaming.store.connection import read_store
from streaming.store.live_totals import count_events_since
from streaming.system.child_process import start_child, stop_child
from streaming.system.home import Home
from streaming.system.lease import acquire
from streaming.units import micros_of

EVENTS_PER_SECOND: Final = 2
"""So many that figures move visibly. Twenty are 72,000 in the first hour, which is fifty days of
the recorded year: all other days would be flat beside today."""
LAST_HOUR: Final = timedelta(hours=1)
SPARSE: Final = 0.25
"""The share of a generated hour below which the last one is filled: the recorded year's last hour
is below it, and one in which this demonstration ran for fifteen minutes is not."""
EXAMPLE: Final = "online_retail.parquet"
ACTIVITIES: Final = {
    "replay": "loading the example year",
    "produce": f"live: {EVENTS_PER_SECOND} generated purchases/s",
}
"""What the live view says, by the command that runs."""


class DemoProducer:
    """Runs the replay to its end, then the generator for as long as it is stepped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next: list[Callable[[Settings], list[str]]] = [_replay, _generate]
        self._run = self._next[0]
        self._process: subprocess.Popen[bytes] | None = None
        self.activity = ""

    def step(self) -> None:
        """Start the next command when the one before has succeeded; repeat a failed one.

        The replay fails once when all is sent, because two rows of the year will be refused. One
        that may not go on, because the time zone was changed since it was begun, is left.
        """
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            if code not in {0, UsageError.exit_code}:
                # A crash, or a broker that was not there yet: the replay goes on where it stopped.
                self._next.insert(0, self._run)
            self._process = None
        if self._next:
            self._run = self._next.pop(0)
            command = self._run(self._settings)
            self.activity = ACTIVITIES[command[0]]
            self._process = self._start(command)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the child."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Wait `seconds` for the child, then kill it."""
        if self._process is not None:
            stop_child(self._process, seconds)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = Home(self._settings.home).feeder_log
        lease = acquire(Home(self._settings.home).feeder_lease)
        if lease is None:
            raise PurchasesError("Another demonstration runs in this home; run `purchases down`.")
        with lease:
            return start_child(
                [sys.executable, "-m", "streaming", *command],
                worker_environment(self._settings),
                log,
                lease,
            )


def _replay(_: Settings) -> list[str]:
    return ["replay", str(example_file()), "--shift-to-now"]


def _generate(settings: Settings) -> list[str]:
    """Return the command that generates purchases: from an hour ago, if the last one has few."""
    command = ["produce", "--rate", str(EVENTS_PER_SECOND)]
    since = datetime.now(UTC) - LAST_HOUR
    try:
        with read_store(settings) as store:
            stored = count_events_since(store, micros_of(since))
    except PurchasesError:
        return command  # an hour twice is worse than one that is empty
    is_sparse = stored < SPARSE * EVENTS_PER_SECOND * LAST_HOUR.total_seconds()
    return [*command, "--since", since.isoformat()] if is_sparse else command


def example_file() -> Path:
    """Return the recorded year: in the installed package, or in the checkout's `examples/`."""
    package = Path(streaming.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / EXAMPLE).is_file():
            return folder / EXAMPLE
    raise PurchasesError(f"{EXAMPLE} is missing from this installation; install it again.")
