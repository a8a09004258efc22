"""Two hosts on one Kafka cluster and one PostgreSQL database: one of them, or the primary, dies."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from streaming.errors import Unavailable
from streaming.runtime.status_file import read_status
from streaming.settings import Settings
from streaming.store.schema import upgrade
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.totals.sampler import Sampler
from tests.deployment import Deployment
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.postgres import (
    PostgresServer,
    let_commits_wait,
    promote,
    start_postgres,
    start_standby,
    stop_following,
)
from tests.support import wait_until

APPS = {"processor": "process", "analytics": "analyze"}
LONG = pytest.mark.faults


def host(deployment: Deployment, name: str, url: str) -> Deployment:
    """Return one of several hosts: a home of its own, and the common database."""
    home = deployment.home / name
    home.mkdir()
    return replace(
        deployment, home=home, more={"PURCHASES_DATABASE_URL": url, "PURCHASES_HOST": name}
    )


def count_done(of: Deployment, app: str) -> int:
    """Return how many records an app of a host has published or stored: none before it works."""
    status = read_status(of.home, app, 0)
    return 0 if status is None else status.records


def partitions(of: Deployment, app: str) -> set[tuple[str, int]]:
    """Return the partitions that an app of a host has."""
    status = read_status(of.home, app, 0)
    return set() if status is None else {(p.topic, p.partition) for p in status.positions}


def kill_host(of: Deployment) -> None:
    """Kill all processes of a home at once, as a power failure would."""
    home = Home(of.home)
    leases = [*home.list_supervisor_leases(), *home.list_worker_leases()]
    for process in [psutil.Process(pid) for lease in leases if (pid := holder(lease))]:
        process.kill()


@LONG
@pytest.mark.parametrize("apps", [["analytics"], list(APPS)], ids=len)
def test_the_other_host_takes_over_what_a_lost_one_had(
    deployment: Deployment, postgres_settings: Settings, apps: list[str]
) -> None:
    """All partitions, and each purchase is stored once; its status says which host is lost."""
    url = str(postgres_settings.database_url)
    north, south = host(deployment, "north", url), host(deployment, "south", url)
    with ExitStack() as running:
        for app, command in APPS.items():
            running.enter_context(north.running(command))
            if app in apps:
                running.enter_context(south.running(command))
        with Load(north, 300) as load:
            both = [(of, app) for of in (north, south) for app in apps]
            wait_until(lambda: all(partitions(*one) for one in both), 120, "not all work")
            wait_until(lambda: count_done(south, "analytics"), 60, "the other host stores nothing")
            everything = {app: partitions(north, app) | partitions(south, app) for app in apps}
            kill_host(south)
            wait_until(
                lambda: all(partitions(north, app) >= everything[app] for app in apps),
                60,
                "it did not take over",
            )
        wait_until_quiet(north, load.sent, 90)
        lost = "Of the host south nothing was heard since"
        wait_until(lambda: lost in north.run("status").stdout, 60, "nobody misses it")
    require_exactly_once(north, load.sent)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that only this test uses."""
    made = start_postgres(tmp_path / "primary")
    yield made
    with suppress(FileNotFoundError):
        made.kill()


@pytest.fixture
def standby(primary: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that has what the primary has, and follows it."""
    made = start_standby(primary, tmp_path / "standby")
    yield made
    made.stop()


def positions_on(server: PostgresServer, name: str) -> dict[tuple[str, int], int]:
    """Return the consumers' positions as a server has them."""
    with psycopg.connect(server.conninfo(name)) as connection:
        rows = connection.execute("SELECT topic, partition, next_offset FROM stream_offset")
        return {(topic, partition): offset for topic, partition, offset in rows}


def can_read(sampler: Sampler) -> bool:
    """Return whether the figures of the dashboard can be read."""
    try:
        sampler.sample()
    except Unavailable:
        return False
    return True


@pytest.mark.faults
@pytest.mark.parametrize("waits", [True, False], ids=["synchronous", "asynchronous"])
def test_two_hosts_go_on_with_the_standby_of_a_primary_that_died(
    deployment: Deployment,
    primary: PostgresServer,
    standby: PostgresServer,
    waits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Nothing is lost for which commits waited; what was lost is read from Kafka again."""
    name = primary.create_database()
    url = primary.url(name).replace("/" + name, f",127.0.0.1:{standby.port}/{name}")
    url += "?target_session_attrs=read-write"
    north, south = host(deployment, "north", url), host(deployment, "south", url)
    upgrade(north.settings)
    if waits:
        let_commits_wait(primary)
    with ExitStack() as running:
        running.enter_context(north.running("process"))
        running.enter_context(north.running("analyze"))
        running.enter_context(south.running("analyze"))
        sampler = running.enter_context(closing(Sampler(north.settings)))
        with Load(north, 300) as load:
            both = north, south
            wait_until(lambda: all(count_done(of, "analytics") for of in both), 120, "not all work")
            workers = [of.worker_pid("analytics") for of in both]
            if not waits:
                stop_following(standby)
            before = sampler.sample().events
            wait_until(lambda: sampler.sample().events > before + 500, 60, "nothing is stored")
            positions = positions_on(primary, name)
            primary.kill()
            if not waits:
                kept = positions_on(standby, name)
                assert any(kept[at] < offset for at, offset in positions.items())
            wait_until(lambda: not can_read(sampler), 60, "it reads from a server that is gone")
            promote(standby)
            if waits:
                kept = positions_on(standby, name)
                assert all(kept[at] >= offset for at, offset in positions.items())
            before = sampler.sample().events
            wait_until(lambda: sampler.sample().events > before + 500, 90, "it did not go on")
        wait_until_quiet(north, load.sent, 90)
        assert [of.worker_pid("analytics") for of in both] == workers
        assert sampler.sample().events == north.count("analytics_event")
    require_exactly_once(north, load.sent)
