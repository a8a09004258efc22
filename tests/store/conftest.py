"""Fixtures of the store's tests: a home of its own, and a store in it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.schema import upgrade
from streaming.store.source_topics import record_source_topics
from tests.databases import chosen_server, home_settings, look
from tests.postgres import PostgresServer
from tests.store.rows import SOURCE_TOPICS


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return settings of a new home, without a store."""
    if chosen_server() is None or "store" not in request.fixturenames:
        return home_settings(tmp_path / "home")
    template: str = request.getfixturevalue("postgres_template")
    return home_settings(tmp_path / "home", template=template)


@pytest.fixture
def store(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings of a home with an empty, started store."""
    if isinstance(settings.database, Path):
        settings.database.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(request.getfixturevalue("empty_database"), settings.database)
    # With its store on a server a home is made when something is first written there.
    settings.home.mkdir(mode=0o700, exist_ok=True)
    upgrade(settings)
    engine = open_engine(settings)
    ensure_deployment(engine, settings)
    engine.dispose()
    return settings


@pytest.fixture
def connection(store: Settings) -> Iterator[StoreConnection]:
    """Return a connection that may write to the store, outside any transaction."""
    with look(store) as opened:
        yield opened


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), "postgres"])
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
    with look(either_store) as opened:
        yield opened


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that any user of this machine can reach."""
    directory = Path(tempfile.mkdtemp(prefix="purchases-test-"))
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.fixture
def engine(postgres_settings: Settings) -> Iterator[Engine]:
    """Return an engine over a PostgreSQL database that knows the topics of the events."""
    made = open_engine(postgres_settings)
    record_source_topics(made, SOURCE_TOPICS)
    yield made
    made.dispose()


@pytest.fixture
def superuser(
    postgres_server: PostgresServer, postgres_settings: Settings
) -> Iterator["psycopg.Connection[Any]"]:
    """Return a session of the database's superuser."""
    name = str(postgres_settings.database_url).rpartition("/")[2]
    with psycopg.connect(postgres_server.conninfo(name), autocommit=True) as session:
        yield session
