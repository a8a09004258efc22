"""SQL of a user's on PostgreSQL: it reads, and nothing else, by whichever role it is run.

The connection of these tests is a superuser's, for whom the server itself refuses nothing.
"""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from assets.builds.builder import Outcome, open_builder
from assets.builds.sql_days import create_sql_table
from assets.builds.writer import digest
from assets.tables.sql_transform import SqlTransform
from streaming.errors import Unavailable, UsageError
from streaming.settings import Settings
from streaming.store import postgres_sql
from streaming.store.connection import read_store, write_store
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.postgres import connect, snapshot
from streaming.store.postgres_sql import Statement, check_sql, select
from streaming.store.source_topics import record_source_topics
from streaming.store.sql_access import SqlTextError
from streaming.store.sql_query import Bounds, run_query
from streaming.store.sql_tables import SqlError, compute_day, read_sql_table, read_sql_tables
from streaming.system.database import PostgresDatabase
from tests.assets.event_store import store_events, write
from tests.databases import home_settings
from tests.postgres import PostgresServer
from tests.store.rows import SOURCE_TOPICS, event, micros
from tests.support import wait_until

BOUNDS = Bounds(30, 100)
NOON = micros("2024-03-01 12:00")
DAY = (NOON - 43_200_000_000, NOON + 43_200_000_000)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
WHERE = "FROM analytics_event WHERE event_time >= :start_at AND event_time < :end_at"
ONLY = "SQL may only read the database: "
REFUSED = {
    "DELETE FROM dead_letter": "DELETE is refused",
    "DELETE FROM dead_letter RETURNING 1": "DELETE is refused",
    "WITH d AS (DELETE FROM dead_letter RETURNING 1) SELECT * FROM d": "a change is refused",
    "SELECT 1 AS a INTO copied": "a change is refused",
    "SELECT * FROM live_totals FOR UPDATE": "FOR UPDATE is refused",
    "COPY live_totals TO PROGRAM 'id'": "COPY is refused",
    "COPY (SELECT 1) TO '/tmp/written'": "COPY is refused",
    "EXPLAIN ANALYZE DELETE FROM dead_letter": "EXPLAIN is refused",
    "SET ROLE postgres": "SET is refused",
    "DO $$ BEGIN END $$": "DO is refused",
    "NOTIFY somebody": "NOTIFY is refused",
    "SELECT pg_read_file('PG_VERSION')": "the function pg_read_file is refused",
    "SELECT * FROM pg_ls_dir('.')": "the function pg_ls_dir is refused",
    "SELECT lo_import('PG_VERSION')": "the function lo_import is refused",
    "SELECT pg_sleep(60)": "a function without a value is refused",
    "SELECT 1 WHERE pg_sleep(60) IS NULL": "the function pg_sleep is refused",
    "SELECT 1 WHERE pg_advisory_lock(1) IS NULL": "the function pg_advisory_lock is refused",
    "SELECT 1 WHERE pg_notify('a', 'b') IS NULL": "the function pg_notify is refused",
    "SELECT set_config('role', 'none', false)": "the function set_config is refused",
    "SELECT current_setting('data_directory')": "the function current_setting is refused",
    "SELECT query_to_xml('DROP TABLE dead_letter', true, true, '')": "query_to_xml is refused",
    "SELECT table_to_xml('pg_authid', true, true, '')": "the function table_to_xml is refused",
    "SELECT * FROM ts_stat('SELECT 1')": "the function ts_stat is refused",
    "SELECT pg_terminate_backend(1)": "the function pg_terminate_backend is refused",
    "SELECT * FROM pg_authid": "the table pg_catalog.pg_authid is refused",
    "SELECT 1 IN (SELECT pid FROM pg_stat_activity)": "pg_catalog.pg_stat_activity is refused",
    "SELECT * FROM information_schema.user_mapping_options": "user_mapping_options is refused",
    "SELECT * FROM other.secret": "the table other.secret is refused",
    "SELECT other.read_all()": "the function read_all is refused",
}
WRONG = {
    "": "The SQL has no statement",
    "SELECT item\n FORM analytics_event": "line 2, column 7: syntax error",
    "SELECT 1,\n e.itemm FROM analytics_event e": "line 2, column 2: column e.itemm does not exist",
    "SELECT 1; SELECT 2": "multiple commands",
    "SELECT 1) AS a, (SELECT 2": "line 1, column 9: syntax error",
    "SELECT 1 WITH CHECK OPTION": "syntax error",
    "SELECT $1": "line 1, column 8: there is no parameter",
    "SELECT :day": "line 1, column 8: syntax error",
    "SELECT 1 / 0": "division by zero",
    "SELECT user FROM analytics_event": 'the column is "user", in quotation marks',
    "SELECT factorial(2000)": "a whole number of over 4,000 digits",
    "SELECT repeat('x', 2000000)": "a value of over 1,048,576 bytes",
}


@pytest.fixture
def stored(postgres_settings: Settings) -> Settings:
    """Return settings of a store on PostgreSQL with two events, beside a schema of others."""
    engine = open_engine(postgres_settings)
    ensure_deployment(engine, postgres_settings)
    record_source_topics(engine, SOURCE_TOPICS)
    write(engine, postgres_settings, [event(0, NOON).row(), event(1, NOON, 2).row()])
    with engine.begin() as owner:
        owner.exec_driver_sql("CREATE SCHEMA other")
        owner.exec_driver_sql("CREATE TABLE other.secret AS SELECT 1 AS a")
        owner.exec_driver_sql(
            "CREATE FUNCTION other.read_all() RETURNS text IMMUTABLE LANGUAGE sql"
            " AS 'SELECT pg_read_file(''PG_VERSION'')'"
        )
    engine.dispose()
    return postgres_settings


def explain(settings: Settings, sql: str) -> str:
    """Return what is said of a statement that is refused or wrong."""
    assert isinstance(settings.database, PostgresDatabase)
    statement = Statement(sql)
    with closing(connect(settings.database)) as connection:
        try:
            check_sql(connection.raw, statement)
            with snapshot(connection):
                return f"answered: {[*select(connection.raw, statement, 30)]}"
        except SqlTextError as error:
            return str(error)


def test_only_reading_is_allowed(stored: Settings) -> None:
    """Files, other schemas, settings, locks, the server and any change are refused by name."""
    for sql, said in REFUSED.items():
        answer = explain(stored, sql)
        assert (sql, answer, said in answer) == (sql, answer, True)
        assert answer.startswith(ONLY)
    # Servers before version 16 do not have it.
    assert "answered" not in explain(stored, "SELECT system_user")
    with pytest.raises(UsageError, match="DELETE is refused"):
        run_query(stored, "DELETE FROM analytics_event", BOUNDS)
    assert run_query(stored, "SELECT count(*) FROM analytics_event", BOUNDS).rows == [[2]]


def test_wrong_sql_is_one_sentence_with_its_place(stored: Settings) -> None:
    """Line and column, from 1, of what does not fit."""
    for sql, said in WRONG.items():
        answer = explain(stored, sql)
        assert (sql, answer, said in answer) == (sql, answer, True)


def test_a_text_that_takes_long_to_parse_is_refused(
    stored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a check holds the server, or who waits for it, for long."""
    monkeypatch.setattr(postgres_sql, "CHECK_SECONDS", 0.001)
    assert isinstance(stored.database, PostgresDatabase)
    text = f"SELECT 1 IN ({', '.join(map(str, range(200_000)))}) AS a"
    with (
        closing(connect(stored.database)) as connection,
        pytest.raises(SqlTextError, match=r"^The SQL takes over 0\.001 s to be checked\.$"),
    ):
        check_sql(connection.raw, Statement(text))


def test_values_and_bounds_are_those_of_sqlite(stored: Settings) -> None:
    """Ids, bytes, quotients and truth values; rows and bytes are cut, and time ends."""
    result = run_query(
        stored,
        "SELECT encode(event_id, 'escape'), '\\x00ff'::bytea, 'inf'::float8, NULL, true,"
        " avg(quantity) OVER (), sum(quantity) OVER (), '2024-03-01'::date, 'x%'"
        " -- a % and an apostrophe's comment\n FROM analytics_event ORDER BY 1 LIMIT 1;",
        BOUNDS,
    )
    assert result.rows == [["id-000000", "x'00ff'", "inf", None, 1, 1.5, 3, "2024-03-01", "x%"]]
    many = "SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i"
    assert run_query(stored, many, Bounds(30, 2000)).cut is None
    assert run_query(stored, many, Bounds(30, 1999)).cut == "rows"
    by_bytes = run_query(stored, many, Bounds(30, 2000, result_bytes=1000))
    assert (len(by_bytes.rows), by_bytes.cut) == (9, "bytes")
    with pytest.raises(UsageError, match=r"more than 0\.5 s"):
        run_query(stored, ENDLESS, Bounds(0.5, 1))
    large = "SELECT repeat('x', 1000000) FROM generate_series(1, 1000)"
    with pytest.raises(UsageError, match="MiB of memory"):
        run_query(stored, large, Bounds(120, 1000, memory_bytes=200 * 1024 * 1024))


def test_a_text_is_filled_without_changing_what_is_no_parameter() -> None:
    """Strings, comments, casts and other colons stay; places are those of the user's text."""
    text = "SELECT ':day', \":day\", $q$:day$q$, 1::bigint /* it's :day */ -- :day's\n, :day, x"
    statement = Statement(text, (("day", "'2024-03-01'"),))
    assert statement.filled_text == text.replace(", :day,", ", '2024-03-01',")
    assert statement.locate(statement.filled_text.index("x", 75)) == "line 2, column 9"
    assert statement.locate(statement.filled_text.index("2024")) == "line 2, column 3"


def test_a_file_is_a_table_of_days(stored: Settings) -> None:
    """Its columns have types, its rows are those that SQLite gives, and a wrong one is refused."""
    file = stored.home.parent / "daily_lines.sql"
    assert stored.database_url
    file.write_text(
        f'SELECT item, max("user") AS buyer, sum(quantity) AS sold, avg(quantity) AS mean {WHERE}'
        " GROUP BY item;"
    )
    table = read_sql_table(file, stored)
    assert dict(zip(table.columns, table.types, strict=True)) == {
        "day": "text", "item": "text", "buyer": "text", "sold": "bigint", "mean": "numeric",
    }  # fmt: skip
    with write_store(stored) as store:
        assert compute_day(store, table, "2024-03-01", DAY) == [
            ("2024-03-01", "lamp", "anna", 3, 1.5)
        ]
    for text, said in {
        f"SELECT pg_read_file('x') AS a {WHERE}": "may only read analytics_event",
        f"SELECT (SELECT count(*) FROM customer_summary) AS a {WHERE}": "customer_summary is ref",
        f"SELECT 1 AS a,\n :day AS b, itemm AS c {WHERE}": "line 2, column 13: column",
        f"SELECT user AS a {WHERE}": "quotation marks",
        f"SELECT 1 AS day {WHERE}": "leave the column day out",
    }.items():
        file.write_text(text)
        with pytest.raises(SqlError) as wrong:
            read_sql_table(file, stored)
        assert (text, said in str(wrong.value)) == (text, True)


def test_an_unreachable_server_is_said(stored: Settings) -> None:
    """In the sentence of every reader, also of one that cannot check a file: that is not wrong."""
    away = stored.model_copy(
        update={"database_url": "postgresql+psycopg://anna:hidden@127.0.0.1:1/shop"}
    )
    with pytest.raises(Exception, match="does not answer") as refused:
        run_query(away, "SELECT 1", BOUNDS)
    assert "hidden" not in str(refused.value)
    file = stored.home.parent / "daily_lines.sql"
    file.write_text(f"SELECT 1 AS a {WHERE}")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"^The database shop .* does not answer"):
            read_sql_tables(away.model_copy(update={"sql": file.parent}))


def test_a_file_that_was_checked_needs_no_server(
    stored: Settings, postgres_server: PostgresServer
) -> None:
    """A failover changes no table: who compares them sees no other file."""
    shop = stored.model_copy(update={"sql": stored.home.parent})
    file = stored.home.parent / "daily_lines.sql"
    file.write_text(f"SELECT 1 AS a {WHERE}")
    before = read_sql_tables(shop)
    assert [table.name for table in before.tables] == ["sql_daily_lines"]
    with postgres_server.refuse_connections(str(stored.database_url).rpartition("/")[2]):
        assert read_sql_tables(shop) == before
        file.write_text(f"SELECT 2 AS a {WHERE}")
        with pytest.raises(Unavailable, match="does not answer"):
            read_sql_tables(shop)
    assert read_sql_tables(shop) != before


@pytest.mark.sqlite("a file beside a server")
def test_a_table_of_a_file_has_one_digest_in_both_databases(
    stored: Settings, tmp_path: Path
) -> None:
    """Quotients too come back from a column of decimals as they were, and nothing is changed."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "lines.sql").write_text(
        'SELECT item, max("user") AS buyer, sum(amount_micros) AS total, avg(quantity) AS mean,'
        f" 1.0 * sum(quantity) / 7 AS seventh {WHERE} GROUP BY item"
    )
    on_sqlite = home_settings(tmp_path / "on-sqlite", sql=tmp_path / "sql")
    store_events(on_sqlite, [event(0, NOON), event(1, NOON, 2)])
    builds = []
    for settings in (on_sqlite, stored.model_copy(update={"sql": on_sqlite.sql})):
        (transform,) = map(SqlTransform, read_sql_tables(settings).tables)
        with open_builder(settings, "run") as builder:
            (outcome,) = builder.build("2024-03-01", [transform])
        assert outcome.build is not None
        with read_store(settings) as store:
            rows = store.execute("SELECT * FROM sql_lines").fetchall()
        assert digest(transform, rows) == outcome.build.digest
        builds.append((outcome.build.digest, rows))
    assert builds[0] == builds[1]


def test_two_runs_make_the_table_of_a_file_at_once(stored: Settings, tmp_path: Path) -> None:
    """The second waits for the first, and finds its table: neither fails."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "lines.sql").write_text(f"SELECT item {WHERE}")
    settings = stored.model_copy(update={"sql": tmp_path / "sql"})
    (transform,) = map(SqlTransform, read_sql_tables(settings).tables)
    engine, outcomes = open_engine(settings), list[Outcome]()

    def build() -> None:
        with open_builder(settings, "run") as builder:
            outcomes.extend(builder.build("2024-03-01", [transform]))

    def is_waiting() -> bool:
        with read_store(settings) as store:
            statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            statement += " AND datname = current_database()"
            return bool(store.execute(statement).fetchone() == (1,))

    second = threading.Thread(target=build)
    with closing(engine.connect()) as first, first.begin():
        create_sql_table(first, transform)
        second.start()
        wait_until(is_waiting, 60, "the second waits for nothing")
    second.join()
    engine.dispose()
    assert [(outcome.failure, outcome.computed) for outcome in outcomes] == [(None, True)]
