"""Backups: one whole file of one moment, also while the stream writes."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store import backup as copying
from streaming.store.backup import backup, newest_backup, scheduled_backup
from streaming.store.connection import StoreConnection
from streaming.store.sqlite import connect
from tests.deployment import Deployment
from tests.store.rows import add_events, fill, year_of_days
from tests.store.users import drop_privileges

pytestmark = pytest.mark.sqlite("a backup is a copy of the file")


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Read the events of a file that may lie anywhere."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as copy:
        return copy.execute("SELECT * FROM analytics_event ORDER BY event_id").fetchall()


def test_a_backup_is_one_whole_file(store: Settings, connection: StoreConnection) -> None:
    """What is still in the WAL is in the copy, and nothing lies beside it."""
    add_events(connection, year_of_days(100))
    assert Path(f"{store.database_path}-wal").stat().st_size > 0
    copy = backup(store)
    assert len(rows_of(copy)) == 100
    assert list(copy.parent.iterdir()) == [copy]
    assert copy.parent == store.home / "backups"


def test_a_backup_may_be_named(store: Settings, tmp_path: Path) -> None:
    """By a file in a directory that exists, or by that; none is made, as by `purchases export`."""
    safe = tmp_path / "safe"
    with pytest.raises(UsageError, match=r"monday.db is in a directory that does not exist"):
        backup(store, safe / "monday.db")
    assert not safe.exists()
    safe.mkdir()
    assert backup(store, safe / "monday.db") == safe / "monday.db"
    assert backup(store, safe).parent == safe


def test_of_scheduled_backups_the_newest_stay(store: Settings) -> None:
    """Those that somebody made stay too, and without any to keep none is made."""
    by_hand = backup(store)
    two = store.model_copy(update={"backup_keep": 2})
    made = [scheduled_backup(two) for _ in range(3)]
    assert sorted(by_hand.parent.iterdir()) == [by_hand, *made[1:]]
    assert newest_backup(store) == made[2]
    assert scheduled_backup(store.model_copy(update={"backup_keep": 0})) is None


def test_a_backup_overwrites_nothing(store: Settings, tmp_path: Path) -> None:
    """A name that is taken is wrong usage; the file there stays."""
    taken = tmp_path / "monday.db"
    taken.write_text("precious")
    with pytest.raises(UsageError, match=r"monday.db exists already"):
        backup(store, taken)
    assert taken.read_text() == "precious"


def test_a_backup_sees_one_moment(
    store: Settings, connection: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that never rests neither damages the copy nor makes it start again without end."""
    monkeypatch.setattr(copying, "PAGES_PER_STEP", 1)
    events = year_of_days(3000)
    add_events(connection, events[:1500])
    stop = threading.Event()

    def write() -> None:
        with closing(connect(store.database_path)) as own:
            for number in range(1500, 3000, 2):
                if stop.is_set():
                    return
                add_events(own, events[number : number + 2])

    writer = threading.Thread(target=write)
    steps: list[tuple[int, int]] = []
    writer.start()
    copy = backup(store, progress=lambda done, total: steps.append((done, total)))
    stop.set()
    writer.join()
    count = len(rows_of(copy))
    assert count % 2 == 0
    assert 1500 <= count <= 3000
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))


def test_a_damaged_database_is_not_taken_for_a_backup(
    store: Settings, connection: StoreConnection
) -> None:
    """The copy is checked whole; a bad one does not stay."""
    add_events(connection, year_of_days(3000))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with store.database_path.open("r+b") as file:
        file.seek(store.database_path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(PurchasesError, match="damaged"):
        backup(store)
    assert list((store.home / "backups").iterdir()) == []


def test_a_directory_that_may_not_be_written_is_named(
    open_directory: Path, store: Settings
) -> None:
    """The message names the place of the backup, not the database."""
    home = open_directory / "home"
    home.mkdir()
    path = home / "purchases.db"
    path.write_bytes(store.database_path.read_bytes())
    path.chmod(0o666)
    home.chmod(0o777)
    locked = open_directory / "safe"
    locked.mkdir(0o555)
    with drop_privileges(), pytest.raises(PurchasesError, match=r"safe/.*Permission denied"):
        backup(store.model_copy(update={"home": home}), locked / "copy.db")


def test_the_command_says_where_the_backup_is(
    store: Settings, connection: StoreConnection, tmp_path: Path
) -> None:
    """`db backup`, and its refusal of a taken name with exit code 2."""
    fill(store, connection, year_of_days(3))
    deployment = Deployment(store.home, "127.0.0.1:1", "")
    copy = tmp_path / "copy.db"
    assert str(copy) in deployment.succeed("db", "backup", str(copy))
    again = deployment.run("db", "backup", str(copy))
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1
