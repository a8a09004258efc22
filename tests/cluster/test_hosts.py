"""Two hosts on three brokers with logins and one PostgreSQL server; each part is killed in turn."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from streaming.store.schema import upgrade
from tests.cluster.brokers import SERVICE_ACCOUNT, SecuredCluster
from tests.cluster.hosts import Host
from tests.cluster.recovery import CURRENT_SECONDS, Recoveries, count_behind
from tests.deployment import Deployment
from tests.faults.test_workers import wait
from tests.load import Load, bought_now
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.postgres import PostgresServer
from tests.support import wait_until

RATE: Final = int(os.environ.get("TESTS_RATE", "3000"))
"""Purchases per second; a busy machine takes fewer."""
PAST_DAYS: Final = 93
"""Three runs of a backfill in Dagster's UI, which have 31 days each."""
LATE: Final = 100 * PAST_DAYS


@pytest.fixture
def seen(cluster: SecuredCluster, server: PostgresServer, tmp_path: Path) -> Deployment:
    """The deployment as its administrator sees it: topics and tables are made, users permitted."""
    home = tmp_path / "administrator"
    home.mkdir()
    store = {"PURCHASES_DATABASE_URL": server.url(server.create_database())}
    made = Deployment(home, cluster.access.plaintext, "c", store)
    cluster.grant_roles(made.settings)
    made.succeed("topics", "create")
    upgrade(made.settings)
    return made


@pytest.fixture
def hosts(seen: Deployment, cluster: SecuredCluster, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Both hosts, on which `up` runs; the first has Dagster's daemon and the dashboard."""
    file = {"PURCHASES_KAFKA_CONFIG": cluster.file(SERVICE_ACCOUNT)}
    with (
        Host("a", seen, tmp_path, file) as first,
        Host("b", seen, tmp_path, file | {"PURCHASES_SERVICES": ""}) as second,
    ):
        yield first, second


@pytest.mark.timeout(1_800)
def test_each_part_is_killed_in_turn_and_everything_is_current_within_three_minutes(
    hosts: tuple[Host, Host],
    seen: Deployment,
    cluster: SecuredCluster,
    server: PostgresServer,
    request: pytest.FixtureRequest,
) -> None:
    """A host, a broker, the database: nothing is lost or counted twice, and both hosts work."""
    second = hosts[1]
    with Load(seen, RATE, options=cluster.producer_options, bought_at=bought_before) as load:
        recoveries = Recoveries(seen, load, request.node)
        wait_until(lambda: load.count > LATE, CURRENT_SECONDS, "the past days are not sent")
        load.bought_at = bought_now
        started = time.monotonic()
        require_work(*hosts)
        recoveries.wait("the start", started, within=2 * CURRENT_SECONDS)

        started = time.monotonic()
        second.lose()
        recoveries.wait("a host is killed", started)
        second.start()
        require_work(second)

        started = time.monotonic()
        node = cluster.brokers.leader_of(seen.topic("purchases"))
        node.kill()
        recoveries.wait("a broker is killed", started)
        node.start()
        wait_until(cluster.brokers.serves, CURRENT_SECONDS, "the broker does not come back")

        started = time.monotonic()
        server.kill()
        wait(5)
        server.start_again()
        recoveries.wait("the database is killed, and started after 5 s", started)
        require_work(*hosts)
    started = time.monotonic()
    wait_until_quiet(seen, load.sent, CURRENT_SECONDS)
    today = str(datetime.now(UTC).date())
    wait_until(lambda: count_behind(seen, today) == 0, CURRENT_SECONDS, "today is behind")
    recoveries.wait("the last purchase, with today's tables", started)
    seen.succeed("verify")
    require_exactly_once(seen, load.sent)


def bought_before(number: int) -> float:
    """Return a time on one of the past days, in turn."""
    return time.time() - 86_400 * (1 + number % PAST_DAYS)


def require_work(*hosts: Host) -> None:
    """Wait until the workers of each host have stored something since they were started."""
    for host in hosts:
        wait_until(host.has_worked, CURRENT_SECONDS, f"host {host.name} does not work")
