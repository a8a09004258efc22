"""Fixtures of the batch half's tests: a started store, and an instance of Dagster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from tests.store.conftest import connection, settings, store

__all__ = ["connection", "settings", "store"]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """A real Dagster instance, on SQLite in a directory of its own."""
    (tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "dagster")) as opened:
        yield opened
