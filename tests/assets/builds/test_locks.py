"""The locks of runs: a dead run differs from a live one, and who writes at a time."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from assets.builds import locks
from assets.builds.locks import hold_write_lock, is_run_alive, is_writing
from streaming.errors import PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.system.home import Home
from tests.support import wait_until

CHILD = """
import sys, time
from assets.builds.locks import hold_write_lock
from streaming.settings import Settings
home, url, alone = sys.argv[1:]
with hold_write_lock(Settings(home=home, database_url=url or None), "other", alone=alone == "True"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=[pytest.param("settings", marks=pytest.mark.sqlite), "postgres_settings"])
def shop(request: pytest.FixtureRequest) -> Settings:
    """A deployment whose store is a SQLite file, or a PostgreSQL database."""
    settings = request.getfixturevalue(request.param)
    assert isinstance(settings, Settings)
    return settings


@contextmanager
def other_run(settings: Settings, *, alone: bool = True) -> Iterator["subprocess.Popen[bytes]"]:
    """Let another process hold the locks of the run `other`; the last one it takes is to write."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, settings.home, settings.database_url or "", str(alone)],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_run_is_alive_as_long_as_its_process(shop: Settings) -> None:
    """The kernel, or the server, frees the lock of a process that was killed."""
    assert not is_run_alive(shop, "other")
    with other_run(shop) as child:
        assert is_run_alive(shop, "other")
        assert is_writing(shop)
        child.kill()
        child.wait()
        wait_until(lambda: not is_run_alive(shop, "other"), 30, "its lock stays")
        wait_until(lambda: not is_writing(shop), 30, "the lock to write stays")


@pytest.mark.sqlite("the file of a lock")
def test_a_run_that_ended_leaves_no_file(settings: Settings) -> None:
    """Runs are many; the write lock alone stays."""
    home = Home(settings.home)
    with hold_write_lock(settings, "mine"):
        assert is_run_alive(settings, "mine")
    assert not is_run_alive(settings, "mine")
    assert list(home.run_lease("mine").parent.iterdir()) == [home.write_lease]


@pytest.mark.parametrize("alone", [True, False])
def test_who_writes_alone_is_waited_for(shop: Settings, *, alone: bool) -> None:
    """The next run waits, alive, until the first has ended; so does one that writes alone."""
    entered = threading.Event()

    def wait_and_write() -> None:
        with hold_write_lock(shop, "mine", alone=not alone):
            entered.set()

    waiting = threading.Thread(target=wait_and_write)
    with other_run(shop, alone=alone):
        waiting.start()
        wait_until(lambda: is_run_alive(shop, "mine"), 60, "the second run does not start")
        assert not entered.is_set()
    waiting.join()
    assert entered.is_set()


def test_builds_write_side_by_side_in_postgresql(postgres_settings: Settings) -> None:
    """Each has its own lock, on whatever host it is."""
    elsewhere = postgres_settings.model_copy(update={"home": postgres_settings.home / "other"})
    with other_run(elsewhere, alone=False), hold_write_lock(postgres_settings, "mine"):
        assert is_run_alive(postgres_settings, "other")
        assert is_run_alive(elsewhere, "mine")


def test_a_build_does_not_wait_for_a_run_that_waits_to_write_alone(
    postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seal waits for a long backfill, and the builds of today go on beside both."""
    entered = threading.Event()

    def wait_and_seal() -> None:
        with hold_write_lock(postgres_settings, "seal", alone=True):
            entered.set()

    waiting = threading.Thread(target=wait_and_seal)
    with other_run(postgres_settings, alone=False):
        waiting.start()
        wait_until(lambda: is_run_alive(postgres_settings, "seal"), 60, "the seal does not start")
        # Of the server's wait for a lock only, which is none.
        monkeypatch.setattr(locks, "DEADLINE_SECONDS", 1)
        with hold_write_lock(postgres_settings, "mine"):
            assert is_run_alive(postgres_settings, "seal")
            assert not entered.is_set()
    waiting.join()
    assert entered.is_set()


@pytest.mark.parametrize("alone", [True, False])
def test_the_wait_has_an_end(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    """A run that never ends is not waited for forever; in a home its process is named."""
    monkeypatch.setattr(locks, "DEADLINE_SECONDS", 0.01)
    with (
        other_run(shop, alone=not alone) as child,
        pytest.raises(Unavailable, match=rf"{child.pid} holds|is locked by another|keep a run"),
        hold_write_lock(shop, "mine", alone=alone),
    ):
        pass
    # A server ends the session of a run a moment after its client.
    wait_until(lambda: not is_run_alive(shop, "mine"), 30, "its lock stays")


def test_a_run_is_not_run_twice(shop: Settings) -> None:
    """The same id in another process is refused."""
    with (
        other_run(shop),
        pytest.raises(PurchasesError, match="The run other writes already, in"),
        hold_write_lock(shop, "other"),
    ):
        pass
    wait_until(lambda: not is_run_alive(shop, "other"), 30, "its lock stays")
