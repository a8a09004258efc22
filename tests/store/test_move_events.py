"""The move of the events into packed rows: nothing is lost, whenever it is killed."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from streaming.errors import Mismatch, Unavailable
from streaming.settings import Settings
from streaming.store import schema
from streaming.store.connection import read_store
from streaming.store.engine import engine_over
from streaming.store.migrations import move_events
from streaming.store.restore import restore
from tests.databases import home_settings
from tests.store.rows import Event, year_of_days

pytestmark = pytest.mark.sqlite("no release stored into a server before schema 9")

READABLE = "SELECT * FROM analytics_event_readable ORDER BY stream_offset"
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from streaming.settings import Settings
from streaming.store.migrations import move_events
from streaming.store.schema import upgrade

move_events.ROWS_TOGETHER = 12
calls = 0

def kill(*_):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

upgrade(Settings(home=Path(sys.argv[1])), kill)
"""


@pytest.fixture(scope="module")
def old_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose database has 30 events under schema 8: of ids of every form."""
    home = tmp_path_factory.mktemp("old")
    engine = engine_over(home / "purchases.db", create=True)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    engine.dispose()
    with closing(sqlite3.connect(home / "purchases.db", isolation_level=None)) as store:
        rows = [astuple(event) for event in old_events()]
        marks = ", ".join("?" * len(rows[0]))
        store.executemany(f"INSERT INTO analytics_event VALUES ({marks})", rows)
    return home


def old_events() -> list[Event]:
    """Return events with ids as the processor makes them, and as only others may have sent."""
    events = [
        replace(event, event_id=f"0190a6f0-0000-7000-8000-{event.stream_offset:012x}")
        for event in year_of_days(30)
    ]
    events[3] = replace(events[3], event_id=events[3].event_id.upper())
    events[4] = replace(events[4], event_id="é no UUID, but of 36 characters, so ")
    events[5] = replace(events[5], source_topic="purchases.redrive")
    events[25] = replace(events[25], source_topic="shop.purchases")
    return events


@pytest.fixture
def home(old_home: Path, tmp_path: Path) -> Settings:
    """Return settings of a copy of that home."""
    shutil.copytree(old_home, tmp_path / "home")
    return home_settings(tmp_path / "home")


def events_as_read(path: Path) -> list[tuple[object, ...]]:
    """Return the events as people read them."""
    with closing(sqlite3.connect(path)) as store:
        return store.execute(READABLE).fetchall()


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_an_upgrade_that_is_killed_is_gone_on_with(home: Settings, step: int) -> None:
    """After the copy, after any rows that were moved, before the end: nothing is lost or twice."""
    before = events_as_read(home.database_path)
    script = [sys.executable, "-c", KILLED_AT, str(home.home), str(step)]
    assert subprocess.run(script, check=False, timeout=180).returncode == -signal.SIGKILL
    if step > 1:
        with pytest.raises(Mismatch, match="run `purchases db upgrade`"), read_store(home):
            pass
    calls: list[tuple[str, int, int]] = []
    kept = schema.upgrade(home, lambda *call: calls.append(call))
    # What was copied before the first row was moved is not copied again.
    assert (kept is None) == (step > 1)
    assert ("Copying pages" in {what for what, _, _ in calls}) == (step == 1)
    assert events_as_read(home.database_path) == before
    (first, *_) = sorted((home.home / "backups").glob("*-before-upgrade.db"))
    assert events_as_read(first) == before
    with read_store(home) as store:
        stored = store.execute("SELECT rowid, length(event_id) FROM analytics_event ORDER BY 1")
        assert stored.fetchall() == [(n, {4: 36, 5: 37}.get(n, 16)) for n in range(1, 31)]
        topics = store.execute("SELECT name FROM source_topic ORDER BY id").fetchall()
    assert topics == [("purchases",), ("purchases.redrive",), ("shop.purchases",)]


def test_a_half_moved_database_is_a_backup_like_any_other(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored, it is moved to the end."""
    before = events_as_read(home.database_path)
    script = [sys.executable, "-c", KILLED_AT, str(home.home), "3"]
    subprocess.run(script, check=False, timeout=180)
    half = home.home / "half.db"
    with closing(sqlite3.connect(home.database_path)) as store:
        store.execute("VACUUM INTO ?", (str(half),))
    home.database_path.unlink()
    monkeypatch.setattr(move_events, "ROWS_TOGETHER", 1)
    restore(home, half)
    assert events_as_read(home.database_path) == before


def test_without_room_nothing_is_begun(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is needed and where, and the database is as it was."""
    before = home.database_path.read_bytes()
    monkeypatch.setattr(schema, "SPARE_BYTES", 2**60)
    with pytest.raises(Unavailable, match=r"need 1,099,511,627,7.. MiB on the disk of .*home, "):
        schema.upgrade(home)
    assert home.database_path.read_bytes() == before
    assert not list((home.home / "backups").glob("*"))
