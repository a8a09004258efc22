"""Supervisors that outlive whoever starts them, kept running by a wish that must be renewed.

The wish is a file: whoever wants an app to run touches it. A supervisor that was started with it
holds its lease, and leaves when it has gone stale; one that was started by hand has none.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from streaming.apps import App
from streaming.settings import Settings, worker_environment
from streaming.system.home import Home
from streaming.system.lease import holder

KEEP_ALIVE_SECONDS: Final = 45.0
LOG_BYTES_KEPT: Final = 10 * 1024 * 1024


class KeepAlive:
    """Whether a keep-alive file is still touched, by our own clock: the machine's may jump."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._touched: int | None = None
        self._seen = clock()

    def is_fresh(self) -> bool:
        """Look at the file; False once it is gone, or untouched for `KEEP_ALIVE_SECONDS`."""
        try:
            touched = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if touched != self._touched:
            self._touched, self._seen = touched, self._clock()
        return self._clock() - self._seen <= KEEP_ALIVE_SECONDS


@dataclass(frozen=True)
class Supervision:
    """Who supervises an app: nobody until now (`started`), one by wish, or one `by_hand`."""

    state: Literal["started", "wanted", "by_hand"]
    pid: int | None


def keep_running(settings: Settings, app: App) -> Supervision:
    """Touch the wish for `app`, and start a supervisor where none holds the app; in 20 ms.

    One that runs already is found, whoever started it. Whether a started one gets on is in its log.
    """
    wish = Home(settings.home).keep_alive(app.name)
    wish.parent.mkdir(parents=True, exist_ok=True)
    wish.touch()
    pid = holder(Home(settings.home).supervisor_lease(app.name))
    if pid is None:
        _start(settings, app, wish)
        return Supervision("started", None)
    return Supervision("wanted" if holder(wish) == pid else "by_hand", pid)


def _start(settings: Settings, app: App, wish: Path) -> None:
    """Start it as a grandchild in a session of its own: nobody here has to reap it."""
    log = Home(settings.home).supervisor_log(app.name)
    if log.exists() and log.stat().st_size > LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
    command = [sys.executable, "-m", "streaming", app.command, "--keep-alive", os.fspath(wish)]
    with log.open("ab") as output:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            env=worker_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )
