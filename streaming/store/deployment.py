"""The deployment that a database records at its first start, and the settings that must agree.

The schema itself is brought up in `schema`. Other facts about a home belong into files of the home.
"""

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streaming.errors import Mismatch, PurchasesError
from streaming.settings import PREFIX, Settings
from streaming.store.connection import SCHEMA_VERSION, StoreConnection, read_store, store_exists
from streaming.system.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

RECORDED: Final = "SELECT deployment_id, currency, timezone FROM deployment"


@dataclass(frozen=True)
class DeploymentInfo:
    """The row of `deployment`; the id names the consumer group of the database."""

    deployment_id: str
    currency: str
    timezone: str


def ensure_deployment(engine: "Engine", settings: Settings) -> DeploymentInfo:
    """Record the deployment at its first start; later compare the settings with what was recorded.

    `engine` is one that writes. Raises `Mismatch` naming the setting that differs.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO deployment"
            " (id, deployment_id, currency, timezone, schema_version, created_at)"
            # Of two first starts at once one records, and both compare themselves with what it
            # recorded.
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
    require_same_deployment(recorded, settings, settings.database)
    return recorded


def recorded_deployment(connection: StoreConnection) -> DeploymentInfo | None:
    """Return the recorded deployment; None if the database was never started."""
    row = connection.execute(RECORDED).fetchone()
    return None if row is None else DeploymentInfo(*row)


def require_same_deployment(
    recorded: DeploymentInfo, settings: Settings, database: Database
) -> None:
    """Raise `Mismatch` naming the first setting that differs from what `database` recorded."""
    for name, stored, given in (
        ("CURRENCY", recorded.currency, settings.currency),
        ("TIMEZONE", recorded.timezone, settings.timezone),
    ):
        if stored != given:
            change = {"TIMEZONE": f"or change it with `purchases db rebuild --timezone {given}`"}
            raise Mismatch(
                f"{PREFIX}{name} is {given}, but {database} was started with {stored}: set"
                f" {PREFIX}{name}={stored}, {change.get(name, f'or name another {PREFIX}HOME')}."
            )


def require_recorded_settings(connection: "Connection", settings: Settings) -> None:
    """Raise `Mismatch` if they were changed since `ensure_deployment`, as from another host."""
    row = connection.exec_driver_sql(RECORDED).one()
    require_same_deployment(DeploymentInfo(*row), settings, settings.database)


def require_settings_of_home(settings: Settings) -> None:
    """Raise `Mismatch` if a database is here, and has another currency or time zone.

    One that cannot be read is passed over: those who need it say what is wrong with it.
    """
    recorded = None
    with suppress(PurchasesError):
        if store_exists(settings):
            with read_store(settings) as store:
                recorded = recorded_deployment(store)
    if recorded is not None:
        require_same_deployment(recorded, settings, settings.database)
