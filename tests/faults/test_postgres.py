"""A PostgreSQL server that is killed, locked or read-only under two consumers: exactly once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from streaming.runtime.status_file import read_status
from streaming.store.schema import upgrade
from tests.deployment import Deployment
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.postgres import PostgresServer, start_postgres
from tests.support import wait_until

LONG = pytest.mark.faults


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that only this test uses."""
    made = start_postgres(tmp_path / "server")
    yield made
    made.stop()


def states(deployment: Deployment) -> list[str]:
    """Return the states of both consumers."""
    statuses = [read_status(deployment.home, "analytics", slot) for slot in (0, 1)]
    return ["" if one is None else one.state for one in statuses]


def count_stored(deployment: Deployment) -> list[int]:
    """Return how many events each consumer has stored: none before it has partitions."""
    statuses = [read_status(deployment.home, "analytics", slot) for slot in (0, 1)]
    return [0 if one is None else one.stored for one in statuses]


def kill_server(deployment: Deployment, server: PostgresServer, _name: str) -> None:
    """Kill the server, and start it when both consumers have noticed."""
    server.kill()
    wait_until(lambda: states(deployment) == ["paused"] * 2, 60, "they did not pause")
    server.start_again()


def end_sessions(_deployment: Deployment, server: PostgresServer, name: str) -> None:
    """End all sessions, wherever in a transaction they are, again and again."""
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        for _ in range(20):
            connection.execute(ended, (name,))
            connection.execute("SELECT pg_sleep(0.1)")


def lock_figures(deployment: Deployment, server: PostgresServer, name: str) -> None:
    """Hold the writers' lock until both consumers have noticed."""
    with psycopg.connect(server.conninfo(name)) as connection:
        connection.execute("LOCK TABLE live_totals IN SHARE ROW EXCLUSIVE MODE")
        wait_until(lambda: states(deployment) == ["paused"] * 2, 60, "they did not pause")


def make_read_only(deployment: Deployment, server: PostgresServer, name: str) -> None:
    """Let the database refuse to be written, as a standby does, until that was noticed."""
    changed = f"ALTER DATABASE {name} SET default_transaction_read_only = "
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(changed + "on")
        end_sessions(deployment, server, name)
        wait_until(lambda: states(deployment) == ["paused"] * 2, 60, "they did not pause")
        connection.execute(changed + "off")
        end_sessions(deployment, server, name)


@pytest.mark.parametrize(
    "fault",
    [
        kill_server,
        *(pytest.param(each, marks=LONG) for each in (end_sessions, lock_figures, make_read_only)),
    ],
)
def test_two_consumers_go_on_after_what_happens_to_their_server(
    deployment: Deployment,
    server: PostgresServer,
    fault: Callable[[Deployment, PostgresServer, str], None],
) -> None:
    """They pause, and store each purchase once afterwards; nothing ends but sessions."""
    name = server.create_database()
    placed = replace(deployment, more={"PURCHASES_DATABASE_URL": server.url(name)})
    upgrade(placed.settings)
    with placed.running("process"), placed.running("analyze", "--slots", "2"):
        with Load(placed, 300) as load:
            wait_until(lambda: all(count_stored(placed)), 90, "not both consumers store")
            workers = [placed.worker_pid("analytics", slot) for slot in (0, 1)]
            fault(placed, server, name)
            before = placed.count("analytics_event")
            wait_until(lambda: placed.count("analytics_event") > before, 90, "it did not go on")
        wait_until_quiet(placed, load.sent, 90)
        assert [placed.worker_pid("analytics", slot) for slot in (0, 1)] == workers
    require_exactly_once(placed, load.sent)
    logs = "".join(log.read_text() for log in placed.home.rglob("*.log"))
    assert "of-the-tests" not in logs
    assert "Traceback" not in logs
