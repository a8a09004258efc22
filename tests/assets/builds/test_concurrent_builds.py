"""Builds beside the stream and each other: of one moment, bounded, and never half seen."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen

from assets.builds import builder as building
from assets.builds import event_reader
from assets.builds.builder import PartitionBuilder, open_builder
from assets.builds.event_reader import read_events
from assets.builds.writer import digest
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.errors import Mismatch, Unavailable
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store, snapshot
from tests.assets.builds.test_builder import (
    DAILY,
    DAY,
    ITEMS,
    late_events,
    states,
    table,
)
from tests.assets.event_store import store_events
from tests.databases import change, home_settings, look
from tests.store.rows import event, micros, year_of_days


def test_a_snapshot_is_of_one_moment(store: Settings) -> None:
    """Events that are stored while one reads are in neither frames nor figures nor offsets."""
    store_events(store, year_of_days(3))
    with read_store(store) as source:
        events = read_events(source, date(2024, 1, 1), date(2024, 1, 2), store.zone)
        store_events(store, late_events())
        assert sum(frame.height for frame in events.frames) == 2
        assert {day: figures.version for day, figures in events.days.items()} == {
            date(2024, 1, 1): 3,
            date(2024, 1, 2): 3,
        }
        assert (events.total.events, events.stream_offsets) == (3, '{"analytics-0": 3}')


def test_frames_are_bounded(
    store: Settings, connection: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events there are, a frame has at most so many rows."""
    monkeypatch.setattr(event_reader, "FRAME_ROWS", 10)
    monkeypatch.setattr(event_reader, "FETCH_ROWS", 4)
    store_events(store, year_of_days(31))
    with snapshot(connection):
        events = read_events(connection, None, None, store.zone)
        heights = [frame.height for frame in events.frames]
    assert sum(heights) == 31
    assert max(heights) <= 10


@contextmanager
def storing(settings: Settings) -> Iterator[None]:
    """Store a late event of one of three days after another, until the end."""
    stop = threading.Event()

    def store_late() -> None:
        number = 10
        while not stop.is_set():
            store_events(settings, late_events(number, f"2024-01-0{number % 3 + 1}"))
            number += 1

    thread = threading.Thread(target=store_late)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.faults)])
def test_a_reader_never_sees_half_a_day(
    store: Settings, builder: PartitionBuilder, rounds: int
) -> None:
    """Whenever it looks, the rows of each partition are those of its build."""
    looks, done = 0, threading.Event()

    def build() -> None:
        try:
            for _ in range(rounds):
                for day in ("2024-01-01", DAY, "2024-01-03"):
                    builder.build(day, DAY_TRANSFORMS, force=True)
                builder.build("all", WHOLE_TRANSFORMS)
        finally:
            done.set()

    thread = threading.Thread(target=build)
    with storing(store), look(store) as reader:
        thread.start()
        while not done.is_set():
            for transform in (ITEMS, DAILY):
                with snapshot(reader):
                    builds = reader.execute(
                        "SELECT partition, digest, events FROM table_build WHERE table_name = ?",
                        (transform.table,),
                    ).fetchall()
                    seen = table(reader, transform)
                for day, built, events in builds:
                    of_day = [row for row in seen if row[0] == day]
                    assert digest(transform, of_day) == built
                    counted = 1 if transform is DAILY else 2
                    assert sum(int(str(row[counted])) for row in of_day) == events
                    looks += 1
    thread.join()
    assert looks > rounds


def test_a_locked_database_is_waited_for(
    store: Settings, builder: PartitionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may take longer than a statement waits; only in the end the run gives up."""

    def wait_shortly(own: Any, _: object) -> None:  # noqa: ANN401 - the driver's own
        on_file = isinstance(store.database, Path)
        own.execute("PRAGMA busy_timeout = 50" if on_file else "SET lock_timeout = 50")
        own.commit()

    listen(builder.engine, "connect", wait_shortly)
    writing = ExitStack()
    writing.enter_context(change(store))
    monkeypatch.setattr(building, "RETRY_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="locked"):
        builder.build(DAY, [DAILY])
    monkeypatch.setattr(building, "RETRY_SECONDS", 60.0)
    release = threading.Timer(1.0, writing.close)
    release.start()
    assert states(builder.build(DAY, [DAILY])) == [(True, False)]
    release.join()


def test_another_time_zone_is_refused(store: Settings) -> None:
    """Days would be cut otherwise than in the ledger."""
    moved = store.model_copy(update={"timezone": "Europe/London"})
    with pytest.raises(Mismatch, match="PURCHASES_TIMEZONE"), open_builder(moved, "run-1"):
        pass


def test_days_are_those_of_the_zone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An event at half past eleven at night in UTC is of the next day in London's summer."""
    settings = home_settings(tmp_path_factory.mktemp("london"), timezone="Europe/London")
    store_events(
        settings, [event(0, micros("2024-07-01 23:30")), event(1, micros("2024-07-01 22:30"))]
    )
    with open_builder(settings, "run-1") as builder:
        for day in ("2024-07-01", "2024-07-02"):
            assert states(builder.build(day, DAY_TRANSFORMS)) == [(True, False)] * 4
    with look(settings) as connection:
        assert [row[:2] for row in table(connection, DAILY)] == [
            ("2024-07-01", 1),
            ("2024-07-02", 1),
        ]
        view = "SELECT hour FROM hourly_sales_readable ORDER BY day"
        assert connection.execute(view).fetchall() == [
            ("2024-07-01 23:00 +01:00",),
            ("2024-07-02 00:00 +01:00",),
        ]
