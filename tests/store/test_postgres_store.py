"""The store in a PostgreSQL database: how it is opened, made, and what its errors say."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, inspect

from streaming.errors import Mismatch, PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.connection import (
    SCHEMA_VERSION,
    StoreConnection,
    connect,
    open_reader,
    read_store,
    read_store_together,
    schema_version,
    store_exists,
    used_bytes,
    write_store,
)
from streaming.store.engine import engine_over, open_engine
from streaming.store.live_totals import count_corrections
from streaming.store.models import Table
from streaming.store.postgres import store_error, translate
from streaming.store.schema import upgrade
from streaming.system.database import PostgresDatabase
from tests.postgres import PostgresServer

SEVERAL = 3


def test_a_new_database_is_of_this_schema(postgres_settings: Settings) -> None:
    """It is written and read like a file; to upgrade it again changes nothing."""
    upgrade(postgres_settings)
    with write_store(postgres_settings) as store:
        store.execute("INSERT INTO source_topic (name) VALUES (?)", ("shop",))
    with read_store(postgres_settings) as store:
        assert schema_version(store, postgres_settings.database) == SCHEMA_VERSION
        assert used_bytes(store) > 0
        assert store.execute("SELECT * FROM source_topic_readable").fetchall() == [(1, "shop")]
    assert store_exists(postgres_settings)


def test_a_database_of_the_release_before_is_upgraded(postgres_settings: Settings) -> None:
    """A migration makes on a server what a new database has."""
    with write_store(postgres_settings) as store:
        store.execute("DROP VIEW host_status_readable")
        store.execute("DROP TABLE host_status")
        store.execute("ALTER TABLE correction ALTER COLUMN id TYPE integer")
        store.execute("ALTER SEQUENCE correction_id_seq AS integer")
        store.execute("UPDATE alembic_version SET version_num = '0015'")
    upgrade(postgres_settings)
    with write_store(postgres_settings) as store:
        row = ("north", "processor", "machine:/home", "running", "[]", 1_700_000_000_000_000)
        store.execute("INSERT INTO host_status VALUES (?, ?, ?, ?, ?, ?)", row)
        store.execute("SELECT setval('correction_id_seq', ?)", (2**40,))
        store.execute(
            "INSERT INTO correction (kind, event_id, day_before, day, source_topic,"
            " source_partition, source_offset, source_timestamp, corrected_at)"
            " VALUES ('rebuild', '', '2024-01-01', '2024-01-01', '', 0, 0, 0, 0)"
        )
        assert count_corrections(store) == 2**40 + 1
    with read_store(postgres_settings) as store:
        shown = store.execute("SELECT * FROM host_status_readable").fetchall()
    assert shown == [(*row[:4], "2023-11-14 22:13:20.000000")]


def test_who_only_reads_may_pause_for_long(postgres_settings: Settings) -> None:
    """`verify` reads Kafka between two statements; who writes holds others up, and may not."""
    ask = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with read_store(postgres_settings) as reader, write_store(postgres_settings) as writer:
        assert [s.execute(ask).fetchone() for s in (reader, writer)] == [("0",), ("1min",)]


def test_several_first_starts_make_the_tables_once(postgres: str, settings: Settings) -> None:
    """Who comes later waits, and finds them made; before that there is no store."""
    placed = settings.model_copy(update={"database_url": url_of(postgres)})
    assert not store_exists(placed)
    with pytest.raises(Mismatch, match="has no tables yet; `purchases up`"):
        open_reader(placed)
    with ThreadPoolExecutor(SEVERAL) as pool:
        list(pool.map(upgrade, [placed] * SEVERAL))
    open_engine(placed).dispose()


def url_of(conninfo: str) -> str:
    """Return the URL of what libpq connects by."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return "postgresql+psycopg://{user}:{password}@{host}:{port}/{dbname}".format(**parts)


@pytest.mark.sqlite("a file beside a server")
def test_both_databases_have_the_tables_and_indexes_of_the_models(
    store: Settings, postgres_settings: Settings
) -> None:
    """Columns in the same order, what may be null, keys and indexes; a row's number is extra."""
    engines = [engine_over(each.database) for each in (store, postgres_settings)]
    one, other = (inspect(engine) for engine in engines)
    assert sorted(other.get_table_names()) == sorted(one.get_table_names())
    assert sorted(other.get_view_names()) == sorted(one.get_view_names())
    for name in one.get_table_names():
        expected = [(column["name"], column["nullable"]) for column in one.get_columns(name)]
        actual = [(column["name"], column["nullable"]) for column in other.get_columns(name)]
        assert actual == [*expected, *([("rowid", False)] if name == "analytics_event" else [])]
        keys = [each.get_pk_constraint(name)["constrained_columns"] for each in (one, other)]
        assert keys[0] == keys[1]
        indexes = [{i["name"] for i in each.get_indexes(name)} for each in (one, other)]
        assert indexes[0] <= indexes[1]
        checks = [{c["name"] for c in each.get_check_constraints(name)} for each in (one, other)]
        assert checks[0] == checks[1]
    for engine in engines:
        engine.dispose()


ODD: dict[str, list[Any]] = {
    "kind": ["sale", "return"],
    "quantity": [2, -1],
    "state": ["open", "parked"],
    "user": ["anna", None],
    "country": ["", "Åland"],
    "unit_price_micros": [None, 1],
    "amount_micros": [None, -1],
    "utc_offset": [3_600, -12_600],
    "agrees": [True, False],
    "event_id": [bytes(range(16)), b"older-id"],
    "archived": [None, 0],
}
NUMBERS = (-1_234_567, 86_399_999_999_999)
"""Before 1970, and a sum and a time with all its digits."""


def odd_rows(columns: list[Column[Any]]) -> Iterator[tuple[object, ...]]:
    """Yield two rows with values at which views could differ; of one row if the id must be 1."""
    one_row = any(column.name == "id" for column in columns)
    for number in (0,) if one_row else (0, 1):
        yield tuple(odd_value(column, number) for column in columns)


def odd_value(column: Column[Any], number: int) -> object:
    """Return a value of a column's type."""
    kind = column.type.python_type
    if column.name in ODD and not (column.name == "event_id" and kind is str):
        odd = ODD[column.name][number]
        return "x" if odd is None and not column.nullable else odd
    if kind is date:
        return (date(2024, 2, 29) + timedelta(number)).isoformat()
    if kind is bytes:
        return bytes([number])
    if kind is int:
        if "BIGINT" not in str(column.type):
            return number + 1
        # Kafka has no times before 1970.
        return abs(NUMBERS[number]) if column.name.endswith("_timestamp") else NUMBERS[number]
    return "conflict" if column.name == "kind" else f"text {number}"


@pytest.mark.sqlite("a file beside a server")
def test_views_show_the_same_in_both_databases(
    store: Settings, postgres_settings: Settings
) -> None:
    """Times before 1970 and of six digits, money below and above zero, ids, months of items."""
    from assets.tables import models

    assert models
    shown = []
    for each in (store, postgres_settings):
        with write_store(each) as writer:
            writer.execute("DELETE FROM deployment")
            for table in Table.metadata.sorted_tables:
                if table.name in {"monthly_item_sales", "correction"}:
                    continue
                marks = ", ".join("?" * len(table.columns))
                statement = f'INSERT INTO "{table.name}" VALUES ({marks})'
                writer.executemany(statement, odd_rows(list(table.columns)))
            writer.execute(
                "UPDATE daily_item_sales SET item = 'other', day = '2024-03-31'"
                " WHERE item = 'text 1'"
            )
            writer.execute("DELETE FROM daily_item_sales WHERE item = 'text 0'")
        with read_store(each) as reader:
            views = [f"{name}_readable" for name in Table.metadata.tables]
            shown.append(
                {
                    view: sorted(map(repr, reader.execute(f"SELECT * FROM {view}").fetchall()))
                    for view in views
                }
            )
    assert shown[1] == shown[0]


def test_connections_read_together_see_one_moment(postgres_settings: Settings) -> None:
    """Also when another commits as soon as they are open; they may make temporary tables."""
    with read_store_together(postgres_settings, SEVERAL) as stores:
        with write_store(postgres_settings) as store:
            store.execute("INSERT INTO source_topic (name) VALUES ('later')")
        for each in stores:
            each.execute("CREATE TEMP TABLE seen (name TEXT)")
            assert each.execute("SELECT count(*) FROM source_topic").fetchone() == (0,)


@contextmanager
def first_of_two(settings: Settings) -> Iterator[StoreConnection]:
    """Open the store by two connections, and yield one of them."""
    with read_store_together(settings, 2) as stores:
        yield stores[0]


@pytest.mark.parametrize("open_store", [read_store, write_store, first_of_two])
def test_a_session_that_the_server_ends_is_one_sentence(
    postgres_server: PostgresServer,
    postgres_settings: Settings,
    open_store: Callable[[Settings], AbstractContextManager[StoreConnection]],
) -> None:
    """In whichever way the store is open, and also if several connections are."""
    name = str(postgres_settings.database_url).rpartition("/")[2]

    def lose_sessions() -> None:
        with open_store(postgres_settings) as store:
            with psycopg.connect(postgres_server.conninfo()) as owner:
                owner.execute(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
                    " WHERE datname = %s",
                    (name,),
                )
            store.execute("SELECT 1")

    with pytest.raises(Unavailable, match="is being shut down or started"):
        lose_sessions()


def test_a_reader_writes_nothing(postgres_settings: Settings) -> None:
    """A snapshot refuses it."""
    with pytest.raises(Unavailable, match="read-only"), read_store(postgres_settings) as store:
        store.execute("INSERT INTO source_topic (name) VALUES ('no')")


def test_writers_wait_for_each_other_and_say_so(postgres_settings: Settings) -> None:
    """Whoever waits longer than its limit may try again."""
    with write_store(postgres_settings):
        engine = engine_over(postgres_settings.database, lock_seconds=0.1)
        with pytest.raises(Unavailable, match="is locked by another"), engine.begin() as other:
            other.exec_driver_sql("LOCK TABLE live_totals IN SHARE ROW EXCLUSIVE MODE")
        engine.dispose()


def test_defaults_of_a_database_change_no_result(
    postgres_server: PostgresServer, postgres_settings: Settings
) -> None:
    """Who waited for a lock sees what was committed, days are UTC's, and a run keeps its locks."""
    name = str(postgres_settings.database_url).rpartition("/")[2]
    changed = {
        "default_transaction_isolation": ("serializable", "read committed"),
        "TimeZone": ("Asia/Tokyo", "UTC"),
        "idle_session_timeout": ("1h", "0"),
        "tcp_keepalives_idle": ("7200", "10"),
        "synchronous_commit": ("off", "on"),
    }
    expected = tuple(ours for _, ours in changed.values())
    ask = "SELECT " + ", ".join(f"current_setting('{setting}')" for setting in changed)
    with psycopg.connect(postgres_server.conninfo(name), autocommit=True) as owner:
        for setting, (theirs, _) in changed.items():
            owner.execute(f"ALTER DATABASE {name} SET {setting} = '{theirs}'".encode())
    with write_store(postgres_settings) as writer:
        assert writer.execute(ask).fetchone() == expected
    engine = open_engine(postgres_settings)
    with engine.begin() as connection:
        assert tuple(connection.exec_driver_sql(ask).one()) == expected
        level = connection.exec_driver_sql("SELECT current_setting('transaction_isolation')")
        assert level.scalar_one() == "read committed"
    engine.dispose()


def test_a_database_of_another_locale_is_refused(
    postgres_server: PostgresServer, settings: Settings
) -> None:
    """The message has the statement that makes the right one."""
    with psycopg.connect(postgres_server.conninfo(), autocommit=True) as connection:
        for name, how, said in (
            ("Latin", "ENCODING 'LATIN1' LOCALE 'C'", "the locale C and the encoding LATIN1"),
            ("Letters", "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'", r"the locale C with C\.UTF-8 and"),
        ):
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 {how}'.encode())
            placed = settings.model_copy(update={"database_url": postgres_server.url(name)})
            sentence = f"^The database {name} on .* has {said}.*TEMPLATE template0 LOCALE 'C'"
            with pytest.raises(PurchasesError, match=sentence):
                open_reader(placed)
            postgres_server.drop_database(name)


def test_a_user_without_a_schema_is_told_so(postgres: str, settings: Settings) -> None:
    """Tables can be made nowhere."""
    url = url_of(postgres) + "?options=-csearch_path%3Dnowhere"
    with pytest.raises(PurchasesError, match="has no schema that its user may use"):
        upgrade(settings.model_copy(update={"database_url": url}))


def test_a_file_is_asked_for_by_what_needs_one(postgres_settings: Settings) -> None:
    """What handles the database as a file says where to read on."""
    with pytest.raises(UsageError, match="works on a SQLite file only"):
        _ = postgres_settings.database_path


def test_parameters_are_translated_outside_of_texts_alone() -> None:
    """Marks and names become psycopg's; what is quoted, and casts, stay."""
    assert translate("SELECT '?', \"a:b\", x::text, 5 % 2 WHERE a = ? AND b = :name_2") == (
        "SELECT '?', \"a:b\", x::text, 5 %% 2 WHERE a = %s AND b = %(name_2)s"
    )


def test_values_come_as_from_sqlite(postgres_settings: Settings) -> None:
    """Days as ISO texts, sums and truth values as integers, bytes as bytes."""
    with closing(connect(postgres_settings.database)) as store:
        row = store.execute(
            "SELECT DATE '2024-02-29', sum(n)::numeric, 1 = 1, '\\x00ff'::bytea, '50%' LIKE '5_%'"
            " FROM (VALUES (9223372036854775807), (1)) v (n)"
        ).fetchone()
    assert repr(row) == repr(("2024-02-29", 2**63, 1, b"\x00\xff", 1))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (psycopg.errors.AdminShutdown, Unavailable),
        (psycopg.errors.CannotConnectNow, Unavailable),
        (psycopg.errors.ConnectionFailure, Unavailable),
        (psycopg.errors.DeadlockDetected, Unavailable),
        (psycopg.errors.DiskFull, Unavailable),
        (psycopg.errors.IdleInTransactionSessionTimeout, Unavailable),
        (psycopg.errors.InsufficientPrivilege, PurchasesError),
        (psycopg.errors.SerializationFailure, Unavailable),
        (psycopg.errors.TooManyConnections, Unavailable),
        (psycopg.errors.lookup("25P04"), Unavailable),
        (psycopg.errors.SyntaxError, None),
        (psycopg.errors.UniqueViolation, None),
    ],
)
def test_each_error_is_one_to_wait_for_one_to_mend_or_a_bug(
    code: Callable[[str], BaseException], kind: type[PurchasesError] | None
) -> None:
    """By the code of its class."""
    actual = store_error(PostgresDatabase("postgresql://db/shop"), code("what it said"))
    assert (None if actual is None else type(actual)) is kind
