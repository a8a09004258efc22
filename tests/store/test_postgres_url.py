"""The URL of a PostgreSQL database: how it is named, and what is wrong, without a password."""

import re

import psycopg
import pytest

from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store import postgres
from streaming.store.connection import open_reader
from streaming.store.postgres import store_error
from streaming.system.database import PostgresDatabase, parse_database
from tests.postgres import PASSWORD, PostgresServer


def test_who_cannot_connect_is_told_why_and_never_the_password(
    postgres_server: PostgresServer, settings: Settings
) -> None:
    """A wrong password, a database that is not there, and a server that does not answer."""
    good = postgres_server.url("postgres")
    for url, kind, message in (
        (good.replace(PASSWORD, "another-secret"), PurchasesError, "refuses this user"),
        (
            good.removesuffix("postgres") + "nowhere",
            PurchasesError,
            "nowhere .*does not exist; create",
        ),
        (re.sub(r":\d+/", ":1/", good), Unavailable, "does not answer: Connection refused"),
    ):
        placed = settings.model_copy(update={"database_url": url})
        with pytest.raises(kind, match=message) as caught:
            open_reader(placed)
        said = f"{caught.value} {placed!r} {placed.database!r}"
        assert PASSWORD not in said
        assert "another-secret" not in said


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql+psycopg://ann:s%40fe@db:5433/shop", "the database shop on db:5433"),
        ("postgresql+psycopg://ann@a,b/shop?sslmode=require", "the database shop on a,b"),
        ("postgresql+psycopg:///shop?host=/run/pg&password=safe", "the database shop on /run/pg"),
        ("postgresql+psycopg://?service=shop", "the database of service shop"),
        ("postgresql+psycopg://ann:sa#fe?safe@db/shop", "the database shop on db"),
        ("postgresql+psycopg://ann:safe@[::1]:5433/shop", "the database shop on [::1]:5433"),
        ("postgresql+psycopg://%2Frun%2Fpg/shop", "the database shop on /run/pg"),
    ],
)
def test_a_database_is_named_without_user_and_password(url: str, name: str) -> None:
    """Whatever libpq's URI has."""
    assert str(parse_database(url)) == name
    assert "safe" not in repr(parse_database(url))


@pytest.mark.parametrize(
    "rest",
    [
        "ann:sa/fe@db/shop",
        "ann:12/34@db/shop",
        "ann:s@fe@db/shop",
        "ann:safe%@db/shop",
        "ann:sa fe@db/shop",
        "ann:safe@[::1/shop",
        "ann:safe@db:port/shop",
        "db/shop?password=sa%fe",
        "db/shop?password",
        "db/shop?password=sa=fe",
    ],
)
def test_a_url_that_libpq_would_refuse_is_never_shown(settings: Settings, rest: str) -> None:
    """Its message, and the database's name, would have a part of the password."""
    placed = settings.model_copy(update={"database_url": f"postgresql+psycopg://{rest}"})
    with pytest.raises(UsageError, match=r"begins with 'postgresql\+psycopg', but must be") as said:
        open_reader(placed)
    assert rest not in str(said.value)
    assert "fe@" not in str(said.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("sslmod=require", 'The URL of the database shop on 127.* is not valid: .*"sslmod"'),
        ("sslmode=sure", 'is not valid: invalid sslmode value: "sure"'),
        ("connect_timeout=long", "is not valid: bad value for connect_timeout"),
        ("service=unknown", "is not valid: definition of service"),
    ],
)
def test_a_wrong_option_of_a_url_is_one_sentence(
    settings: Settings, given: str, sentence: str
) -> None:
    """No server is asked, and waiting does not help."""
    url = f"postgresql+psycopg://127.0.0.1:1/shop?{given}"
    placed = settings.model_copy(update={"database_url": url})
    with pytest.raises(UsageError, match=sentence):
        open_reader(placed)


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        ('failed: FATAL:  role "ann" does not exist', PurchasesError, "refuses this user"),
        ('failed: FATAL:  role "ann" is not permitted to log in', PurchasesError, "refuses this"),
        ('failed: FATAL:  database "shop" does not exist', PurchasesError, "shop on db does not"),
        ('failed: root certificate file "/r.crt" does not exist', Unavailable, "root certificate"),
    ],
)
def test_what_does_not_exist_is_told_apart(
    said: str, kind: type[PurchasesError], sentence: str
) -> None:
    """A database, a user, and a file of certificates; a connection's errors have no code."""
    error = psycopg.OperationalError(f'connection to server at "db", port 5432 {said}')
    mapped = store_error(PostgresDatabase("postgresql://db/shop"), error)
    assert type(mapped) is kind
    assert re.search(sentence, str(mapped))


def test_a_server_that_is_too_old_is_refused(
    postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names both versions; nothing is asked of the server before."""
    monkeypatch.setattr(postgres, "OLDEST_VERSION", 99)
    with pytest.raises(PurchasesError, match=r"PostgreSQL \d\d, but the store needs 99 or newer"):
        open_reader(postgres_settings)
