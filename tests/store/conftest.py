"""Fixtures of the store's tests: a home of its own, and a store in it."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.connection import connect as open_connection
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.schema import upgrade
from streaming.store.sqlite import connect


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings of a new home, without a database."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def store(settings: Settings, empty_database: Path) -> Settings:
    """Return settings of a home with an empty, started database."""
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_database, settings.database_path)
    upgrade(settings)
    engine = open_engine(settings)
    ensure_deployment(engine, settings)
    engine.dispose()
    return settings


@pytest.fixture
def connection(store: Settings) -> Iterator[sqlite3.Connection]:
    """Return a connection that may write to the store."""
    with closing(connect(store.database_path)) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def either_store(request: pytest.FixtureRequest) -> Settings:
    """Return settings of an empty, started store, in a file and then on a server."""
    if request.param == "sqlite":
        sqlite_settings: Settings = request.getfixturevalue("store")
        return sqlite_settings
    settings: Settings = request.getfixturevalue("postgres_settings")
    engine = open_engine(settings)
    ensure_deployment(engine, settings)
    engine.dispose()
    return settings


@pytest.fixture
def either_connection(either_store: Settings) -> Iterator[StoreConnection]:
    """Return a connection that may write to that store, outside any transaction."""
    with closing(open_connection(either_store.database)) as opened:
        yield opened


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that any user of this machine can reach."""
    directory = Path(tempfile.mkdtemp(prefix="purchases-test-"))
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)
