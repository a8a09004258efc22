"""A scratch home with an embedded broker, and deployments on it; all of it is removed in the end.

What is measured in it lives in `bench` and `speed`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import command_seconds, peak_mebibytes
from streaming.errors import PurchasesError
from streaming.kafka.open_listener import require_rules
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.system.lease import holder
from tests.support import allow_everything

ROOT = Path(__file__).parents[1]
PURCHASES = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]


@dataclass(frozen=True)
class Bench:
    """A scratch home with its broker; every run has a namespace and a home of its own below."""

    home: Path
    environment: dict[str, str]

    @property
    def servers(self) -> str:
        """Where the broker listens."""
        return self.environment["PURCHASES_BOOTSTRAP_SERVERS"]

    @property
    def settings(self) -> Settings:
        """The settings that its commands read."""
        return Settings(
            home=self.home,
            bootstrap_servers=self.servers,
            namespace=self.environment.get("PURCHASES_NAMESPACE", ""),
            database_url=self.environment.get("PURCHASES_DATABASE_URL"),
        )

    def deployment(self, name: str) -> "Bench":
        """Return a deployment of its own on this broker, its topics created."""
        home = self.home / name
        home.mkdir()
        servers = (self.home / "servers").read_text()
        made = Bench(
            home,
            {
                **self.environment,
                "PURCHASES_HOME": str(home),
                "PURCHASES_NAMESPACE": name,
                "PURCHASES_BOOTSTRAP_SERVERS": servers,
            },
        )
        made.run("topics", "create")
        return made

    def with_database(self, url: str) -> "Bench":
        """Return the same with a server's database in place of the file."""
        return replace(self, environment={**self.environment, "PURCHASES_DATABASE_URL": url})

    def make_other_home(self, name: str) -> "Bench":
        """Return another home over the same topics."""
        home = self.home / name
        home.mkdir()
        return Bench(home, {**self.environment, "PURCHASES_HOME": str(home)})

    @property
    def database(self) -> Path:
        """Where its database is."""
        return self.home / "purchases.db"

    def run(self, *arguments: str) -> float:
        """Run a command to its end; give its seconds."""
        return command_seconds([*PURCHASES, *arguments], self.environment)

    def replay(self, file: Path) -> None:
        """Replay a file as recorded; that some of its rows will be refused is no failure."""
        command = [*PURCHASES, "replay", str(file)]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=False)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """Keep a command running."""
        with self.process([*PURCHASES, *arguments], arguments[0]):
            yield

    @contextmanager
    def process(self, command: list[str], name: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Keep a program running, its output in a log of this home; SIGTERM ends it."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait()

    def count_stored(self) -> int:
        """Return the number of stored events."""
        try:
            with read_store(self.settings) as store:
                row = store.execute("SELECT coalesce(sum(events), 0) FROM live_totals").fetchone()
        # There are no tables before the consumer's first start.
        except PurchasesError:
            return 0
        return int(row[0])

    def wait_until_stored(self, events: int) -> None:
        """Wait for the number of stored events, at most ten minutes."""
        deadline = time.monotonic() + 600
        while self.count_stored() < events:
            if time.monotonic() > deadline:
                raise TimeoutError(events)
            time.sleep(0.05)

    def worker_memory(self, app: str) -> float:
        """Return the peak memory (MiB) of an app's first worker."""
        return peak_mebibytes(holder(self.home / "workers" / f"{app}-0.lock") or 0)


@contextmanager
def clean_home() -> Iterator[Bench]:
    """Return a scratch home in which nothing runs, and remove it in the end."""
    home = Path(tempfile.mkdtemp(prefix="purchases-bench-"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
    try:
        yield Bench(home, {**environment, "PURCHASES_HOME": str(home), "PYTHONPATH": str(ROOT)})
    finally:
        shutil.rmtree(home)


@contextmanager
def scratch() -> Iterator[Bench]:
    """Start an embedded broker in a scratch home, and remove all of it in the end."""
    with clean_home() as bench:
        try:
            bench.run("broker", "start")
            # The deployments have namespaces, which the open listener does not permit.
            require_rules(Settings(home=bench.home), allow_everything())
            status = subprocess.run(
                [*PURCHASES, "broker", "status"],
                env=bench.environment,
                capture_output=True,
                text=True,
                check=True,
            )
            (bench.home / "servers").write_text(status.stdout.split()[2])
            yield bench
        finally:
            bench.run("broker", "stop")
