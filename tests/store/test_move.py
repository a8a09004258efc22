"""The move from a file to a server and back: all is equal, whenever it is killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from assets.builds.locks import hold_write_lock
from streaming.errors import Mismatch, PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store import move as moving
from streaming.store.column_files import read_column_files
from streaming.store.connection import MOVE_TABLE, connect, read_store, write_store
from streaming.store.erasure import erase
from streaming.store.move import move
from streaming.store.postgres import PostgresConnection
from streaming.store.postgres_locks import keep_moves_out
from streaming.store.preparation import prepare_store
from streaming.store.rebuild import rebuild
from streaming.store.schema import upgrade
from streaming.store.table_dialect import dialect_of
from streaming.system.database import PostgresDatabase
from streaming.system.home import Home
from streaming.system.lease import acquire
from streaming.verification.database_checks import check_days, check_totals
from tests.deployment import Deployment
from tests.postgres import PostgresServer
from tests.store.rows import add_dead_letter, event, fill, micros, year_of_days

pytestmark = pytest.mark.sqlite("a file beside a server")

CHILD = """
import os, sys
from streaming.settings import Settings
from streaming.store import move
from tests.assets.builds.steps import run_forked, killed_at
from tests.store.test_move import content

home, *urls = sys.argv[1:]
move.CHUNK_ROWS = 10
settings, files = Settings(home=home), ("store/move.py", "store/connection.py", "_tables.py")

def move_until(url, last):
    return killed_at(lambda: move.move(settings, url), files, last)

def judge(url):
    move.move(settings, url)
    return content(settings.model_copy(update={"database_url": url})) == content(settings)

_, steps = run_forked(lambda: move_until(urls[0], 0))
for number, url in enumerate(urls[1:]):
    signalled, _ = run_forked(lambda: move_until(url, 1 + number * (steps - 1) // (len(urls) - 1)))
    _, judgement = run_forked(lambda: judge(url))
    print(signalled, judgement)
"""

MOVE = """
import sys
from streaming.settings import Settings
from streaming.store.move import move

def wait(step, _done, _total):
    print(step, flush=True)
    sys.stdin.read()

home, source, target = sys.argv[1:]
move(Settings(home=home, database_url=source), target, wait)
"""
"""A move that stands still at its first step, until it is killed."""


ROWS = """
INSERT INTO daily_item_sales SELECT day, 'lamp', 1, 2, 5, 5, 1, 1, 1, 0, 0 FROM day_ledger;
INSERT INTO build_failure VALUES ('daily_sales', '2024-01-01', 1, 1, 'no', 'run', 7);
INSERT INTO build_failure VALUES ('sql_lines', '2024-01-01', 1, 1, 'no', 'run', 7);
INSERT INTO verification (started_at, finished_at, agrees, compared, differences)
VALUES (1, 2, 1, '{}', '[]')
"""


class Stop(Exception):
    """The end of a move in its middle."""


@pytest.fixture
def shop(store: Settings) -> Settings:
    """Return a store with a gap between its events, an erasure, and a row of many tables."""
    with closing(connect(store.database)) as opened:
        fill(store, opened, [*year_of_days(60), event(60, micros("2024-03-30 10:00"), user="eva")])
        add_dead_letter(opened, 3)
        opened.execute("DELETE FROM analytics_event WHERE rowid = 17")
        rebuild(store)
        for statement in ROWS.split(";"):
            opened.execute(statement)
    erase(store, "eva", None, apply=True)
    return store


@pytest.fixture
def target(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the URL of an empty database."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def at(settings: Settings, url: str) -> Settings:
    """Return the settings of the same home with another database."""
    return settings.model_copy(update={"database_url": url})


def content(settings: Settings) -> dict[str, list[str]]:
    """Return the rows of every table but those that a move leaves out."""
    with read_store(settings) as store:
        columns: dict[str, list[str]] = {}
        for table, column, _ in dialect_of(store).list_columns(store):
            if table != "alembic_version":
                columns.setdefault(table, []).append(f'"{column}"')
        columns["analytics_event"] = ["rowid", *sorted({*columns["analytics_event"]} - {'"rowid"'})]
        return {
            table: sorted(
                repr(row)
                for row in store.execute(f'SELECT {", ".join(names)} FROM "{table}"')
                if "sql_" not in str(row[0])
            )
            for table, names in columns.items()
        }


def test_all_is_equal_there_and_back(shop: Settings, target: str, tmp_path: Path) -> None:
    """Every row of every table with its number, of the same type; figures are those of events."""
    before = content(shop)
    assert before["monthly_item_sales"]
    there = move(shop, target)
    assert content(at(shop, target)) == before
    back = move(at(shop, target), f"sqlite:///{tmp_path / 'back.db'}")
    assert content(at(shop, f"sqlite:///{tmp_path / 'back.db'}")) == before
    assert there.tables == back.tables == {name: len(rows) for name, rows in before.items()}
    with read_store(at(shop, target)) as moved:
        assert not check_totals(moved).differing
        assert not check_days(moved, shop.zone).differing


def test_what_is_stored_next_follows(shop: Settings, target: str) -> None:
    """The numbers of rows, topics and corrections go on behind those that were moved."""
    move(shop, target)
    ask = "SELECT max(rowid) FROM analytics_event UNION ALL SELECT max(id) FROM source_topic"
    with closing(connect(at(shop, target).database)) as store:
        before = store.execute(ask).fetchall()
        store.execute("INSERT INTO source_topic (name) VALUES ('another')")
        store.execute(
            "INSERT INTO analytics_event SELECT 'new'::bytea, event_time, kind, \"user\", item,"
            " quantity, unit_price_micros, amount_micros, currency, order_id, description, country,"
            " processed_at, source_topic, source_partition, source_offset, source_timestamp,"
            " stream_partition, stream_offset FROM analytics_event LIMIT 1"
        )
        assert [a for (a,) in store.execute(ask)] == [b + 1 for (b,) in before]


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.faults)])
def test_a_move_that_is_killed_goes_on(
    kills: int, shop: Settings, postgres_server: PostgresServer
) -> None:
    """At any step: the same command completes it, and all is equal."""
    names = [postgres_server.create_database() for _ in range(kills + 1)]
    urls = [postgres_server.url(name) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(shop.home), *urls],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.split() == ["9", "True"] * kills
    for name in names:
        postgres_server.drop_database(name)


def stop_at(settings: Settings, url: str, what: str) -> None:
    """Begin a move that ends at this step."""

    def stop(step: str, _done: int, _total: int) -> None:
        if step == what:
            raise Stop

    with pytest.raises(Stop):
        move(settings, url, stop)


def test_a_target_in_the_middle_is_closed(shop: Settings, target: str) -> None:
    """Nobody starts on half of the events: everybody else is sent back to the move."""
    stop_at(shop, target, "Copying tables")
    with pytest.raises(Mismatch, match="is the target of a move that is not done"):
        upgrade(at(shop, target))
    assert move(shop, target).resumed
    assert content(at(shop, target)) == content(shop)


def test_a_source_that_changed_is_copied_again(shop: Settings, target: str) -> None:
    """An event that was copied, and then erased, is not as it was."""
    stop_at(shop, target, "Copying tables")
    erase(shop, "anna", None, apply=True)
    assert not move(shop, target).resumed
    assert content(at(shop, target)) == content(shop)


def test_a_copy_that_differs_is_named(shop: Settings, target: str) -> None:
    """The same command then begins from the start."""
    stop_at(shop, target, "Copying tables")
    with closing(connect(at(shop, target).database)) as copy:
        copy.execute("UPDATE analytics_event SET country = 'Atlantis' WHERE rowid = 5")
    with pytest.raises(
        PurchasesError, match="analytics_event has 60 rows, and the copy of it has 60"
    ):
        move(shop, target)
    move(shop, target)
    assert content(at(shop, target)) == content(shop)


def test_a_target_with_rows_is_refused(shop: Settings, target: str) -> None:
    """Whosever they are, they stay."""
    there = at(shop, target)
    upgrade(there)
    with write_store(there) as store:
        store.execute("INSERT INTO source_topic (name) VALUES ('mine')")
    with pytest.raises(UsageError, match="has rows in source_topic: name an empty database"):
        move(shop, target)
    with read_store(there) as store:
        assert store.execute("SELECT name FROM source_topic").fetchall() == [("mine",)]


def test_of_two_homes_that_move_into_one_database_one_is_refused(
    shop: Settings, target: str, tmp_path: Path
) -> None:
    """The rows of the two would be mixed. While one moves, and after it, the other is refused."""
    other = Settings(home=tmp_path / "other")
    prepare_store(other)
    with closing(connect(other.database)) as opened:
        fill(other, opened, year_of_days(20))
    database = at(shop, target).database
    assert isinstance(database, PostgresDatabase)
    with (
        keep_moves_out(database),
        pytest.raises(PurchasesError, match="Another `purchases db move` fills the database"),
    ):
        move(other, target)

    def try_move(settings: Settings) -> Settings | None:
        try:
            move(settings, target)
        except PurchasesError:
            return None
        return settings

    with ThreadPoolExecutor(2) as pool:
        (moved,) = filter(None, pool.map(try_move, (shop, other)))
    assert content(at(shop, target)) == content(moved)


def test_of_two_processes_that_move_into_one_file_one_is_refused(
    shop: Settings, target: str, postgres_settings: Settings, tmp_path: Path
) -> None:
    """By whatever path they name it. When the first is killed, the other moves all of its own."""
    move(shop, target)
    prepare_store(postgres_settings)
    with closing(connect(postgres_settings.database)) as opened:
        fill(postgres_settings, opened, year_of_days(20))
    (tmp_path / "shared").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "shared")
    first, second = (f"sqlite:///{tmp_path / name / 'to.db'}" for name in ("shared", "linked"))
    with subprocess.Popen(
        [sys.executable, "-c", MOVE, str(shop.home), target, first],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as moving_there:
        assert moving_there.stdout is not None
        assert moving_there.stdout.readline() == "Copying events\n"
        with pytest.raises(PurchasesError, match=r"Another `purchases db move` fills .*/to.db"):
            move(postgres_settings, second)
        moving_there.kill()
    move(postgres_settings, second)
    assert content(at(postgres_settings, second)) == content(postgres_settings)


def test_a_worker_that_runs_is_named(shop: Settings, target: str) -> None:
    """It would store into what is left behind."""
    lease = acquire(Home(shop.home).worker_lease("analytics", 0))
    assert lease is not None
    with lease, pytest.raises(PurchasesError, match="The worker analytics-0 of this home runs"):
        move(shop, target)


def test_a_run_of_any_host_is_named(either_store: Settings, target: str, tmp_path: Path) -> None:
    """It would write to what is left behind, or by a time zone that is being changed."""
    is_file = isinstance(either_store.database, Path)
    to = target if is_file else f"sqlite:///{tmp_path / 'to.db'}"
    # With a server the run may be on another host.
    there = either_store if is_file else either_store.model_copy(update={"home": tmp_path / "b"})
    with (
        hold_write_lock(there, "a-run"),
        pytest.raises(PurchasesError, match="A run of Dagster writes to the database"),
    ):
        move(either_store, to)
    move(either_store, to)


@pytest.mark.parametrize(
    ("url", "error", "sentence"),
    [
        ("postgresql+psycopg://shop:secret@127.0.0.1:1/shop", Unavailable, "does not answer"),
        ("sqlite:////tmp/other.db", UsageError, "a move is from a file of SQLite to PostgreSQL"),
        ("mysql://host/shop", UsageError, "DATABASE_URL begins with 'mysql'"),
    ],
)
def test_a_wrong_target_is_one_sentence(
    shop: Settings, url: str, error: type[PurchasesError], sentence: str
) -> None:
    """Without the password, and nothing is changed."""
    before = content(shop)
    with pytest.raises(error, match=sentence) as raised:
        move(shop, url)
    assert "secret" not in str(raised.value)
    assert content(shop) == before


def test_column_files_stay(shop: Settings, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows keep their numbers, so that the files of the home are still the days' first rows."""
    name = "2024/2024-01-01.parquet"
    file = Home(shop.home).columns / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"rows")
    with write_store(shop) as store:
        for listed in (name, "2024/lost.parquet"):
            day = "2024-01-01" if listed == name else "2024-01-02"
            store.execute(
                "INSERT INTO column_file (name, day, first_row, last_row, events, items_sold,"
                " net_revenue_micros, net_revenue_trillions, first_event, last_event, bytes,"
                " sha256, sealed_at) VALUES (?, ?, 1, 1, 1, 1, 1, 0, 0, 0, 4, '', 0)",
                (listed, day),
            )
    monkeypatch.setattr(moving, "CHUNK_ROWS", 10)
    move(shop, target)
    with read_store(at(shop, target)) as store:
        assert [f.name for files in read_column_files(store).values() for f in files] == [name]
        assert MOVE_TABLE not in {table for table, _, _ in dialect_of(store).list_columns(store)}


def test_a_lock_is_free_while_the_server_has_not_seen_the_end_of_its_session(
    shop: Settings, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy server sees it some time later."""
    database = at(shop, target).database
    assert isinstance(database, PostgresDatabase)
    open_still: list[PostgresConnection] = []

    def leave_open(session: PostgresConnection) -> None:
        open_still.append(session)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresConnection, "close", leave_open)
        with keep_moves_out(database):
            pass
        with keep_moves_out(database):
            pass
    for session in open_still:
        session.close()


def test_the_command_says_what_comes_next(shop: Settings, target: str) -> None:
    """How much was moved, where to, and the next commands; with `--json` the rows by table."""
    command = Deployment(shop.home, "127.0.0.1:1", "")
    moved = json.loads(command.succeed("db", "move", "--to", target, "--json"))
    assert moved["tables"]["analytics_event"] == 60
    there = at(shop, target)
    with write_store(there) as store:
        store.execute("DELETE FROM correction")
    said = command.run("db", "move", "--to", target)
    assert said.returncode == 2
    assert "name an empty database" in said.stderr
