"""The schema's history: it equals the models, runs whole or not at all, and never goes back."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from assets.tables.models import DailySales
from streaming.errors import Mismatch, PurchasesError
from streaming.settings import Settings
from streaming.store import connection as opening
from streaming.store import deployment, postgres_schema, schema
from streaming.store.connection import StoreConnection, store_exists
from streaming.store.engine import engine_over, open_engine
from streaming.store.table_dialect import dialect_of
from tests.databases import change, home_settings, look, read_rows, store_variables
from tests.store.rows import add_events, year_of_days

# Importing the tables of `assets` puts them beside those of `streaming`.
METADATA = DailySales.metadata
CURRENT = opening.SCHEMA_VERSION
FOLLOWING = CURRENT + 1
READABLE = "SELECT * FROM analytics_event_readable ORDER BY stream_offset"
NEXT = '''"""A revision of the future."""

import sqlalchemy as sa
from alembic import op

revision = "{following:04d}"
down_revision = "{current:04d}"


def upgrade() -> None:
    op.add_column("deployment", sa.Column("nickname", sa.String()))
    op.execute("{more}")
'''


@pytest.fixture
def future(store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """After the store was made, the program needs one revision more; gives the history."""
    assert store_exists(store)
    history = tmp_path / "history"
    shutil.copytree(schema.MIGRATIONS, history, ignore=shutil.ignore_patterns("__pycache__"))
    write_revision(history, "UPDATE deployment SET nickname = 'shop'")
    monkeypatch.setattr(schema, "MIGRATIONS", history)
    for module in (schema, opening, postgres_schema):
        monkeypatch.setattr(module, "SCHEMA_VERSION", FOLLOWING)
    return history


def write_revision(history: Path, more: str) -> None:
    """Write the revision of the future, which ends with the statement `more`."""
    text = NEXT.format(following=FOLLOWING, current=CURRENT, more=more)
    (history / "versions" / "future.py").write_text(text)


def at(settings: Settings, path: Path) -> Settings:
    """Return settings of the same home with another file."""
    return settings.model_copy(update={"database_url": f"sqlite:///{path}"})


def columns(settings: Settings, table: str) -> list[str]:
    """Return the names of a table's columns."""
    with look(settings) as store:
        return [column for of, column, _ in dialect_of(store).list_columns(store) if of == table]


@pytest.mark.sqlite("the history of a file")
def test_the_migrations_give_the_models(store: Settings) -> None:
    """Alembic finds nothing to do between a migrated database and the models' metadata."""
    engine = open_engine(store)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


@pytest.mark.sqlite("the history of a file")
def test_the_migrations_give_the_models_constraints(store: Settings) -> None:
    """Alembic does not compare CHECK constraints and keys, so their text is compared here."""
    engine = open_engine(store)
    migrated = {}
    with engine.begin() as connection:
        tables = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        for name, sql in connection.exec_driver_sql(tables):
            migrated[name] = constraints(sql)
    engine.dispose()
    del migrated["alembic_version"]
    fresh = create_engine("sqlite://")
    with fresh.begin() as connection:
        METADATA.create_all(connection)
        modelled = {
            name: constraints(sql) for name, sql in connection.exec_driver_sql(tables).all()
        }
    fresh.dispose()
    assert migrated == modelled


def constraints(sql: str) -> set[str]:
    """Return the lines of a CREATE TABLE that are constraints."""
    return {line.strip(" ,\n)") for line in sql.splitlines() if "CONSTRAINT" in line}


def test_the_program_needs_the_last_revision() -> None:
    """The schema version in the code is the head of one linear history, numbered from 0001."""
    script = ScriptDirectory(str(schema.MIGRATIONS))
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert script.get_heads() == [f"{opening.SCHEMA_VERSION:04d}"]
    assert revisions == [f"{number + 1:04d}" for number in range(len(revisions))]


def test_the_first_upgrade_makes_the_database_without_a_backup(settings: Settings) -> None:
    """Home and file are made; there was nothing to keep."""
    assert schema.upgrade(settings) is None
    open_engine(settings).dispose()
    assert not (settings.home / "backups").exists()


@pytest.mark.sqlite("the history of a file")
def test_a_current_database_is_left_alone(store: Settings) -> None:
    """A second upgrade changes no byte."""
    before = store.database_path.read_bytes()
    assert schema.upgrade(store) is None
    assert store.database_path.read_bytes() == before


def test_several_processes_may_upgrade_at_once(settings: Settings) -> None:
    """`up` and `analyze` started together: one migrates, the others find it done."""
    script = (
        "from streaming.settings import Settings; from streaming.store.schema import upgrade;"
        f"upgrade(Settings(home={str(settings.home)!r}))"
    )
    environment = {**os.environ, **store_variables(settings.home)}
    command = [sys.executable, "-c", script]
    processes = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    open_engine(settings).dispose()


@pytest.mark.usefixtures("future")
def test_an_older_schema_is_migrated_after_a_backup(
    store: Settings, connection: StoreConnection
) -> None:
    """The database has the new column and its data, the backup is what it was before.

    A server's backups are its administrator's.
    """
    add_events(connection, year_of_days(30))
    kept = schema.upgrade(store)
    assert "nickname" in columns(store, "deployment")
    stores = [store]
    if isinstance(store.database, Path):
        assert kept is not None
        assert kept.parent == store.home / "backups"
        stores.append(at(store, kept))
        assert "nickname" not in columns(stores[-1], "deployment")
    for each in stores:
        assert read_rows(each, "SELECT count(*) FROM analytics_event") == [(30,)]
    assert schema.upgrade(store) is None
    open_engine(store).dispose()


@pytest.mark.sqlite("the history of a file")
def test_the_first_schema_is_brought_up(settings: Settings) -> None:
    """A database of the first version gets the aggregate tables, and keeps what it stored."""
    settings.home.mkdir()
    engine = engine_over(settings.database_path, create=True)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(settings.database_path, isolation_level=None)) as connection:
        rows = [astuple(each) for each in year_of_days(30)]
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO analytics_event VALUES ({marks})", rows)
        events = connection.execute(READABLE).fetchall()
    assert columns(settings, "daily_sales") == []
    kept = schema.upgrade(settings)
    assert kept is not None
    assert columns(at(settings, kept), "daily_sales") == []
    assert columns(settings, "daily_sales")[:2] == ["day", "events"]
    for path in (settings.database_path, kept):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute(READABLE).fetchall() == events


@pytest.mark.usefixtures("future")
def test_an_older_schema_is_not_opened(store: Settings) -> None:
    """Workers do not migrate: they say which command does."""
    message = rf"has schema version {CURRENT}, .*needs {FOLLOWING}: run .*db upgrade"
    with pytest.raises(Mismatch, match=message):
        open_engine(store)


def test_a_migration_that_fails_changes_nothing(store: Settings, future: Path) -> None:
    """Schema changes before the failing statement are undone with it."""
    write_revision(future, "UPDATE no_such_table SET x = 1")
    with pytest.raises(Exception, match="no_such_table"):
        schema.upgrade(store)
    assert "nickname" not in columns(store, "deployment")
    stays = read_rows(store, "SELECT version_num FROM alembic_version")
    assert stays == [(f"{CURRENT:04d}",)]


def test_a_newer_schema_is_refused(store: Settings) -> None:
    """Neither opened nor migrated; the message names both versions and the ways out."""
    with change(store) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '0997'")
    message = rf"schema version 997, newer than this program's {CURRENT}"
    for attempt in (schema.upgrade, open_engine):
        with pytest.raises(Mismatch, match=message):
            attempt(store)


def test_a_database_of_another_program_is_not_migrated(settings: Settings) -> None:
    """`PURCHASES_DATABASE_URL` may name a wrong file; nothing is added to it."""
    settings.home.mkdir()
    engine = engine_over(settings.database, create=True)
    with engine.begin() as other:
        other.exec_driver_sql("CREATE TABLE bookmarks (url text)")
    engine.dispose()
    with pytest.raises(PurchasesError, match="not one of purchases"):
        schema.upgrade(settings)
    assert columns(settings, "bookmarks") == ["url"]
    assert columns(settings, "deployment") == []


@pytest.mark.sqlite("the history of a file")
def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way of the home's directory is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PurchasesError, match=r"file.* cannot be used: "):
        schema.upgrade(home_settings(tmp_path / "file" / "home"))


def test_the_deployment_is_recorded_once(store: Settings) -> None:
    """The first start decides; later starts give the same id."""
    engine = open_engine(store)
    first = deployment.ensure_deployment(engine, store)
    assert deployment.ensure_deployment(engine, store) == first
    assert re.fullmatch("[0-9a-f]{32}", first.deployment_id)
    assert (first.currency, first.timezone) == ("GBP", "UTC")
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"currency": "EUR"}, r"PURCHASES_CURRENCY is EUR, .* GBP: set PURCHASES_CURRENCY=GBP"),
        ({"timezone": "Europe/Paris"}, r"PURCHASES_TIMEZONE is Europe/Paris.* started with UTC"),
    ],
)
def test_another_currency_or_zone_is_refused(
    store: Settings, change: dict[str, str], message: str
) -> None:
    """What the figures are in cannot change under them; the message says what to set."""
    engine = open_engine(store)
    with pytest.raises(Mismatch, match=message):
        deployment.ensure_deployment(engine, store.model_copy(update=change))
    engine.dispose()
