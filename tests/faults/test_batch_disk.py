"""The disk fills while a day is built or sealed: nobody sees half of it, and it goes on."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen

from assets.builds import event_reader, seal
from assets.builds.archive import ArchiveResult, archive_history
from assets.builds.builder import Outcome, open_builder
from assets.builds.seal import seal_history
from assets.tables.transforms import DAY_TRANSFORMS
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.system.home import Home
from tests.assets.event_store import store_events
from tests.databases import home_settings, look
from tests.store.rows import event, micros
from tests.support import wait_until

DAY = "2024-03-01"
EVENTS = 5_000
FILES = 20
"""More than a day has before they are joined."""
ROOM = 64 * 1024
"""For a few of the files of a day."""
TODAY = date(2024, 6, 1)
SUMS = "SELECT coalesce(sum(events), 0) FROM {}"


@pytest.mark.sqlite("the disk of a file")
def test_the_disk_fills_while_a_day_is_built(small_disk: Path, tmp_path: Path) -> None:
    """Old figures stand until there is room; then all tables have the new ones."""
    path = small_disk / "purchases.db"
    settings = Settings(home=tmp_path, database_url=f"sqlite:///{path}")
    at = micros(f"{DAY} 10:00")
    store_events(settings, [event(number, at, item=f"item-{number}") for number in range(EVENTS)])
    with open_builder(settings, "first") as builder:
        builder.build(DAY, DAY_TRANSFORMS)
    store_events(settings, [event(EVENTS, at, item="late")])
    assert sums(path) == [EVENTS] * 4
    filler = small_disk / "filler"
    fill(filler)
    built: list[Outcome] = []
    tries: list[Connection] = []
    building = threading.Thread(target=build, args=(settings, built, tries))
    building.start()
    wait_until(lambda: len(tries) > 1, 60, "it does not try again")
    assert building.is_alive()
    assert sums(path) == [EVENTS] * 4
    filler.unlink()
    wait_until(lambda: not building.is_alive(), 60, "it does not go on")
    assert [outcome.failure for outcome in built] == [None] * 4
    assert sums(path) == [EVENTS + 1] * 4


@pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")
def test_a_full_disk_gets_back_what_could_not_be_sealed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seal, a join and an archive leave no file if one does not fit; with room all go on."""
    for name in ("FRAME_ROWS", "FETCH_ROWS"):
        monkeypatch.setattr(event_reader, name, EVENTS // FILES)
    settings = home_settings(small_disk / "home", keep_events=40)
    at = micros(f"{DAY} 10:00")
    store_events(settings, [event(number, at, item=f"item-{number}") for number in range(EVENTS)])
    # The newest day and its row stay.
    store_events(settings, [event(EVENTS, at + 86_400_000_000)])
    # As the consumer does, it keeps the files of the database that SQLite makes to read it.
    with look(settings):
        with monkeypatch.context() as full:
            # So they are not joined.
            full.setattr(seal, "FILE_ROWS", EVENTS // FILES)
            require_nothing_left(settings, seal_history, ROOM)
            assert seal_history(settings, TODAY).files == FILES + 1
        require_nothing_left(settings, seal_history, 0)
        assert seal_history(settings, TODAY).joined == FILES
        require_nothing_left(settings, archive_history, ROOM)
        assert archive_history(settings, TODAY) == ArchiveResult(days=1, events=EVENTS)


def require_nothing_left(
    settings: Settings, write: Callable[[Settings, date], object], room: int
) -> None:
    """Write column files to a disk that has some bytes of room: it fails, and is as before."""
    before, filler = list_files(settings), settings.home.parent / "filler"
    fill(filler, room)
    with pytest.raises((Unavailable, OSError), match=r"is full|No space left"):
        write(settings, TODAY)
    filler.unlink()
    assert list_files(settings) == before


def list_files(settings: Settings) -> list[Path]:
    """Return all files and directories of the column files, also of those that are set aside."""
    home = Home(settings.home)
    return sorted([*home.columns.rglob("*"), *home.kept_columns.rglob("*")])


def fill(filler: Path, room: int = 0) -> None:
    """Fill a disk up to some bytes."""
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(64 * 1024))
        file.truncate(file.tell() - room)


def build(settings: Settings, built: list[Outcome], tries: list[Connection]) -> None:
    """Build the day again, and keep of each try to write it the connection."""
    with open_builder(settings, "second") as builder:
        listen(builder.engine, "begin", tries.append)
        built += builder.build(DAY, DAY_TRANSFORMS)


def sums(path: Path) -> list[int]:
    """Return the events of each day table, in one snapshot."""
    tables = [transform.table for transform in DAY_TRANSFORMS]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as store:
        store.execute("BEGIN")
        return [int(store.execute(SUMS.format(table)).fetchone()[0]) for table in tables]
