"""The services that `up` runs beside the apps: Dagster's webserver and daemon, and the dashboard.

Each leads a session of its own and holds a lease: the next `up` or `down` finds it, and ends it
with all that it started (code servers, run workers). What Dagster's processes run is in `serve`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from assets.builds.locks import is_writing
from assets.tables.first_partition import choose_first_partition
from orchestration.instance import dagster_environment
from streaming.dashboard.address import bind_socket, dashboard_url
from streaming.errors import PurchasesError, Unavailable
from streaming.settings import Settings, secret_environment
from streaming.store.connection import read_store
from streaming.store.live_totals import read_first_day
from streaming.store.sql_tables import SqlTables, read_sql_tables
from streaming.system.child_process import start_child
from streaming.system.deadline import Deadline, wait_until
from streaming.system.home import Home
from streaming.system.lease import acquire, holder
from streaming.system.logs import get_logger

HOST: Final = "127.0.0.1"
"""Dagster has no users: whoever reaches it may change everything."""
RESTART_SECONDS: Final = 5.0
"""Between two starts of a service: one that cannot start must not keep a core busy."""
STOP_SECONDS: Final = 1.0
"""Less than they need to stop by themselves, so that all of `up` ends within its ten seconds."""
DAGSTER: Final = ("webserver", "daemon")
WORKER: Final = "worker"
SERVICES: Final = (*DAGSTER, WORKER, "page")
"""All that a host can run; which of them it does is in the settings."""
LOOK_SECONDS: Final = 10.0
"""How soon what Dagster has to load again is noticed; a look reads a row and the `.sql` files."""


class Services:
    """All services, started again when they end; call `step` a few times a second."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        services = chosen_services(settings)
        self._has_dagster = "daemon" in services
        # The dashboard's port is chosen before Dagster starts: its assets link to the dashboard.
        if "page" in services and not dashboard_url(settings):
            bind_socket(settings).close()
        self._port = _choose_port(Home(settings.home).webserver_port)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start_at = dict.fromkeys(services, 0.0)
        self._first_partition = self._read_first_partition()
        self._sql_tables = self._read_sql_tables()
        self._look_at = time.monotonic() + LOOK_SECONDS

    @property
    def dagster_url(self) -> str:
        """The URL of Dagster's UI, also before its first start; empty if it runs elsewhere."""
        return f"http://{HOST}:{self._port}" if self._has_dagster else ""

    @property
    def dashboard_url(self) -> str:
        """The URL of the dashboard; empty before its first start, and if it runs elsewhere."""
        return dashboard_url(self._settings)

    def step(self) -> None:
        """Start what does not run, at most every five seconds."""
        now = time.monotonic()
        if self._has_dagster and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._follow_definitions()
        for service, start_at in self._start_at.items():
            process = self._processes.get(service)
            if service == WORKER and self._is_executing():
                continue
            if (process is None or process.poll() is not None) and now >= start_at:
                self._start_at[service] = now + RESTART_SECONDS
                self._processes[service] = self._start(service)

    def _is_executing(self) -> bool:
        """Return whether a worker works, or runs that one left when it was killed."""
        # The processes of its runs hold its lease too, until they end by themselves.
        return holder(Home(self._settings.home).service_lease(WORKER)) is not None

    def _follow_definitions(self) -> None:
        """Let Dagster start again if days before its first partition, or other `.sql` files, came.

        Its assets are fixed when it loads them.
        """
        # Never later: while the database does not answer, a recent day stands for the first one.
        first = min(self._read_first_partition(), self._first_partition)
        tables = self._read_sql_tables()
        # While the server cannot check a file, nobody knows that it changed.
        if tables is None or (first, tables) == (self._first_partition, self._sql_tables):
            return
        # A run would die with the daemon that started it.
        if self._may_write():
            return
        if first < self._first_partition:
            get_logger().info("partitions_begin_earlier", first_partition=str(first))
        if tables != self._sql_tables:
            names = [table.name for table in tables.tables]
            get_logger().info("sql_files_changed", tables=names, wrong=sorted(tables.problems))
        self._first_partition, self._sql_tables = first, tables
        # The next step starts them again, with the new definitions.
        for service in DAGSTER:
            if process := self._processes.get(service):
                _kill_group(process.pid)

    def _may_write(self) -> bool:
        try:
            return is_writing(self._settings)
        except PurchasesError:
            # Nobody can tell now: to wait in vain is better than to kill a run.
            return True

    def _read_sql_tables(self) -> SqlTables | None:
        """Return the tables of files; None while the server cannot check one of them."""
        try:
            return read_sql_tables(self._settings)
        except Unavailable:
            return None

    def _read_first_partition(self) -> date:
        try:
            with read_store(self._settings) as store:
                stored = read_first_day(store, self._settings.history_start)
        except PurchasesError:
            stored = None
        return choose_first_partition(self._settings, stored, datetime.now(UTC))

    def ask_to_stop(self) -> None:
        """Send SIGTERM to all services."""
        for process in self._processes.values():
            process.terminate()

    def stop(self, seconds: float) -> None:
        """Wait `seconds`, one at most, then kill the services with all that they started."""
        # SQLite bears the kill, and the next daemon's sensor finds a run that died with it.
        deadline = Deadline.after(min(seconds, STOP_SECONDS))
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(deadline.left(least=0.01))
            # Also if its leader has ended: code servers and run workers are in the group.
            _kill_group(process.pid)
            process.wait()

    def _start(self, service: str) -> subprocess.Popen[bytes]:
        log = Home(self._settings.home).service_log(service)
        lease = acquire(Home(self._settings.home).service_lease(service))
        if lease is None:
            raise PurchasesError(f"Another {service} of this home runs; run `purchases down`.")
        first = str(self._first_partition)
        command = {
            "webserver": ["orchestration.local.serve", "webserver", first, str(self._port)],
            "daemon": ["orchestration.local.serve", "daemon", first],
            WORKER: ["orchestration.local.serve", WORKER],
            "page": ["orchestration.cli.main", "dashboard"],
        }[service]
        environment = dagster_environment(self._settings)
        if service not in {"daemon", WORKER}:
            # These show nothing to anybody, so they have no use for a token.
            environment |= secret_environment(self._settings)
        with lease:
            return start_child(
                [sys.executable, "-m", *command],
                environment,
                log,
                lease,
                own_session=True,
            )


def chosen_services(settings: Settings) -> list[str]:
    """Return which services this host runs; no worker, if runs do not go through Redis."""
    names = settings.services.split(",")
    return [
        *(DAGSTER if "dagster" in names else ()),
        *([WORKER] if "runs" in names and settings.dagster_redis_url else []),
        *(["page"] if "dashboard" in names else []),
    ]


def read_dagster_url(settings: Settings) -> str | None:
    """Return the URL of a home's webserver; None if it does not run."""
    port = Home(settings.home).webserver_port
    if not port.exists() or holder(Home(settings.home).service_lease("webserver")) is None:
        return None
    return f"http://{HOST}:{port.read_text().strip()}"


def end_services(home: Path, seconds: float) -> int:
    """End the services of an earlier `up`; return how many there were."""
    leases = [Home(home).service_lease(service) for service in SERVICES]
    leaders = {lease: pid for lease in leases if (pid := holder(lease))}
    for pid in leaders.values():
        # A service may have ended since its lease was read.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(holder, leaders)), Deadline.after(seconds))
    for lease, pid in leaders.items():
        # Who holds the lease now, or the group of who has ended: its code servers are left.
        _kill_group(holder(lease) or pid)
    return len(leaders)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _choose_port(file: Path) -> int:
    """Return the port of the last start, or a free one if it is taken; bookmarks stay valid."""
    file.parent.mkdir(parents=True, exist_ok=True)
    last_port = int(file.read_text()) if file.exists() else 0
    with socket.socket() as probe:
        # Without this, the port of the last start counts as taken for a minute (TIME_WAIT).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, last_port))
        except OSError:
            probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    file.write_text(f"{port}\n")
    return port
