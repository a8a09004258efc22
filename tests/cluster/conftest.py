"""Fixtures of the cluster: three brokers with logins, a PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.brokers import SecuredCluster, secured_cluster
from tests.postgres import PostgresServer, start_postgres

HERE = Path(__file__).parent


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
