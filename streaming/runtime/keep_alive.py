"""Supervisors that outlive the process that starts them, while their keep-alive file is touched.

`up` and Dagster's sensors touch the file of an app that is to run. A supervisor in the background
leaves when the file is stale; one started by hand has no such file. Which supervisor it keeps
running is another file, a lease: taking that must not look like a touch.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from streaming.apps import App
from streaming.settings import Settings, worker_environment
from streaming.system.child_process import start_detached
from streaming.system.home import Home
from streaming.system.lease import holder

KEEP_ALIVE_SECONDS: Final = 45.0
"""Three ticks (15 s each) of the sensors that touch the file: one late tick ends nothing."""


class KeepAlive:
    """The freshness of a keep-alive file, by the monotonic clock of its reader.

    The file's time is only compared with itself: the host's clock may jump.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._touched_ns: int | None = None
        self._seen = clock()

    def is_fresh(self) -> bool:
        """Return False if the file is gone, or untouched for `KEEP_ALIVE_SECONDS`."""
        try:
            touched_ns = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if touched_ns != self._touched_ns:
            self._touched_ns, self._seen = touched_ns, self._clock()
        return self._clock() - self._seen <= KEEP_ALIVE_SECONDS


@dataclass(frozen=True)
class Supervision:
    """The supervisor of an app: `started` just now, in the background, or `by_hand`.

    `wanted` is the state of one in the background. `elsewhere` means that only other hosts run the
    app. `pid` is None then, and if it was started just now.
    """

    state: Literal["started", "wanted", "by_hand", "elsewhere"]
    pid: int | None


def keep_running(settings: Settings, app: App) -> Supervision:
    """Touch the keep-alive file of `app`, and start a supervisor if none lives; takes 20 ms.

    Does nothing if this host has no slot of it. A supervisor that runs already is found, whoever
    started it. Its log says how it does.
    """
    if app.slots(settings) == 0:
        return Supervision("elsewhere", None)
    home = Home(settings.home)
    keep_alive = home.keep_alive(app.name)
    keep_alive.parent.mkdir(parents=True, exist_ok=True)
    # Touched before anything is asked: a supervisor that is about to leave then stays.
    keep_alive.touch()
    pid = holder(home.supervisor_lease(app.name))
    if pid is not None:
        background = holder(home.keep_alive_lease(app.name))
        return Supervision("wanted" if background == pid else "by_hand", pid)
    # Two callers may both come here: the lease of the app lets one of their supervisors live.
    start_detached(
        [sys.executable, "-m", "streaming", app.command, "--keep-alive", os.fspath(keep_alive)],
        worker_environment(settings),
        home.supervisor_log(app.name),
    )
    return Supervision("started", None)
