"""Dagster as `up` runs it: its sensors tick, its backfills build, its workers come back."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from playwright.sync_api import Page

from streaming.system.home import Home
from streaming.system.lease import holder
from tests.browser import browser
from tests.conftest import bring_jars
from tests.dashboard.server import answer_to, answer_to_nobody
from tests.foreign_page import Attack, attack_from_other_origins
from tests.orchestration import graphql
from tests.orchestration.home import HomeRunner, leases
from tests.store.users import drop_privileges, only_root
from tests.support import wait_until
from tests.terminal import CTRL_C, in_terminal

EXAMPLE = Path(__file__).parents[2] / "examples" / "daily_lines.sql"
DAY_TABLES = ["hourly_sales", "daily_sales", "daily_item_sales", "daily_country_sales"]
OLDEST_DAY = "2012-02-01"
"""Partitions begin 400 days ago, until there are purchases of an earlier day."""


def figures(home: HomeRunner, statement: str) -> list[tuple[object, ...]]:
    """Query the home's database."""
    return home.rows(statement)


def have_ticked(home: HomeRunner) -> bool:
    """Return whether every sensor has ticked, none of them with an error."""
    sensors = graphql.sensors(home)
    statuses = {
        name: {tick["status"] for tick in state["ticks"]} for name, state in sensors.items()
    }
    assert all("FAILURE" not in seen for seen in statuses.values()), statuses
    return bool(statuses) and all(statuses.values())


def all_run(home: HomeRunner) -> bool:
    """Return whether every sensor and every schedule is switched on."""
    statuses = {state["status"] for state in graphql.sensors(home).values()}
    return statuses == set(graphql.schedules(home).values()) == {"RUNNING"}


@pytest.fixture(scope="module")
def working(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeRunner]:
    """A home in which `up` works: Dagster takes longest to start of all that the tests start.

    It has started again, for partitions from the oldest day of all tests here, and for a file of a
    table that came while it worked.
    The temporary directory has a name that is too long for a socket's, as on some clusters.
    At the end Ctrl-C in its terminal ends everything: no process stays that nobody watches.
    """
    path = tmp_path_factory.mktemp("dagster")
    bring_jars(jars, path)
    home = HomeRunner(path)
    temporary = path / ("temporary" * 12)
    temporary.mkdir()
    home.environment["TMPDIR"] = str(temporary)
    files = path / "sql"
    files.mkdir()
    home.environment["PURCHASES_SQL"] = str(files)
    try:
        with in_terminal(home.command("up"), home.environment, home.log) as terminal:
            wait_until(lambda: all(map(holder, leases(home))), 90, "up does not work")
            home.run("produce", "--rate", "max", "--count", "100", "--start", OLDEST_DAY)
            wait_until(lambda: home.events() == 100, 60, "not stored")
            shutil.copy(EXAMPLE, files)
            wait_until(
                lambda: OLDEST_DAY in graphql.partitions(home, "sql_daily_lines"),
                180,
                "Dagster keeps its first partition, or its tables",
            )
            log = home.log.read_text()
            assert "partitions_begin_earlier" in log
            assert "sql_files_changed" in log
            yield home
            terminal.type(CTRL_C)
            assert terminal.process.wait(120) == 0
        wait_until(lambda: home.processes() == [], 30, "something stays")
    finally:
        home.run("down")


@pytest.mark.timeout(900)
def test_a_working_home_ticks_builds_backfills_and_heals(working: HomeRunner) -> None:
    """One story: all is on; stored days are built; a backfill from the UI; a killed supervisor."""
    home, before = working, working.events()
    yesterday = (datetime.now(UTC) - timedelta(1)).date().isoformat()
    done = home.run("produce", "--rate", "max", "--count", "3000", "--start", yesterday)
    assert done.returncode == 0, done.stderr
    home.run("produce", "--rate", "max", "--count", "100", "--start", "2016-08-15")
    wait_until(lambda: home.events() == before + 3_100, 60, "not stored")
    wait_until(lambda: have_ticked(home), 180, "a sensor does not tick")
    wait_until(lambda: all_run(home), 60, "a sensor or schedule does not run")
    # All that takes ticks of the daemon is started at once, and then waited for.
    killed = holder(home.path / "workers" / "processor.supervisor.lock")
    assert killed
    os.kill(killed, signal.SIGKILL)
    backfill = graphql.launch_backfill(home, DAY_TABLES, [OLDEST_DAY])
    days = f"('{yesterday}', '{OLDEST_DAY}', '2016-08-15')"
    built = f"SELECT count(*) FROM table_build WHERE partition IN {days}"
    wait_until(lambda: figures(home, built) == [(15,)], 180, "a day is not built")
    same = "SELECT (SELECT sum(events) FROM daily_sales) = (SELECT sum(events) FROM day_ledger)"
    wait_until(lambda: figures(home, same) == [(1,)], 180, "a stored day is not built")
    wait_until(
        lambda: graphql.backfill_runs(home, backfill) == {"SUCCESS"},
        180,
        "the backfill does not end",
    )
    wait_until(
        lambda: holder(home.path / "workers" / "processor.supervisor.lock") not in {None, killed},
        60,
        "the killed supervisor is not back",
    )
    home.run("produce", "--rate", "max", "--count", "100", "--start", yesterday)
    wait_until(lambda: home.events() == before + 3_200, 60, "it does not go on")


def test_the_ui_shows_graph_partitions_checks_and_sensors(working: HomeRunner) -> None:
    """In a real browser, what somebody at the UI looks for is there."""
    wait_until(
        lambda: graphql.materializations(working, "daily_sales", OLDEST_DAY),
        180,
        "the day is not built",
    )
    base = graphql.url_of(working)
    with browser(base) as (page, _, _):
        page.goto(f"{base}/asset-groups")
        for asset in ("purchases_dlq", "analytics_event", "sales_summary"):
            page.get_by_text(asset, exact=True).first.wait_for()
        follow_link(page, f"/assets/daily_sales?view=partitions&partition={OLDEST_DAY}")
        page.get_by_text("ledger_version").first.wait_for()
        follow_link(page, "/assets/daily_sales?view=checks")
        page.get_by_text("audit").first.wait_for()
        follow_link(page, "/automation")
        page.get_by_text("purchase_processor_sensor").first.wait_for()


def processor_sensor(home: HomeRunner) -> dict[str, Any]:
    """Return the state of the processor's sensor, once the home's webserver answers."""
    seen: dict[str, dict[str, Any]] = {}
    wait_until(
        lambda: seen.update(graphql.sensors(home)) or seen, 60, "the webserver does not answer"
    )
    return seen["purchase_processor_sensor"]


def follow_link(page: Page, path: str) -> None:
    """Go on within the UI, as its own links do: to load all of it again takes seconds of CPU."""
    page.evaluate(
        "path => { history.pushState(null, '', path);"
        " dispatchEvent(new PopStateEvent('popstate', { state: null })); }",
        path,
    )


def test_pages_of_other_origins_stop_no_sensor(working: HomeRunner) -> None:
    """Neither by image, frame, form, JSON or WebSocket, nor under a name of their own."""
    state = processor_sensor(working)
    stop = f"mutation {{ stopSensor(id: {json.dumps(state['id'])}) {{ __typename }} }}"
    path = f"/graphql?{urlencode({'query': stop})}"
    attack = Attack(path, path, json.dumps({"query": stop}), "/graphql")
    statuses, rebound = attack_from_other_origins(graphql.url_of(working), attack)
    assert statuses
    assert set(statuses) == {403}
    assert rebound == 421
    assert processor_sensor(working)["status"] == "RUNNING"


@only_root
def test_nothing_that_listens_takes_another_user_of_the_machine(working: HomeRunner) -> None:
    """Both servers refuse him, and so do the sockets of the code servers; the rest is the broker's.

    What he may do there is in `tests/broker/test_strangers.py`.
    """
    wait_until(lambda: graphql.sensors(working), 60, "the webserver does not answer")
    servers = {graphql.url_of(working), f"http://127.0.0.1:{port_of_dashboard(working)}"}
    addresses, paths = listeners(working)
    assert addresses == servers
    for base in servers:
        assert answer_to(base, "GET", "/").status == 200
        assert answer_to_nobody(base, "GET", "/").status == 403
    assert paths
    # A code server may have ended meanwhile, with its socket.
    refused = pytest.raises((PermissionError, FileNotFoundError))
    for path in paths:
        with socket.socket(socket.AF_UNIX) as client, drop_privileges(), refused:
            client.connect(path)


def listeners(home: HomeRunner) -> tuple[set[str], set[str]]:
    """Return the addresses and the Unix sockets on which processes of a home listen."""
    addresses, paths = set(), set()
    for process in home.processes():
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("all"):
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add(f"http://{connection.laddr.ip}:{connection.laddr.port}")
                elif connection.family == socket.AF_UNIX and connection.laddr:
                    paths.add(str(connection.laddr))
    return addresses, paths


def port_of_dashboard(home: HomeRunner) -> str:
    """Return the dashboard's port."""
    return Home(home.path).dashboard_port.read_text().strip()


@pytest.mark.faults
def test_dashboard_and_dagster_link_to_each_other(working: HomeRunner) -> None:
    """A link opens, although it leads from one origin to another."""
    wait_until(lambda: graphql.sensors(working), 60, "the webserver does not answer")
    with browser(f"http://localhost:{port_of_dashboard(working)}/#truth") as (page, _, _):
        page.get_by_label("daily_sales in Dagster").click()
        page.wait_for_url(f"{graphql.url_of(working).replace('127.0.0.1', 'localhost')}/assets/*")
        with page.context.expect_page() as opened:
            page.get_by_text("#verified?table=daily_sales").first.click()
        opened.value.get_by_text("Freshness of the tables").wait_for()


@pytest.mark.faults
def test_a_sensor_switched_off_ends_its_workers_and_on_starts_them(
    home: HomeRunner,
) -> None:
    """Within a minute, from the UI, while `up` runs."""
    home.up()
    worker = home.path / "workers" / "processor-0.lock"
    wait_until(lambda: have_ticked(home) and holder(worker), 120, "the sensors do not tick")
    state = processor_sensor(home)
    graphql.ask(graphql.url_of(home), graphql.STOP, id=state["id"])
    wait_until(lambda: holder(worker) is None, 60, "its worker stays")
    selector = {**graphql.SELECTOR, "sensorName": "purchase_processor_sensor"}
    graphql.ask(graphql.url_of(home), graphql.START, s=selector)
    wait_until(lambda: holder(worker), 60, "its worker does not come back")
