"""Fixtures of the orchestration's tests: a started store, an instance of Dagster, a whole home."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.conftest import connection, instance, settings, store
from tests.conftest import bring_jars
from tests.orchestration.home import HomeRunner

__all__ = ["connection", "instance", "settings", "store"]


@pytest.fixture
def home(jars: Path, tmp_path: Path) -> Iterator[HomeRunner]:
    """A home with Kafka's jars and nothing else, in which nothing runs at the end."""
    bring_jars(jars, tmp_path)
    made = HomeRunner(tmp_path)
    yield made
    made.run("down")
