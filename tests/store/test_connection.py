"""Opening the store: how each file that is not right is named, and how transactions begin."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError

from streaming.errors import Mismatch, PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, open_reader, read_store, write_store
from streaming.store.engine import open_engine
from streaming.store.sqlite import store_errors
from tests.databases import home_settings
from tests.store.rows import add_events, year_of_days
from tests.store.users import drop_privileges

OPENINGS = (open_reader, open_engine)


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_missing_file_names_the_commands_that_make_one(settings: Settings) -> None:
    """Nothing is created by opening; the message says what creates it."""
    for opening in OPENINGS:
        with pytest.raises(PurchasesError, match=r"no database at .*purchases db upgrade"):
            opening(settings)
    assert not settings.database_path.exists()


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_missing_directory_is_named_as_a_missing_file(tmp_path: Path) -> None:
    """The directory of the file need not exist for a good message."""
    with pytest.raises(PurchasesError, match="no database at"):
        open_engine(home_settings(tmp_path / "nowhere"))


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_directory_is_no_database(settings: Settings) -> None:
    """A path that is a directory is named as one."""
    settings.database_path.mkdir(parents=True)
    with pytest.raises(PurchasesError, match="is a directory"):
        open_engine(settings)


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file is distinguished from a damaged database, by readers and writers."""
    path = tmp_path / "purchases.db"
    path.write_text("id;name\n" * 200)
    for opening in OPENINGS:
        with pytest.raises(PurchasesError, match="is not a SQLite database"):
            opening(home_settings(tmp_path))


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A SQLite file with other tables is never migrated nor read."""
    path = tmp_path / "purchases.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(PurchasesError, match="not one of purchases"):
        open_engine(home_settings(path.parent))


@pytest.mark.sqlite("what may be wrong with a file")
def test_an_empty_database_needs_an_upgrade(tmp_path: Path) -> None:
    """A file without tables is an older schema, with the command that brings it up."""
    path = tmp_path / "purchases.db"
    path.touch()
    with pytest.raises(Mismatch, match=r"schema version 0.*purchases db upgrade"):
        open_engine(home_settings(path.parent))


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_damaged_database_page_is_named_with_its_remedy(
    store: Settings, connection: StoreConnection
) -> None:
    """Garbage among the events shows as damage when it is read, and names restore."""
    add_events(connection, year_of_days(2000))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    path = store.database_path
    with path.open("r+b") as file:
        # The first pages are those of the schema.
        file.seek(path.stat().st_size * 3 // 4 // 4096 * 4096)
        file.write(b"\xff" * 4096 * 4)
    query = "SELECT sum(length(event_id)), max(item) FROM analytics_event"
    with (
        pytest.raises(PurchasesError, match="is damaged; restore a backup"),
        read_store(store) as s,
    ):
        s.execute(query)
    engine = open_engine(store)
    with pytest.raises(PurchasesError, match="is damaged; restore a backup"), engine.begin() as own:
        own.exec_driver_sql(query)
    engine.dispose()


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_file_that_may_not_be_written_is_named(open_directory: Path, store: Settings) -> None:
    """A file that this user may only read is neither missing nor damaged."""
    path = open_directory / "purchases.db"
    path.write_bytes(store.database_path.read_bytes())
    path.chmod(0o444)
    with drop_privileges(), pytest.raises(PurchasesError, match="may not be written"):
        open_engine(home_settings(path.parent))


@pytest.mark.sqlite("what may be wrong with a file")
def test_a_file_that_may_not_be_opened_is_named(open_directory: Path) -> None:
    """A file of another user is neither missing nor damaged."""
    path = open_directory / "purchases.db"
    path.touch(0o000)
    with drop_privileges(), pytest.raises(PurchasesError, match="may not be opened"):
        open_engine(home_settings(path.parent))


@pytest.mark.sqlite("the lock of a file")
def test_a_locked_database_is_unavailable(store: Settings, connection: StoreConnection) -> None:
    """Waiting may help, so the error says so by its type; the lock of a writer is enough."""
    engine = open_engine(store)
    listen(engine, "connect", lambda own, _: own.execute("PRAGMA busy_timeout = 100"))
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"), engine.begin():
        pass
    engine.dispose()


@pytest.mark.sqlite("the disk of a file")
def test_a_full_disk_is_unavailable(store: Settings, connection: StoreConnection) -> None:
    """SQLite's own "full" is reported as a full disk, for which waiting may help."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with (
        pytest.raises(Unavailable, match=r"disk of .* is full"),
        store_errors(store.database_path),
    ):
        add_events(connection, year_of_days(1000))


def test_a_broken_constraint_stays_the_bug_it_is(store: Settings) -> None:
    """Only what a person can mend is translated."""
    engine = open_engine(store)
    with (
        pytest.raises(IntegrityError),
        engine.begin() as writer,
    ):
        writer.exec_driver_sql("INSERT INTO deployment VALUES (2, 'x', 'GBP', 'UTC', 1, 0)")
    engine.dispose()


@pytest.mark.sqlite("the lock of a file")
def test_writers_take_the_lock_at_once(store: Settings, connection: StoreConnection) -> None:
    """A transaction of the writing engine holds the write lock before its first statement."""
    engine = open_engine(store)
    connection.execute("PRAGMA busy_timeout = 0")
    with engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.execute("BEGIN IMMEDIATE")
    engine.dispose()


def test_readers_see_one_moment_and_hold_nobody_up(
    store: Settings, connection: StoreConnection
) -> None:
    """A reading transaction keeps its snapshot while others write."""
    count = "SELECT count(*) FROM analytics_event"
    with closing(open_reader(store)) as reader:
        with reader.snapshot() as moment:
            assert moment.execute(count).fetchone() == (0,)
            add_events(connection, year_of_days(3))
            assert moment.execute(count).fetchone() == (0,)
        with reader.snapshot() as moment:
            assert moment.execute(count).fetchone() == (3,)


def test_a_reader_cannot_write(store: Settings) -> None:
    """The read-only store refuses, whatever the file's mode."""
    said = "may not be written|is read-only"
    with pytest.raises(PurchasesError, match=said), read_store(store) as reader:
        reader.execute("DELETE FROM live_totals")


def test_a_write_is_whole_or_not_at_all(store: Settings) -> None:
    """What was written before an error in the block is not there afterwards."""
    statement = "INSERT INTO live_totals VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)"
    broken = (sqlite3.IntegrityError, psycopg.errors.IntegrityError)
    with pytest.raises(broken), write_store(store) as writer:
        writer.executemany(statement, [(), ()])
    with write_store(store) as writer:
        assert writer.execute("SELECT count(*) FROM live_totals").fetchone() == (0,)
        writer.execute(statement)
    with read_store(store) as reader:
        assert reader.execute("SELECT count(*) FROM live_totals").fetchone() == (1,)


@pytest.mark.sqlite("the disk of a file")
def test_every_commit_is_on_the_disk(store: Settings) -> None:
    """WAL with full synchronisation: a committed batch survives a power cut."""
    engine = open_engine(store)
    with engine.begin() as writer:
        assert writer.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert writer.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert writer.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    engine.dispose()


def test_threads_share_an_engine(store: Settings) -> None:
    """Writers of several threads wait for each other instead of failing."""
    engine = open_engine(store)
    with engine.begin() as writer:
        writer.exec_driver_sql("INSERT INTO live_totals VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)")

    def add() -> None:
        for _ in range(20):
            with engine.begin() as own:
                own.exec_driver_sql("UPDATE live_totals SET events = events + 1")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as reader:
        assert reader.exec_driver_sql("SELECT events FROM live_totals").scalar_one() == 80
    engine.dispose()


def test_opening_leaves_no_files_open(store: Settings) -> None:
    """Fifty times open and close: no descriptor stays."""

    def descriptors() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = descriptors()
    for _ in range(50):
        engine = open_engine(store)
        with engine.begin() as writer:
            writer.exec_driver_sql("SELECT 1")
        engine.dispose()
    assert descriptors() <= before


def test_opening_imports_no_alembic() -> None:
    """What a worker imports to open its store stays small; readers do without SQLAlchemy too.

    Nor does the processor load a reader of Avro before the first Avro schema.
    """
    script = (
        "import sys, streaming.totals.report, streaming.store.live_totals;"
        "assert 'sqlalchemy' not in sys.modules;"
        "import streaming.store.engine, streaming.store.models, streaming.store.schema;"
        "import streaming.processor.app;"
        "unwanted = {'alembic', 'polars', 'typer', 'dagster', 'fastavro'} & set(sys.modules);"
        "assert not unwanted, unwanted"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
