"""`up` and `down` on a home of their own, with the embedded broker: killed, ended, gone on."""

import os
import re
import signal
from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect

from orchestration.local.up import BROKER_STOP_SECONDS, CHILDREN_STOP_SECONDS
from streaming.broker.embedded import broker_status
from streaming.system.lease import holder
from tests.browser import browser
from tests.dashboard.server import get
from tests.databases import NOT_YET
from tests.orchestration.home import HomeRunner, leases
from tests.support import wait_until
from tests.terminal import in_terminal

YEAR = 541_907
"""After so many events the demonstration goes on at 2 a second."""


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_up_survives_sigkill_goes_on_and_leaves_nothing_behind(home: HomeRunner) -> None:
    """One story: demo, kill -9 of `up` and of the broker, both go on, `down` ends all.

    Within ten seconds: what has not ended by its deadline is killed. From the first moment on
    History shows what is stored, also while no day is built.
    Then `reset` leaves what another demonstration would fetch again, and nothing else.
    """
    first = home.up("--demo")
    wait_until(lambda: true_events(home) > 2_000, 120, f"no events:\n{home.log.read_text()}")
    with browser(f"{dashboard_of(home)}/#history") as (page, errors, _):
        expect(page.locator("#h-events")).to_have_text(re.compile("[1-9]"))
        expect(page.locator("#h-revenue")).to_have_text(re.compile("[1-9]"))
        assert errors == []
    first.kill()
    first.wait()

    before = home.count_progress()
    second = home.up("--demo")
    wait_until(lambda: home.count_progress() > before, 120, "the second up does not work")
    before = home.events()
    wait_until(lambda: home.events() > before, 120, home.log.read_text())
    broker = broker_status(home.path).pid
    assert broker is not None
    os.kill(broker, signal.SIGKILL)
    killed_at = home.events()
    goal = min(killed_at + 10_000, max(killed_at, YEAR) + 100)
    wait_until(lambda: home.events() > goal, 150, home.log.read_text())
    assert broker_status(home.path).pid != broker

    third = home.run("up")
    assert third.returncode == 1
    assert "runs in" in third.stderr
    home.environment["BROWSER"] = "true"
    wait_until(lambda: home.run("open").returncode == 0, 60, "the dashboard does not listen")
    assert home.run("open").stdout.startswith("http://127.0.0.1:")
    assert '"app": "analytics"' in home.run("logs", "analytics", "-n", "1000").stdout
    assert "purchases down" in home.run("reset", "--yes").stderr
    assert "Traceback" not in home.log.read_text()

    assert CHILDREN_STOP_SECONDS + BROKER_STOP_SECONDS < 10
    done = home.run("down")
    assert (done.returncode, done.stdout.strip()) == (0, "Everything is stopped.")
    assert second.wait(120) == 0
    wait_until(lambda: home.processes() == [], 60, "something that was killed stays")
    assert home.run("down").stdout.startswith("Nothing runs")

    assert home.run("reset").stdout.startswith("Dry run: ")
    assert home.events() > goal
    assert home.run("reset", "--yes").stdout.startswith("OK: ")
    assert [path.relative_to(home.path).as_posix() for path in home.path.rglob("*")] == [
        "broker",
        "broker/jars",
    ]


def true_events(home: HomeRunner) -> int:
    """Return the stored events, after a look at History: it never says 0 of what is stored.

    It is 0 until the dashboard answers.
    """
    try:
        # The ledger first: a day that it has then must be in an answer that is given later.
        ledger = home.days_with_events()
        days = get(f"{dashboard_of(home)}/api/v1/days")
        items = get(f"{dashboard_of(home)}/api/v1/items?from={days['first']}&to={days['last']}")
    except HTTPError:
        raise
    except (OSError, ValueError, *NOT_YET):
        return 0
    expected = [day for day in ledger if days["first"] <= day <= days["last"]]
    shown = {point["at"]: point["events"] for point in days["points"]}
    assert [day for day in expected if not shown.get(day)] == []
    assert items["total"] or items["standing"]["missing_days"] or not expected
    return home.events()


def dashboard_of(home: HomeRunner) -> str:
    """Return the address of the dashboard; an empty text before it serves."""
    port = home.path / "dashboard.port"
    return f"http://127.0.0.1:{port.read_text().strip()}" if port.exists() else ""


@pytest.mark.faults
def test_who_closes_the_terminal_ends_everything(home: HomeRunner) -> None:
    """No process stays that nobody watches. By Ctrl-C it is in `test_dagster`, at its end."""
    with in_terminal(home.command("up"), home.environment) as terminal:
        wait_until(lambda: all(map(holder, leases(home))), 90, "up does not work")
        terminal.close()
        assert terminal.process.wait(120) == 0
    wait_until(lambda: home.processes() == [], 30, "something that had just been started stays")


def test_the_demonstration_is_refused_on_somebodys_own_broker(home: HomeRunner) -> None:
    """It would write a year of invented purchases there."""
    home.environment["PURCHASES_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    done = home.run("up", "--demo")
    assert done.returncode == 2
    assert "--demo" in done.stderr
    assert len(done.stderr.splitlines()) == 1
