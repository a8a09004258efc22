"""Two hosts on three brokers with logins and one PostgreSQL server; each part is killed in turn."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from assets.tables.models import DAY_TABLE_NAMES
from streaming.store.schema import upgrade
from tests.cluster.brokers import SERVICE_ACCOUNT, SecuredCluster
from tests.cluster.hosts import Host
from tests.cluster.recovery import CURRENT_SECONDS, Recoveries, count_behind
from tests.deployment import Deployment
from tests.faults.test_workers import wait
from tests.load import Load, bought_now
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.orchestration.graphql import backfill_run_statuses, launch_backfill
from tests.postgres import PostgresServer
from tests.support import wait_until

RATE: Final = int(os.environ.get("TESTS_RATE", "3000"))
"""Purchases per second; a busy machine takes fewer."""
PAST_DAYS: Final = 93
"""Three runs of a backfill in Dagster's UI, which have 31 days each."""
RUN_PROCESSES: Final = """
SELECT DISTINCT run_id, substring(event FROM 'pid: ([0-9]+)') FROM event_logs
WHERE dagster_event_type = 'ENGINE_EVENT' AND event LIKE '%(pid: %'
"""
LATE: Final = 100 * PAST_DAYS


@pytest.fixture
def seen(cluster: SecuredCluster, server: PostgresServer, tmp_path: Path) -> Deployment:
    """The deployment as its administrator sees it: topics and tables are made, users permitted."""
    home = tmp_path / "administrator"
    home.mkdir()
    store = {"PURCHASES_DATABASE_URL": server.url(server.create_database())}
    made = Deployment(home, cluster.access.plaintext, "c", store)
    cluster.grant_roles(made.settings)
    made.create_topics()
    upgrade(made.settings)
    return made


@pytest.fixture
def hosts(
    seen: Deployment, cluster: SecuredCluster, server: PostgresServer, redis: str, tmp_path: Path
) -> Iterator[tuple[Host, Host]]:
    """Both hosts, on which `up` runs; the first has Dagster's daemon and the dashboard too."""
    shared = {
        "PURCHASES_KAFKA_CONFIG": cluster.file(SERVICE_ACCOUNT),
        "PURCHASES_DAGSTER_DATABASE_URL": server.url(server.create_database()),
        "PURCHASES_DAGSTER_REDIS_URL": redis,
    }
    with (
        Host("a", seen, tmp_path, shared) as first,
        Host("b", seen, tmp_path, shared | {"PURCHASES_SERVICES": "runs"}) as second,
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
    """A host, a broker, the database, a worker of runs: nothing is lost or counted twice."""
    first, second = hosts
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

        started = kill_worker_in_mid_backfill(first, second, load)
        recoveries.wait("a worker of Celery is killed in mid-backfill", started)
    started = time.monotonic()
    wait_until_quiet(seen, load.sent, CURRENT_SECONDS)
    today = str(datetime.now(UTC).date())
    wait_until(lambda: count_behind(seen, today) == 0, CURRENT_SECONDS, "today is behind")
    recoveries.wait("the last purchase, with today's tables", started)
    require_builds(seen, *hosts)
    seen.succeed("verify")
    require_exactly_once(seen, load.sent)


def bought_before(number: int) -> float:
    """Return a time on one of the past days, in turn."""
    return time.time() - 86_400 * (1 + number % PAST_DAYS)


def require_work(*hosts: Host) -> None:
    """Wait until the workers of each host have stored something since they were started."""
    for host in hosts:
        wait_until(host.has_worked, CURRENT_SECONDS, f"host {host.name} does not work")


def kill_worker_in_mid_backfill(first: Host, second: Host, load: Load) -> float:
    """Kill the second host's worker while it executes a backfill; return the moment (monotonic s).

    Late purchases come for all past days, so that none of them is current any more.
    """
    goal = load.count + LATE
    load.bought_at = bought_before
    wait_until(lambda: load.count > goal, CURRENT_SECONDS, "the late purchases are not sent")
    load.bought_at = bought_now
    today = datetime.now(UTC).date()
    days = [str(today - timedelta(ago)) for ago in range(PAST_DAYS, 0, -1)]
    backfill = launch_backfill(first.runner, list(DAY_TABLE_NAMES), days)

    def executes_a_run() -> bool:
        statuses = backfill_run_statuses(first.runner, backfill)
        return any(statuses.get(run) == "STARTED" for run in runs_of(second))

    wait_until(executes_a_run, CURRENT_SECONDS, "the second host executes no run")
    started = time.monotonic()
    second.kill_run_worker()
    return started


def runs_of(host: Host) -> set[str]:
    """Return the ids of the runs of Dagster that a host has executed, by their processes."""
    url = host.deployment.more["PURCHASES_DAGSTER_DATABASE_URL"]
    with psycopg.connect(url.replace("+psycopg", "")) as dagster:
        events = dagster.execute(RUN_PROCESSES).fetchall()
    return {run for run, process in events if int(process) in host.run_processes}


def require_builds(seen: Deployment, *hosts: Host) -> None:
    """Require that partitions that are current were built by each host."""
    builds = {str(run) for (run,) in seen.rows("SELECT DISTINCT run_id FROM table_build")}
    for host in hosts:
        assert runs_of(host) & builds, f"host {host.name} has built nothing"
