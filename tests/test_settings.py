"""Settings are refused where what is set could not be used later."""

import sys
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from streaming import settings as module
from streaming.errors import UsageError
from streaming.settings import Settings, load_settings, secret_environment, worker_environment
from streaming.system.child_process import start_child
from streaming.system.database import PostgresDatabase, parse_database
from streaming.system.lease import acquire

ODD_ZONES = ["posix/Europe/London", "right/UTC", "localtime", "Factory", "posixrules", "tzdata.zi"]


@pytest.mark.parametrize("name", [*ODD_ZONES, "", "Europe", "europe/london", "../UTC", "Mars/Base"])
def test_a_zone_that_only_some_hosts_have_is_refused(name: str) -> None:
    """Recorded at a first start it would be there for good, and a replay could not read it."""
    with pytest.raises(ValidationError):
        Settings(timezone=name)


def test_every_zone_of_the_database_is_known_to_all_that_read_times() -> None:
    """To the settings, to the standard library and to polars."""
    names = [name for name in (files("tzdata") / "zones").read_text().split() if name != "Factory"]
    naive = pl.Series([datetime(2024, 3, 15, 12)])
    assert len(names) > 500
    for name in names:
        zone = Settings(timezone=name).zone
        assert naive.dt.replace_time_zone(name).dt.epoch("ms")[0] == int(
            datetime(2024, 3, 15, 12, tzinfo=zone).timestamp() * 1000
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a `.env`, an empty environment, and a working directory elsewhere."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PURCHASES_{name.upper()}", raising=False)
    folder = tmp_path / "project"
    for one in (folder, tmp_path / "home", tmp_path / "elsewhere"):
        one.mkdir()
    home = f"PURCHASES_HOME={tmp_path}/home\nPURCHASES_CURRENCY=EUR\nPURCHASES_NAMESPACE=project\n"
    (folder / ".env").write_text(home)
    monkeypatch.setattr(module, "PROJECT", folder)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def test_env_files_are_those_of_the_home_and_of_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment counts first, then the home's; the home's names no other home."""
    home = project.parent / "home"
    text = "PURCHASES_NAMESPACE=home\nPURCHASES_TIMEZONE=Europe/London\nPURCHASES_HOME=/elsewhere\n"
    (home / ".env").write_text(text)
    monkeypatch.setenv("PURCHASES_TIMEZONE", "Asia/Tokyo")
    settings = load_settings()
    assert settings.home == home
    assert (settings.currency, settings.namespace, settings.timezone) == (
        "EUR",
        "home",
        "Asia/Tokyo",
    )
    for directory in (home, project):
        monkeypatch.chdir(directory)
        assert load_settings() == settings


def test_settings_in_another_directory_are_not_read_and_not_passed_over(project: Path) -> None:
    """Somebody left them in a directory where others work; without settings it is another's."""
    unread = Path.cwd() / ".env"
    unread.write_text("DATABASE=other\n")
    assert load_settings().home == project.parent / "home"
    unread.write_text("PURCHASES_KAFKA_CONFIG=/tmp/theirs.properties\n")
    with pytest.raises(
        UsageError, match=r"elsewhere/\.env has settings, but they are read only from"
    ):
        load_settings()


@pytest.mark.parametrize("where", ["environment", "home", "project"])
def test_a_name_that_is_no_setting_is_refused_with_the_one_that_was_meant(
    where: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ignored, the first start would fix the default currency."""
    line = "PURCHASES_CURENCY=EUR\n"
    match where:
        case "environment":
            monkeypatch.setenv("PURCHASES_CURENCY", "EUR")
        case "home":
            (project.parent / "home" / ".env").write_text(line)
        case "project":
            with (project / ".env").open("a") as file:
                file.write(line)
    with pytest.raises(UsageError, match=r"CURENCY is no setting; did you mean PURCHASES_CURRENCY"):
        load_settings()


def test_a_child_gets_no_secret_that_it_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from the settings nor from this process's own environment."""
    secret = "a token of at least thirty-two characters"
    monkeypatch.setenv("PURCHASES_DASHBOARD_TOKEN", secret)
    monkeypatch.setenv("PURCHASES_HOME", str(tmp_path))
    loaded = load_settings()
    assert loaded.dashboard_token == secret
    environment = worker_environment(loaded)
    assert environment["PURCHASES_HOME"] == str(tmp_path)
    assert environment["PATH"]
    assert secret not in environment.values()
    assert secret_environment(loaded) == {"PURCHASES_DASHBOARD_TOKEN": secret}
    assert not any(name.startswith("PURCHASES_") for name in module.outer_environment())


def test_a_child_with_a_log_of_its_own_reads_its_settings(tmp_path: Path) -> None:
    """What a parent tells it beside is no setting, which would stop it."""
    command = [sys.executable, "-c", "from streaming.settings import load_settings as f; f()"]
    environment = {**module.outer_environment(), "PURCHASES_HOME": str(tmp_path)}
    lease = acquire(tmp_path / "lease")
    assert lease is not None
    with lease:
        child = start_child(command, environment, tmp_path / "log", lease)
    assert child.wait(120) == 0, (tmp_path / "log").read_text()


@pytest.mark.usefixtures("project")
def test_files_in_a_bucket_cannot_be_the_only_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another home with the same URL would remove them."""
    monkeypatch.setenv("PURCHASES_KEEP_EVENTS", "400")
    assert load_settings().keep_events == 400
    monkeypatch.setenv("PURCHASES_COLUMNS_URL", "s3://shop-history")
    with pytest.raises(UsageError, match=r"KEEP_EVENTS is set, and PURCHASES_COLUMNS_URL names"):
        load_settings()
    monkeypatch.delenv("PURCHASES_COLUMNS_URL")
    monkeypatch.setenv("PURCHASES_DATABASE_URL", "postgresql+psycopg://ann:secret@db.shop/sales")
    with pytest.raises(UsageError, match=r"but PURCHASES_DATABASE_URL names the database sales on"):
        load_settings()


@pytest.mark.usefixtures("project")
def test_one_of_several_hosts_stores_into_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only then may it leave an app to others: a SQLite file is of one host."""
    monkeypatch.setenv("PURCHASES_ANALYTICS_SLOTS", "0")
    with pytest.raises(UsageError, match=r"ANALYTICS_SLOTS is 0, which leaves .* Set PURCHASES_HO"):
        load_settings()
    monkeypatch.setenv("PURCHASES_HOST", "north")
    with pytest.raises(UsageError, match=r"HOST is 'north', .* Name a PostgreSQL database in PUR"):
        load_settings()
    monkeypatch.setenv("PURCHASES_DATABASE_URL", "postgresql+psycopg://ann:secret@db.shop/sales")
    assert load_settings().analytics_slots == 0
    monkeypatch.setenv("PURCHASES_HOST", "north/1")
    with pytest.raises(UsageError, match=r"PURCHASES_HOST is 'north/1', but must be up to 63"):
        load_settings()


@pytest.mark.parametrize("value", ["dagster", "dashboard,dagster,runs", ""])
def test_up_runs_the_services_that_are_named(value: str) -> None:
    """And no other word is one."""
    assert Settings(services=value).services == value
    with pytest.raises(ValidationError):
        Settings(services=f"{value},broker")


def test_what_hands_runs_to_several_hosts_needs_databases_that_they_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file of SQLite is on one of them; and no message shows a password."""
    monkeypatch.setenv("PURCHASES_DAGSTER_DATABASE_URL", "mysql://ann:secret@db.shop/dagster")
    with pytest.raises(UsageError, match=r"URL begins with 'mysql', but must be postgresql"):
        load_settings()
    url = "postgresql+psycopg://ann:secret@db.shop/dagster"
    monkeypatch.setenv("PURCHASES_DAGSTER_DATABASE_URL", url)
    assert str(load_settings().dagster_database) == "the database dagster on db.shop"
    monkeypatch.setenv("PURCHASES_DAGSTER_REDIS_URL", "http://:secret@redis.shop")
    with pytest.raises(UsageError, match=r"REDIS_URL begins with 'http', but must be redis://"):
        load_settings()
    monkeypatch.setenv("PURCHASES_DAGSTER_REDIS_URL", "rediss://:secret@redis.shop/0")
    with pytest.raises(UsageError, match="hands runs to several hosts, which share their data"):
        load_settings()
    monkeypatch.setenv("PURCHASES_DATABASE_URL", url)
    assert "secret" not in repr(load_settings())
    monkeypatch.delenv("PURCHASES_DAGSTER_DATABASE_URL")
    with pytest.raises(UsageError, match=r"PURCHASES_DAGSTER_DATABASE_URL must name PostgreSQL's"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ann:s%2Fs@db:5433/shop?sslmode=require", "ann:s%2Fs@db:5433/shop?sslmode=require"),
        ("?service=shop", "?service=shop"),
        ("ann@db1:5433,db2/shop", "ann@/shop?host=db1:5433&host=db2"),
        ("db1,db2?sslmode=require", "/?host=db1&host=db2&sslmode=require"),
    ],
)
def test_sqlalchemy_gets_the_same_database(url: str, expected: str) -> None:
    """It reads no list of hosts as libpq does."""
    database = parse_database(f"postgresql+psycopg://{url}")
    assert isinstance(database, PostgresDatabase)
    assert database.sqlalchemy_url("psycopg2") == f"postgresql+psycopg2://{expected}"
