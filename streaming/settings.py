"""The one settings object, read from the environment (`PURCHASES_…`) and `.env` files.

Defaults, types and the description of a valid value are here; what a setting does is not.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streaming.errors import UsageError
from streaming.system.database import POSTGRES_SCHEME, Database, PostgresDatabase, parse_database
from streaming.system.home import Home
from streaming.system.privacy import require_own
from streaming.units import MICROS

PREFIX = "PURCHASES_"
DOTENV = ".env"
COLUMNS_URL = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$"
"""A bucket, and maybe a prefix in it: no credentials, and no end with a slash."""
CONNECT_URL = r"^https?://[A-Za-z0-9._\-\[\]:]+(/[A-Za-z0-9._/-]*)?$"
"""The REST of a Kafka Connect: no credentials, and nothing that a shell would take for its own."""
SERVICES = r"^((dashboard|dagster|runs)(,(dashboard|dagster|runs))*)?$"
LEAST_KEPT_DAYS = 35
"""What compares with last week, and what looks for late events, reads rows only."""
PROJECT = Path(__file__).parents[1]
"""The checkout; if the package is installed, a directory that only installers write."""


def is_time_zone(name: str) -> bool:
    """Return whether days can be cut in this IANA time zone on every host."""
    # The host may have more, such as `posix/Europe/London` or `localtime`. Polars, which reads
    # naive times in the zone, does not know them, and another host may not have them.
    return name in (files("tzdata") / "zones").read_text().split() and name != "Factory"


class Settings(BaseSettings):
    """The settings of one deployment; frozen.

    `home` is absolute and holds everything that is written. `history_start` is a day in `timezone`,
    `max_amount` is in `currency`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, validate_default=True
    )

    home: Path = Path(".purchases")
    # Part of ids of Kafka, of which a static member's has at most 249 characters.
    host: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$")] = ""
    bootstrap_servers: str | None = None
    broker_open: bool = True
    kafka_config: Path | None = None
    schema_registry_url: str | None = None
    # It may have a password.
    database_url: str | None = Field(default=None, repr=False)
    columns_url: Annotated[str | None, Field(pattern=COLUMNS_URL)] = None
    connect_url: Annotated[str | None, Field(pattern=CONNECT_URL)] = None
    # Either may have a password.
    dagster_database_url: str | None = Field(default=None, repr=False)
    dagster_redis_url: str | None = Field(default=None, repr=False)
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "GBP"
    timezone: str = "UTC"
    history_start: date = date(2010, 1, 1)
    # What an event can hold at all is 10⁹, see `events.fields`; a shop's lines are far below both.
    max_amount: Annotated[Decimal, Field(gt=0, le=10**9, decimal_places=6)] = Decimal(1_000_000)
    processor_slots: Annotated[int, Field(ge=0, le=64)] = 1
    analytics_slots: Annotated[int, Field(ge=0, le=64)] = 1
    services: Annotated[str, Field(pattern=SERVICES)] = "dashboard,dagster,runs"
    refusal_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    dashboard_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    dashboard_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    dashboard_token: str | None = Field(default=None, repr=False)
    dashboard_action_token: str | None = Field(default=None, repr=False)
    dashboard_names: Annotated[str, Field(pattern=r"^[A-Za-z0-9._,-]*$")] = ""
    dashboard_certificate: Path | None = None
    dashboard_key: Path | None = None
    dashboard_behind_proxy: bool = False
    http_in: bool = False
    sql: Path | None = None
    backup_keep: Annotated[int, Field(ge=0, le=1_000)] = 3
    keep_events: Annotated[int | None, Field(ge=LEAST_KEPT_DAYS, le=36_500)] = None
    log_level: Literal["info", "debug"] = "info"

    @field_validator("home", "kafka_config", "dashboard_certificate", "dashboard_key", "sql")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator(
        "bootstrap_servers",
        "kafka_config",
        "schema_registry_url",
        "database_url",
        "columns_url",
        "connect_url",
        "dagster_database_url",
        "dagster_redis_url",
        "keep_events",
        "dashboard_token",
        "dashboard_action_token",
        "dashboard_certificate",
        "dashboard_key",
        "sql",
        mode="before",
    )
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("timezone")
    @classmethod
    def _existing_zone(cls, name: str) -> str:
        if not is_time_zone(name):
            raise ValueError(name)
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The deployment's time zone, in which days are cut."""
        return ZoneInfo(self.timezone)

    @property
    def history_start_time(self) -> datetime:
        """The first instant of history, in UTC."""
        start = self.history_start
        return datetime(start.year, start.month, start.day, tzinfo=self.zone).astimezone(UTC)

    @property
    def max_amount_micros(self) -> int:
        """The largest magnitude of one purchase's amount, in micros."""
        return int(self.max_amount * MICROS)

    @property
    def embedded_broker(self) -> bool:
        """Whether the broker is the embedded one."""
        return self.bootstrap_servers is None and self.kafka_config is None

    @property
    def database(self) -> Database:
        """The database of the events. Raises `UsageError` if `database_url` names none.

        By default it is a file in the home.
        """
        if self.database_url is None:
            return Home(self.home).database
        database = parse_database(self.database_url)
        if database is None:
            raise _wrong_url("database_url", self.database_url)
        return database

    @property
    def dagster_database(self) -> PostgresDatabase | None:
        """The database of Dagster's own storage; None if that is files in the home.

        Raises `UsageError` if `dagster_database_url` names none.
        """
        if self.dagster_database_url is None:
            return None
        database = parse_database(self.dagster_database_url)
        if not isinstance(database, PostgresDatabase):
            raise _wrong_url("dagster_database_url", self.dagster_database_url)
        return database

    @property
    def database_path(self) -> Path:
        """The SQLite file, for what handles it as a file.

        Raises `UsageError` if the events are on a server, or `database_url` names no database.
        """
        database = self.database
        if isinstance(database, Path):
            return database
        raise UsageError(
            f"This works on a SQLite file only, but {PREFIX}DATABASE_URL names {database}."
            " See docs/how-to/store-into-postgresql.md."
        )


SECRETS = {"dashboard_token", "dashboard_action_token"}
"""The settings that only the process that needs them gets."""

VALID_VALUES = {
    "home": "a directory that may be written",
    "host": "up to 63 letters, digits, '.', '_' or '-', such as shop-1",
    "bootstrap_servers": "host:port, several with commas between",
    "broker_open": "on or off",
    "database_url": "sqlite:/// and a file, such as sqlite:////var/lib/purchases/purchases.db, or"
    f" {POSTGRES_SCHEME} with user, host and database, in which a password's / @ % are %2F %40 %25",
    "columns_url": "a bucket that speaks S3, such as s3://shop-history or s3://shop/history",
    "dagster_database_url": f"{POSTGRES_SCHEME} with user, host and database",
    "dagster_redis_url": "redis:// or rediss:// with host, port and number, such as"
    " redis://127.0.0.1:6379/0",
    "connect_url": "the address of Kafka Connect's REST, such as http://127.0.0.1:8083",
    "kafka_config": "the path of a client.properties file",
    "schema_registry_url": "the http or https address of a schema registry",
    "namespace": "up to 64 letters, digits, '-' or '_'",
    "currency": "an ISO 4217 code of three capital letters, such as GBP",
    "timezone": "an IANA time zone, such as Europe/London",
    "history_start": "a date, such as 2010-01-01",
    "max_amount": "a decimal above 0, up to 1000000000, with at most 6 decimals",
    "processor_slots": "a whole number from 0 to 64",
    "analytics_slots": "a whole number from 0 to 64",
    "services": "dashboard, dagster, runs, several with commas between, or empty",
    "refusal_share": "a number from 0 to 1, such as 0.05",
    "dashboard_host": "an address to listen on, such as 127.0.0.1",
    "dashboard_port": "a port, or 0 for a free one",
    "dashboard_token": "a text of at least 32 characters",
    "dashboard_action_token": "a text of at least 32 characters",
    "dashboard_names": "host names with commas between, such as purchases.example.com",
    "dashboard_certificate": "the path of a PEM file",
    "dashboard_key": "the path of a PEM file",
    "dashboard_behind_proxy": "on or off",
    "http_in": "on or off",
    "sql": "a directory with .sql files",
    "backup_keep": "a whole number from 0 to 1000",
    "keep_events": f"a whole number of days from {LEAST_KEPT_DAYS} to 36500",
    "log_level": "info or debug",
}


def load_settings() -> Settings:
    """Read the settings from the environment, from `.env` of the home, and of the project.

    The first that names a setting counts. Raises `UsageError` with the first invalid setting and a
    description of a valid value, for a name that is no setting, for settings in a `.env` of another
    directory, for a home of another user, and for two settings that exclude each other.
    """
    project = PROJECT / DOTENV
    try:
        # The home's own file cannot say which home that is.
        home = Settings(_env_file=project).home  # type: ignore[call-arg]  # pydantic's own name
        require_own(home)
        settings = Settings(_env_file=(project, home / DOTENV), home=home)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            f"{PREFIX}{name.upper()} is {first['input']!r}, but must be {VALID_VALUES[name]}."
        ) from None
    files_read = [project, home / DOTENV]
    _refuse_unread_file(files_read)
    _refuse_unknown([*os.environ, *(name for file in files_read for name in dotenv_values(file))])
    _refuse_contradictions(settings)
    return settings


def _refuse_contradictions(settings: Settings) -> None:
    """Raise `UsageError` if two settings exclude each other."""
    is_file = isinstance(settings.database, Path)
    storage, queue = settings.dagster_database, settings.dagster_redis_url
    if queue is not None and not queue.startswith(("redis://", "rediss://")):
        raise _wrong_url("dagster_redis_url", queue)
    if queue is not None and (storage is None or is_file):
        raise UsageError(
            f"{PREFIX}DAGSTER_REDIS_URL hands runs to several hosts, which share their databases:"
            f" {PREFIX}DATABASE_URL and {PREFIX}DAGSTER_DATABASE_URL must name PostgreSQL's."
        )
    if settings.host and is_file:
        raise UsageError(
            f"{PREFIX}HOST is {settings.host!r}, one of several hosts, but the events are in a"
            f" SQLite file, which one host has. Name a PostgreSQL database in {PREFIX}DATABASE_URL,"
            f" or unset {PREFIX}HOST."
        )
    for name in ("processor_slots", "analytics_slots"):
        if getattr(settings, name) == 0 and not settings.host:
            raise UsageError(
                f"{PREFIX}{name.upper()} is 0, which leaves the app to other hosts, but this host"
                f" has no name. Set {PREFIX}HOST, or at least one slot."
            )
    if settings.keep_events is not None and settings.columns_url is not None:
        raise UsageError(
            f"{PREFIX}KEEP_EVENTS is set, and {PREFIX}COLUMNS_URL names a bucket, where another"
            " home could remove the only copy of events; unset one of them."
        )
    if settings.keep_events is not None and not is_file:
        raise UsageError(
            f"{PREFIX}KEEP_EVENTS is set, which deletes rows of a SQLite file, but"
            f" {PREFIX}DATABASE_URL names {settings.database}; unset {PREFIX}KEEP_EVENTS."
        )


def _wrong_url(name: str, url: str) -> UsageError:
    # Without the rest, which may have a password.
    kind = url.partition(":")[0]
    return UsageError(
        f"{PREFIX}{name.upper()} begins with {kind!r}, but must be {VALID_VALUES[name]}."
    )


def _refuse_unknown(names: Iterable[str]) -> None:
    """Raise `UsageError` if a name begins like a setting and is none, with the one that was meant.

    Ignored, a mistyped currency would be the default one, which the first start fixes.
    """
    settings = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in names:
        if name.upper().startswith(PREFIX) and name.upper() not in settings:
            meant = get_close_matches(name.upper(), settings, 1, 0.8)
            remedy = f"did you mean {meant[0]}?" if meant else "remove it."
            raise UsageError(f"{name} is no setting; {remedy} docs/settings.md lists them all.")


def _refuse_unread_file(read: Sequence[Path]) -> None:
    """Raise `UsageError` if the working directory has settings that are not read.

    Who works in a directory of others, such as /tmp, must not connect to where these say.
    """
    unread = Path.cwd() / DOTENV
    if not unread.is_file() or any(file.exists() and unread.samefile(file) for file in read):
        return
    # One that we may not read is of others, and has no settings of ours.
    with suppress(PermissionError):
        if PREFIX in unread.read_text(errors="replace"):
            raise UsageError(
                f"{unread} has settings, but they are read only from"
                f" {' and '.join(map(str, read))}; move them there, or work in another directory."
            )


def outer_environment() -> dict[str, str]:
    """Return this process's environment without any setting, for programs that are not ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a child reads these settings, but for the secrets."""
    return {**outer_environment(), **_variables(settings.model_dump(exclude=SECRETS))}


def secret_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of the secrets, for the child that needs them."""
    return _variables(settings.model_dump(include=SECRETS))


def _variables(values: Mapping[str, object]) -> dict[str, str]:
    return {f"{PREFIX}{n.upper()}": str(value) for n, value in values.items() if value is not None}
