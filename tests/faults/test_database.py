"""The database locked, without room, read-only, damaged, or not one at all."""

import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.runtime.status_file import read_status
from streaming.system.disk_space import free_bytes
from tests.deployment import Deployment
from tests.faults.table import inject_fault
from tests.faults.test_workers import wait
from tests.support import wait_until

LONG = pytest.mark.faults
ALSO = pytest.mark.injection


def state(deployment: Deployment) -> str:
    """Return the consumer's state and why."""
    status = read_status(deployment.home, "analytics", 0)
    return "" if status is None else f"{status.state}: {status.detail}"


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(8, marks=ALSO), *(pytest.param(seconds, marks=LONG) for seconds in (30, 90))],
)
def test_another_writer_locks_the_database(
    deployment: Deployment, request: pytest.FixtureRequest, seconds: float
) -> None:
    """The worker lives and waits: no restart, no batch lost."""

    def lock() -> None:
        worker = deployment.worker_pid("analytics")
        with deployment.writing():
            wait_until(lambda: state(deployment).startswith("paused"), 60, state(deployment))
            wait(seconds - 6)
        assert deployment.worker_pid("analytics") == worker

    with inject_fault(deployment, request) as injection:
        injection.strike(lock, 60)


@pytest.mark.sqlite("the disk of a file")
def test_the_disk_under_the_database_fills_and_is_freed(
    deployment: Deployment, small_disk: Path, request: pytest.FixtureRequest
) -> None:
    """Below 256 MiB the store pauses before anything breaks, and goes on by itself."""
    url = f"sqlite:///{small_disk / 'purchases.db'}"
    placed = replace(deployment, more={"PURCHASES_DATABASE_URL": url})
    (placed.home / "purchases.db").symlink_to(small_disk / "purchases.db")
    filler = small_disk / "filler"

    def fill() -> None:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_bytes(small_disk) - 4 * 1024 * 1024)
        wait_until(lambda: "disk" in state(placed), 60, state(placed))
        filler.unlink()

    with inject_fault(placed, request) as injection:
        injection.strike(fill, 60)


@pytest.mark.sqlite("the disk of a file")
def test_a_read_only_database_stops_the_store_and_says_so(
    deployment: Deployment, small_disk: Path
) -> None:
    """It is said at once, nothing is overwritten, and it goes on when that is mended."""
    url = f"sqlite:///{small_disk / 'purchases.db'}"
    placed = replace(deployment, more={"PURCHASES_DATABASE_URL": url})
    placed.succeed("db", "upgrade")
    placed.succeed("produce", "--rate", "max", "--count", "200")
    placed.process()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = placed.run("analyze", "--until-caught-up")
    assert done.returncode == 1
    assert "may not be opened" in done.stderr or "read-only" in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    placed.analyze()
    placed.succeed("verify")


@pytest.mark.sqlite("what may be wrong with a file")
@pytest.mark.parametrize(
    "what", [pytest.param("text", marks=ALSO), pytest.param("page", marks=LONG)]
)
def test_a_file_that_is_no_database_or_damaged_is_left_as_it_is(
    deployment: Deployment, what: str
) -> None:
    """It stops and says so; not a byte of the file changes."""
    deployment.succeed("produce", "--rate", "max", "--count", "3000")
    deployment.process()
    deployment.analyze()
    path = deployment.home / "purchases.db"
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    if what == "text":
        content[:100] = b"not a database, but somebody's notes".ljust(100)
    else:
        content[4096 * 8 : 4096 * 200] = os.urandom(4096 * 192)
    path.write_bytes(content)
    for more in ("-wal", "-shm"):
        path.with_name(path.name + more).unlink(missing_ok=True)
    deployment.succeed("produce", "--rate", "max", "--count", "500")
    deployment.process()
    done = deployment.run("analyze", "--until-caught-up", "--timeout", "5")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert path.read_bytes()[:4096] == bytes(content[:4096])
