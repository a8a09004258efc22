"""Dagster's webserver and daemon, and the page, as children of `up`, started again when they end.

Each leads a session of its own and holds a lease: whoever starts next finds it, and ends it with
all that it started (code servers, run workers).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestration.instance import dagster_environment
from streaming.dashboard.address import bind_socket, dashboard_url
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.system.child_process import start_child
from streaming.system.home import Home
from streaming.system.lease import acquire, holder

HOST: Final = "127.0.0.1"
RESTART_SECONDS: Final = 5.0
STOP_SECONDS: Final = 1.0
PARTS: Final = ("webserver", "daemon", "page")


class Services:
    """All three processes; call `step` a few times a second.

    The page's port is chosen first, so that what Dagster shows can link to it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if not dashboard_url(settings):
            bind_socket(settings).close()
        self._port = _choose_port(Home(settings.home).webserver_port)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start_at = dict.fromkeys(PARTS, 0.0)

    @property
    def dagster_url(self) -> str:
        """Where the webserver is, or will be."""
        return f"http://{HOST}:{self._port}"

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard is; empty before its first start."""
        return dashboard_url(self._settings)

    def step(self) -> None:
        """Start what does not run, at most every five seconds."""
        now = time.monotonic()
        for part in PARTS:
            process = self._processes.get(part)
            if (process is None or process.poll() is not None) and now >= self._start_at[part]:
                self._start_at[part] = now + RESTART_SECONDS
                self._processes[part] = self._start(part)

    def ask_to_stop(self) -> None:
        """Ask all to leave."""
        for process in self._processes.values():
            process.terminate()

    def stop(self, seconds: float) -> None:
        """Let them leave for `seconds`, a second at most; then kill them with all they started.

        Their storages are SQLite and bear it, and a run that dies is found by the next daemon.
        """
        deadline = time.monotonic() + min(seconds, STOP_SECONDS)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.01))
            _kill_group(process.pid)
            process.wait()

    def _start(self, part: str) -> subprocess.Popen[bytes]:
        log = Home(self._settings.home).service_log(part)
        lease = acquire(Home(self._settings.home).service_lease(part))
        if lease is None:
            raise PurchasesError(f"Another {part} of this home runs; run `purchases down`.")
        module = (
            ["orchestration.cli.main", "dashboard"]
            if part == "page"
            else ["orchestration.local.serve", part]
        )
        where = ["--host", HOST, "--port", str(self._port)] if part == "webserver" else []
        with lease:
            return start_child(
                [sys.executable, "-m", *module, *where],
                dagster_environment(self._settings),
                log,
                lease,
                own_session=True,
            )


def read_dagster_url(settings: Settings) -> str | None:
    """Return the URL of a home's webserver; None if it does not run."""
    port = Home(settings.home).webserver_port
    if not port.exists() or holder(Home(settings.home).service_lease("webserver")) is None:
        return None
    return f"http://{HOST}:{port.read_text().strip()}"


def end_services(home: Path, seconds: float) -> int:
    """End what an earlier `up` hosted; give how many there were."""
    found = {path: pid for part in PARTS if (pid := holder(path := Home(home).service_lease(part)))}
    for pid in found.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(holder(path) for path in found):
        time.sleep(0.05)
    for pid in found.values():
        _kill_group(pid)
    return len(found)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _choose_port(memory: Path) -> int:
    """Return the port of the last time, so that a bookmark stays right, or another one if taken."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    remembered = int(memory.read_text()) if memory.exists() else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, remembered))
        except OSError:
            probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    memory.write_text(f"{port}\n")
    return port
