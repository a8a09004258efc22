"""Fixtures of the batch half's tests: a started store, and the example year in one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from streaming.settings import Settings
from tests.assets.stored import store_example_year
from tests.store.conftest import connection, settings, store

__all__ = ["connection", "settings", "store"]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """A real Dagster instance, on SQLite in a directory of its own."""
    (tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "dagster")) as opened:
        yield opened


@pytest.fixture(scope="session")
def example_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which the stream stored the example year; only to be copied."""
    settings = Settings(home=tmp_path_factory.mktemp("example"))
    store_example_year(settings)
    return settings.database_path


@pytest.fixture
def year(example_database: Path, tmp_path: Path) -> Settings:
    """Settings of a home with the example year."""
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    shutil.copyfile(example_database, settings.database_path)
    return settings
