"""The purchases of `up --demo`: a recorded year first, then generated ones, in a child process.

The child inherits a lease, so that the next `up` or `down` finds it even after a SIGKILL.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import streaming
from streaming.errors import PurchasesError
from streaming.settings import Settings, worker_environment
from streaming.system.child_process import start_child, stop_child
from streaming.system.home import Home
from streaming.system.lease import acquire

EVENTS_PER_SECOND: Final = 20
"""So many that figures move visibly, and so few that a laptop stays quiet."""
EXAMPLE: Final = "online_retail.parquet"


class DemoProducer:
    """Runs the replay to its end, then the generator for as long as it is stepped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        replay = ["replay", str(example_file()), "--shift-to-now"]
        self._next = [replay, ["produce", "--rate", str(EVENTS_PER_SECOND)]]
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.activity = ""

    def step(self) -> None:
        """Start the next command when the one before has succeeded; repeat a failed one."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            if code != 0:
                self._next.insert(0, self._command)
            self._process = None
        if self._next:
            self._command = self._next.pop(0)
            self.activity = self._command[0]
            self._process = self._start(self._command)

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


def example_file() -> Path:
    """Return the recorded year: in the installed package, or in the checkout's `examples/`."""
    package = Path(streaming.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / EXAMPLE).is_file():
            return folder / EXAMPLE
    raise PurchasesError(f"{EXAMPLE} is missing from this installation; install it again.")
