"""Brokers with logins and a PostgreSQL server for a test alone, and the table of recoveries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.brokers import SecuredCluster, secured_cluster
from tests.postgres import PostgresServer, start_postgres
from tests.redis import running_redis

HERE = Path(__file__).parent
COLUMNS: Final = ("after", "acknowledged", "stream current (s)", "days current (s)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only `make test-cluster` runs."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker("cluster")


@pytest.fixture
def cluster(jars: Path, tmp_path: Path) -> Iterator[SecuredCluster]:
    """Three brokers that only this test uses."""
    with secured_cluster(jars, tmp_path / "cluster") as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server that only this test uses."""
    made = start_postgres(tmp_path / "server")
    yield made
    made.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long it took until everything was current, after each part was killed."""
    rows = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == "recovery" and report.when == "call"
    ]
    for row in [COLUMNS, *rows] if rows else []:
        name, *figures = map(str, row)
        terminalreporter.write_line(name.ljust(40) + "".join(each.rjust(20) for each in figures))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis server that only this test uses."""
    with running_redis(tmp_path) as url:
        yield url
