"""A home of its own in which tests run `purchases`, as somebody at a terminal does."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from orchestration.local.services import chosen_services
from streaming.apps import APPS
from streaming.settings import Settings
from streaming.store.connection import store_exists
from streaming.system.home import Home
from tests.databases import NOT_YET, home_settings, read_rows, store_variables
from tests.in_process import run_here


class HomeRunner:
    """A home of its own, and the commands on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "up.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
        self.environment = {**clean, "PURCHASES_HOME": str(path), **store_variables(path)}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `purchases`."""
        return [sys.executable, "-c", "from orchestration.cli.main import run; run()", *arguments]

    def run(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a command to its end: in this process, but for those that start and end others."""
        if arguments[0] not in {"up", "down"}:
            return run_here("orchestration.cli.main", arguments, self.environment)
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def background(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command and go on."""
        with (self.path / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                self.command(*arguments), env=self.environment, stdout=log, stderr=log
            )

    def up(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start `up` in a session of its own, as a terminal does."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command("up", *arguments),
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def progress(self) -> dict[str, object]:
        """Return the fields of the last progress line."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        events = [json.loads(line) for line in lines if '"event": "progress"' in line]
        return events[-1] if events else {}

    def count_progress(self) -> int:
        """Return how many progress lines there are."""
        return self.log.read_text().count('"event": "progress"') if self.log.exists() else 0

    def events(self) -> int:
        """Return the number of stored events, 0 before there is a database.

        Asked for again and again: the command `totals` would connect to Kafka each time.
        """
        if not store_exists(self.settings):
            return 0
        with suppress(*NOT_YET):
            return int(self.rows("SELECT sum(events) FROM live_totals")[0][0] or 0)
        return 0

    def days_with_events(self) -> list[str]:
        """Return the days of the ledger that have events."""
        return [
            day for (day,) in self.rows("SELECT day FROM day_ledger WHERE events > 0 ORDER BY day")
        ]

    @property
    def settings(self) -> Settings:
        """Settings of the home, by which a test looks into its store."""
        return home_settings(self.path)

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Query the database."""
        return read_rows(self.settings, statement, *values)

    def processes(self) -> list[psutil.Process]:
        """Return all processes that have this home in their environment."""
        pids = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PURCHASES_HOME") == str(self.path):
                    pids.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return [process for process in pids if process.status() != psutil.STATUS_ZOMBIE]


def leases(home: HomeRunner) -> list[Path]:
    """Return the leases of all that `up` runs on one host beside the broker: apps and services."""
    files = Home(home.path)
    services = chosen_services(Settings(home=home.path))
    workers = [files.worker_lease(app.name, 0) for app in APPS]
    return [*workers, *map(files.service_lease, services)]
