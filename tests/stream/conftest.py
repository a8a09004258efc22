"""Fixtures of the tests that run the whole stream."""

from pathlib import Path

import pytest

from tests.pipeline import Deployment
from tests.support import Broker


@pytest.fixture
def deployment(broker: Broker, namespace: str, tmp_path: Path) -> Deployment:
    """A deployment of its own on the session's broker, its topics created."""
    made = Deployment(tmp_path, broker.bootstrap_servers, namespace)
    made.succeed("topics", "create")
    return made
