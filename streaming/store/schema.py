"""Bringing the database to this program's schema, and what it records of its deployment.

Alembic is imported only where a migration really runs: opening an up-to-date database must not
cost its half a second. The migrations themselves are in `streaming/store/migrations`.
"""

import sqlite3
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streaming.errors import Mismatch
from streaming.settings import PREFIX, Settings
from streaming.store.backup import copy_database
from streaming.store.connection import (
    SCHEMA_VERSION,
    connect,
    newer_schema,
    schema_version,
    store_errors,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

MIGRATIONS: Final = Path(__file__).parent / "migrations"
RECORDED: Final = "SELECT deployment_id, currency, timezone FROM deployment"


@dataclass(frozen=True)
class DeploymentInfo:
    """What the database recorded at its first start; the id names its consumer group."""

    deployment_id: str
    currency: str
    timezone: str


def upgrade(settings: Settings) -> Path | None:
    """Bring the database to this program's schema, creating it where there is none.

    An older one is copied to `<home>/backups/` first; gives the path of that copy, else None.
    Several processes may do this at once: one migrates, the others find it done. Raises `Mismatch`
    for a newer schema, and what `store_errors` does.
    """
    path = settings.database_path
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()
    with closing(connect(path, create=True)) as connection, store_errors(path):
        found = schema_version(connection, path)
        if found > SCHEMA_VERSION:
            raise newer_schema(path, found)
        if found == SCHEMA_VERSION:
            return None
        kept = None if found == 0 else backup_path(settings, "before-upgrade")
        if kept is not None:
            copy_database(connection, path, kept)
    migrate(path)
    return kept


def migrate(path: Path) -> None:
    """Run the migrations that the file lacks, all in one transaction; nothing is copied before."""
    from alembic import command
    from alembic.config import Config

    from streaming.store.engine import engine_over

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = engine_over(path, create=True)
    try:
        with store_errors(path), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def backup_path(settings: Settings, why: str) -> Path:
    """Give a new name in `<home>/backups/`, sorting by the time in UTC that it tells."""
    now = datetime.now(UTC)
    return settings.home / "backups" / f"purchases-{now:%Y%m%dT%H%M%S.%f}Z-{why}.db"


def ensure_deployment(engine: "Engine", settings: Settings) -> DeploymentInfo:
    """Record the deployment at its first start; later compare the settings with what was recorded.

    `engine` is one that writes. Raises `Mismatch` naming the setting that differs.
    """
    path = settings.database_path
    with store_errors(path), engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO deployment"
            " (id, deployment_id, currency, timezone, schema_version, created_at)"
            " VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (
                uuid.uuid4().hex,
                settings.currency,
                settings.timezone,
                SCHEMA_VERSION,
                time.time_ns() // 1000,
            ),
        )
        row = connection.exec_driver_sql(RECORDED).one()
    recorded = DeploymentInfo(*row)
    require_same_deployment(recorded, settings, path)
    return recorded


def recorded_deployment(connection: sqlite3.Connection) -> DeploymentInfo | None:
    """Give what the database recorded of its deployment; None where it never started."""
    row = connection.execute(RECORDED).fetchone()
    return None if row is None else DeploymentInfo(*row)


def require_same_deployment(recorded: DeploymentInfo, settings: Settings, path: Path) -> None:
    """Raise `Mismatch` naming the first setting that differs from what `path` recorded."""
    for name, stored, given in (
        ("CURRENCY", recorded.currency, settings.currency),
        ("TIMEZONE", recorded.timezone, settings.timezone),
    ):
        if stored != given:
            raise Mismatch(
                f"{PREFIX}{name} is {given}, but {path} was started with {stored}:"
                f" set {PREFIX}{name}={stored}, or name another {PREFIX}HOME."
            )
