"""Restoring: only what belongs here, only while no worker runs, and nothing is thrown away."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from streaming.errors import Mismatch, PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.backup import backup
from streaming.store.connection import StoreConnection
from streaming.store.restore import restore
from streaming.store.sqlite import connect, snapshot
from streaming.system.lease import acquire
from tests.deployment import Deployment
from tests.store.rows import add_events, fill, year_of_days

pytestmark = pytest.mark.sqlite("a restore replaces the file")


def count(path: Path) -> int:
    """Count the events of a database."""
    with closing(connect(path, read_only=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM analytics_event").fetchone()[0])


def test_restore_brings_back_and_keeps(store: Settings, connection: StoreConnection) -> None:
    """The database is the backup again, and what was there lies in `backups`."""
    events = year_of_days(30)
    fill(store, connection, events[:20])
    copy = backup(store)
    add_events(connection, events[20:])
    kept = restore(store, copy).kept
    assert kept is not None
    assert kept.parent == store.home / "backups"
    assert (count(store.database_path), count(kept), count(copy)) == (20, 30, 20)


def test_a_reader_meanwhile_sees_the_one_or_the_other(
    store: Settings, connection: StoreConnection
) -> None:
    """An open connection stays good: its snapshot first, then the restored content."""
    events = year_of_days(30)
    fill(store, connection, events[:20])
    copy = backup(store)
    add_events(connection, events[20:])
    query = "SELECT count(*) FROM analytics_event"
    with closing(connect(store.database_path, read_only=True)) as reader:
        with snapshot(reader):
            assert reader.execute(query).fetchone() == (30,)
            restore(store, copy)
            assert reader.execute(query).fetchone() == (30,)
        assert reader.execute(query).fetchone() == (20,)


def test_restore_into_an_empty_home(
    store: Settings, connection: StoreConnection, tmp_path: Path
) -> None:
    """On a new machine there is nothing to keep; a WAL without its database is not replayed."""
    fill(store, connection, year_of_days(20))
    copy = backup(store)
    new = store.model_copy(update={"home": tmp_path / "new"})
    new.home.mkdir()
    wal = Path(f"{new.database_path}-wal")
    wal.write_bytes(Path(f"{store.database_path}-wal").read_bytes())
    assert restore(new, copy).kept is None
    assert count(new.database_path) == 20


def test_a_damaged_database_is_moved_aside(store: Settings, connection: StoreConnection) -> None:
    """What cannot be copied is kept as it is, and the backup takes its place."""
    fill(store, connection, year_of_days(20))
    connection.close()
    copy = backup(store)
    store.database_path.write_bytes(b"no database at all" * 1000)
    kept = restore(store, copy).kept
    assert kept is not None
    assert kept.read_bytes().startswith(b"no database at all")
    assert count(store.database_path) == 20


@pytest.mark.parametrize("lock", ["analytics-0", "processor-3", "analytics.supervisor"])
def test_restore_waits_for_no_worker(store: Settings, lock: str) -> None:
    """While one holds its lease nothing is touched, and its process id is named."""
    copy = backup(store)
    script = (
        "from pathlib import Path; from streaming.system.lease import acquire; import sys;"
        f"lease = acquire(Path({str(store.home / 'workers' / lock)!r} + '.lock'));"
        "print('held', flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "held\n"
    with pytest.raises(PurchasesError, match=rf"{lock} .*process {worker.pid}.*purchases down"):
        restore(store, copy)
    worker.communicate("")
    restore(store, copy)


def test_no_worker_starts_while_restoring(store: Settings) -> None:
    """The leases of this home's workers are held, not only looked at."""
    copy = backup(store)
    seen: list[object] = []

    def look(_done: int, _total: int) -> None:
        seen.append(acquire(store.home / "workers" / "analytics-0.lock"))

    restore(store, copy, look)
    assert seen == [None] * len(seen)
    assert seen


def test_what_is_no_backup_is_wrong_usage(store: Settings, tmp_path: Path) -> None:
    """A missing file, a text, an empty database, the database itself; nothing is touched."""
    text = tmp_path / "text.db"
    text.write_text("id;name\n" * 300)
    empty = tmp_path / "empty.db"
    with closing(sqlite3.connect(empty)) as made:
        made.execute("VACUUM")
    for source, sentence in (
        (tmp_path / "none.db", "no backup at"),
        (text, "not a SQLite database"),
        (empty, "empty database"),
        (store.database_path, "the database itself"),
    ):
        with pytest.raises(UsageError, match=sentence):
            restore(store, source)
    assert not (store.home / "backups").exists()


def test_a_backup_of_another_deployment_is_refused(store: Settings, tmp_path: Path) -> None:
    """Figures of another currency or zone, or of a newer schema, never replace these."""
    for change, sentence in (
        ("UPDATE deployment SET currency = 'EUR'", "PURCHASES_CURRENCY is GBP"),
        ("UPDATE deployment SET timezone = 'Asia/Tokyo'", "PURCHASES_TIMEZONE is UTC"),
        ("UPDATE alembic_version SET version_num = '0997'", "schema version 997, newer"),
    ):
        copy = backup(store, tmp_path / f"{sentence}.db")
        with closing(sqlite3.connect(copy)) as changed:
            changed.execute(change)
            changed.commit()
        with pytest.raises(Mismatch, match=sentence):
            restore(store, copy)


def test_a_damaged_backup_is_refused(store: Settings, connection: StoreConnection) -> None:
    """The backup is checked whole before anything is replaced."""
    fill(store, connection, year_of_days(3000))
    copy = backup(store)
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(PurchasesError, match="damaged"):
        restore(store, copy)
    assert count(store.database_path) == 3000


def test_the_command_says_what_is_kept_where(store: Settings, connection: StoreConnection) -> None:
    """`db restore`, and its refusal of a wrong file with exit code 2 and one sentence."""
    fill(store, connection, year_of_days(3))
    copy = backup(store)
    deployment = Deployment(store.home, "127.0.0.1:1", "")
    assert "is kept in" in deployment.succeed("db", "restore", str(copy))
    wrong = deployment.run("db", "restore", str(store.home / "none.db"))
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
