"""The disk fills while a day is built: the builder waits, nobody sees half, and it goes on."""

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen

from assets.builds.builder import Outcome, open_builder
from assets.tables.transforms import DAY_TRANSFORMS
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.store.rows import event, micros
from tests.support import wait_until

DAY = "2024-03-01"
EVENTS = 5_000
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
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
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
