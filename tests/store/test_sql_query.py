"""A question in SQL: what it may do, how long, how much, and what is said of a wrong one."""

import signal
import sqlite3
import threading
from contextlib import closing

import psutil
import pytest

from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.connection import write_store
from streaming.store.sql_access import ReadOnlyAccess
from streaming.store.sql_query import Bounds, run_query
from streaming.store.sqlite import connect
from tests.assets.event_store import store_events
from tests.databases import home_settings
from tests.store.rows import event, micros
from tests.support import wait_until

pytestmark = pytest.mark.sqlite("SQL of SQLite; for the other see test_postgres_sql")

BOUNDS = Bounds(30, 100)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
NUMBERS = ENDLESS.replace("FROM n)", "FROM n LIMIT 2000)").partition(" SELECT count")[0]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return settings of a store with two events."""
    settings = home_settings(tmp_path_factory.mktemp("sql") / "home")
    noon = micros("2024-03-01 12:00")
    store_events(settings, [event(0, noon), event(1, noon, 2)])
    return settings


def explain(settings: Settings, sql: str) -> str:
    """Return what is said of a statement that is refused or wrong."""
    with closing(connect(settings.database_path, read_only=True)) as connection:
        access = ReadOnlyAccess(connection)
        with pytest.raises((sqlite3.Error, sqlite3.Warning)) as raised:
            connection.execute(sql)
        return access.explain(connection, sql, raised.value)


def test_values_are_readable(stored: Settings) -> None:
    """An event's id is its text, other blobs are hexadecimal, and what is no text is replaced."""
    identifier = "00049655-0e1c-d600-0000-000000000001"
    packed = identifier.replace("-", "")
    result = run_query(
        stored,
        f"SELECT x'{packed}' AS event_id, x'00ff' AS b, 9e999, NULL, CAST(x'ff41' AS TEXT),"
        " count(*) FROM analytics_event_readable",
        BOUNDS,
    )
    assert result.columns[:2] == ["event_id", "b"]
    assert result.rows == [[identifier, "x'00ff'", "inf", None, "\ufffdA", 2]]
    assert result.cut is None


@pytest.mark.parametrize(
    ("sql", "refused"),
    [
        ("ATTACH 'other.db' AS other", "ATTACH"),
        ("VACUUM INTO 'copy.db'", "ATTACH"),
        ("PRAGMA journal_mode = DELETE", "PRAGMA"),
        ("SELECT * FROM pragma_database_list", "a change"),
        ("SELECT load_extension('x.so')", "load_extension"),
        ("DELETE FROM analytics_event", "a change"),
        ("WITH one AS (SELECT 1) INSERT INTO source_topic SELECT 9, 'x' FROM one", "a change"),
        ("CREATE TEMP TABLE t (a)", "a change"),
        ("BEGIN IMMEDIATE", "a transaction"),
    ],
)
def test_only_reading_is_allowed(stored: Settings, sql: str, refused: str) -> None:
    """Whatever else a statement would do is refused by name."""
    assert explain(stored, sql) == f"SQL may only read the database: {refused} is refused."


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT item\n FORM analytics_event", 'line 2, column 7: near "analytics_event"'),
        ("SELECT count(*), item FROM dead_letter WHERE", "line 1, column 45: incomplete input"),
        ("SELECT 1,\n e.itemm FROM analytics_event e", "line 2, column 4: no such column: e.itemm"),
        ("SELECT 'x', nofunction(1)", "line 1, column 13: no such function: nofunction"),
        ("SELECT 1; SELECT 2", "You can only execute one statement at a time"),
        ("SELECT :day", "Incorrect number of bindings"),
    ],
)
def test_wrong_sql_is_one_sentence_with_its_place(stored: Settings, sql: str, said: str) -> None:
    """Line and column, from 1, of what does not fit."""
    assert explain(stored, sql).startswith(f"The SQL is not valid: {said}")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM dead_letter", "a change is refused"),
        ("SELECT", "line 1"),
        ("--", "has no"),
        ("SELECT '\udcff'", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_sql_is_wrong_usage(stored: Settings, sql: str, said: str) -> None:
    """The process says it, and the command exits with 2."""
    with pytest.raises(UsageError, match=said):
        run_query(stored, sql, BOUNDS)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (ENDLESS, "more than 0.5 s"),
        (f"{NUMBERS} SELECT hex(randomblob(400000)) FROM n ORDER BY 1", "96 MiB of memory"),
        ("SELECT zeroblob(1000000000)", "a value of over 1,048,576 bytes"),
        (f"{NUMBERS} SELECT group_concat(printf('%.9999c', 'x')) FROM n", "a value of over"),
    ],
)
def test_a_statement_is_ended_at_its_bounds(stored: Settings, sql: str, said: str) -> None:
    """Time, memory and the size of a value are bounded, in a process of the statement's own."""
    seconds = 0.5 if sql == ENDLESS else 30
    with pytest.raises(UsageError, match=said):
        run_query(stored, sql, Bounds(seconds, 10, memory_bytes=96 * 1024 * 1024))


def test_a_result_is_cut_and_says_so(stored: Settings) -> None:
    """By rows or by bytes; a whole one says that it is whole."""
    many = f"{NUMBERS} SELECT i, printf('%.100c', 'x') FROM n"
    by_rows = run_query(stored, many, Bounds(30, 2000))
    assert (len(by_rows.rows), by_rows.cut) == (2000, None)
    assert run_query(stored, many, Bounds(30, 1999)).cut == "rows"
    by_bytes = run_query(stored, many, Bounds(30, 2000, result_bytes=1000))
    assert (len(by_bytes.rows), by_bytes.cut) == (9, "bytes")


def test_the_stream_writes_while_a_statement_runs(stored: Settings) -> None:
    """A reader that does not end holds no writer up."""

    def ask() -> None:
        sql = ENDLESS.replace("SELECT 1 ", "SELECT quantity FROM analytics_event ")
        with pytest.raises(UsageError, match="was ended"):
            run_query(stored, sql, Bounds(120, 1))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: time_of_statements() > 0.5, 60, "the statement does not run")
    for _ in range(2):
        with write_store(stored) as store:
            store.execute("UPDATE live_totals SET changed_at = changed_at + 1")
    assert asking.is_alive()
    # As the bound of time does.
    for process in processes_of_statements():
        process.send_signal(signal.SIGALRM)
    asking.join()


def processes_of_statements() -> list[psutil.Process]:
    """Return the processes in which statements of this process run."""
    children = psutil.Process().children()
    return [one for one in children if "streaming.store.sql_process" in one.cmdline()]


def time_of_statements() -> float:
    """Return the CPU time (s) that they took; they are imported in less than half a second."""
    return sum(process.cpu_times().user for process in processes_of_statements())


def test_without_a_database_the_sentence_is_that_of_every_reader(settings: Settings) -> None:
    """It says which command makes one."""
    with pytest.raises(PurchasesError, match="There is no database"):
        run_query(settings, "SELECT 1", BOUNDS)
