"""`up` and `down` on a home of their own, with the embedded broker: killed, ended, gone on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streaming.broker.embedded import broker_status
from streaming.lease import holder
from tests.conftest import bring_jars
from tests.support import wait_until


class Home:
    """A home of its own, and the commands on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "up.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
        self.environment = {**clean, "PURCHASES_HOME": str(path)}

    def command(self, *arguments: str) -> list[str]:
        """Give the command line of `purchases`."""
        return [sys.executable, "-c", "from orchestration.main import run; run()", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
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
        """Give the fields of the last progress line."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines if '"event": "progress"' in line]
        return found[-1] if found else {}

    def events(self) -> int:
        """Give the stored events that `totals` tells, 0 before there is a database."""
        done = self.run("totals", "--json")
        return int(json.loads(done.stdout)["events"]) if done.returncode == 0 else 0

    def processes(self) -> list[psutil.Process]:
        """Give all processes that have this home in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PURCHASES_HOME") == str(self.path):
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def home(jars: Path, tmp_path: Path) -> Iterator[Home]:
    """A home with Kafka's jars and nothing else, in which nothing runs at the end."""
    bring_jars(jars, tmp_path)
    made = Home(tmp_path)
    yield made
    made.run("down")


@pytest.mark.timeout(300)
def test_up_survives_sigkill_goes_on_and_leaves_nothing_behind(home: Home) -> None:
    """One story: demo, kill -9 of `up` and of the broker, both go on, `down` ends all in 10 s."""
    first = home.up("--demo")
    wait_until(lambda: home.events() > 20_000, 120, f"no events:\n{home.log.read_text()}")
    first.kill()
    first.wait()
    before = home.events()

    second = home.up("--demo")
    wait_until(lambda: home.events() > max(before, 100_000), 120, home.log.read_text())
    broker = broker_status(home.path).pid
    assert broker is not None
    os.kill(broker, signal.SIGKILL)
    killed_at = home.events()
    wait_until(lambda: home.events() > killed_at + 10_000, 120, home.log.read_text())
    assert broker_status(home.path).pid != broker

    third = home.run("up")
    assert third.returncode == 1
    assert "runs in" in third.stderr
    assert "Traceback" not in home.log.read_text()

    started = time.monotonic()
    done = home.run("down")
    assert (done.returncode, done.stdout.strip()) == (0, "Everything is stopped.")
    assert time.monotonic() - started < 12
    assert second.wait(5) == 0
    assert home.processes() == []
    assert home.run("down").stdout.startswith("Nothing runs")


@pytest.mark.timeout(120)
def test_ctrl_c_ends_everything(home: Home) -> None:
    """SIGINT to the whole process group, as a terminal sends it, leaves no process."""
    process = home.up()
    lease = home.path / "workers" / "processor-0.lock"
    wait_until(lambda: home.progress() and holder(lease), 60, "up does not work")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 0
    wait_until(lambda: home.processes() == [], 5, "something that had just been started stays")


def test_the_demonstration_is_refused_on_somebodys_own_broker(home: Home) -> None:
    """It would write a year of invented purchases there."""
    home.environment["PURCHASES_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    done = home.run("up", "--demo")
    assert done.returncode == 2
    assert "--demo" in done.stderr
    assert len(done.stderr.splitlines()) == 1
