"""Fixtures of the dashboard's tests: a deployment whose dashboard can be served."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.dashboard.server import serve_dashboard
from tests.deployment import Deployment
from tests.store.conftest import settings, store
from tests.support import Broker, unique_namespace

__all__ = ["settings", "store"]


@pytest.fixture
def deployment(broker: Broker, namespace: str, tmp_path: Path) -> Deployment:
    """A deployment of its own on the session's broker, its topics and database made."""
    made = Deployment(tmp_path, broker.bootstrap_servers, namespace)
    made.create_topics()
    made.succeed("db", "upgrade")
    return made


@pytest.fixture(scope="module")
def quiet_dashboard(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of a deployment in which nothing happens, for a whole file of tests."""
    made = Deployment(
        tmp_path_factory.mktemp("quiet"), broker.bootstrap_servers, unique_namespace()
    )
    made.create_topics()
    made.succeed("db", "upgrade")
    with serve_dashboard(made) as base:
        yield base


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """One Chromium for a file of tests, whose start takes longer than most that is done in it."""
    with chromium() as started:
        yield started
