"""Pieces: days that are written together give what each day gives alone."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from structlog.testing import capture_logs

from assets.builds import computation
from assets.builds.addition import LEAST_EVENTS
from assets.builds.builder import PartitionBuilder, open_builder
from assets.builds.event_reader import StreamFigures
from assets.builds.pieces import PIECE_DAYS, PIECE_EVENTS, group_days
from assets.builds.seal import seal_history
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, Figures
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from tests.assets.builds.test_builder import DAILY, FAILURES, HOURLY, read_everything, states
from tests.assets.event_store import store_events
from tests.databases import home_settings
from tests.store.rows import Event, event, micros, year_of_days

FIRST = date(2024, 1, 1)
DAYS = [str(FIRST + timedelta(number)) for number in range(5)]
TABLES = len(DAY_TRANSFORMS)


def piece_lengths(days: list[str], events: dict[str, int] | None = None) -> list[int]:
    """Return the lengths of the pieces of days with so many events."""
    ledger = {
        date.fromisoformat(day): StreamFigures(number, number, number, 0)
        for day, number in (events or {}).items()
    }
    pieces = group_days(days, ledger)
    assert [day for piece in pieces for day in piece] == days
    return [len(piece) for piece in pieces]


def test_neighbours_are_a_piece_until_they_have_too_many_events() -> None:
    """A day between others that is larger than a piece is one by itself."""
    assert piece_lengths(DAYS) == piece_lengths(DAYS[::-1]) == [5]
    assert piece_lengths([*DAYS[:2], DAYS[4]]) == [2, 1]
    assert piece_lengths(DAYS, {DAYS[1]: PIECE_EVENTS, DAYS[2]: 1}) == [2, 3]
    assert piece_lengths(DAYS, {DAYS[1]: 2 * PIECE_EVENTS}) == [1, 1, 3]
    assert piece_lengths([WHOLE]) == [1]
    # Nothing is added to the builds of days that are computed together.
    assert PIECE_EVENTS < LEAST_EVENTS
    many = [str(FIRST + timedelta(number)) for number in range(PIECE_DAYS + 1)]
    assert piece_lengths(many) == [PIECE_DAYS, 1]


def test_days_built_together_are_those_built_alone(
    store: Settings, connection: StoreConnection
) -> None:
    """From rows and from column files; a day without events is among them, and a current one."""
    store_events(store, [*year_of_days(2), *some_of(DAYS[3]), *some_of(DAYS[4])])
    with open_builder(store, "run-1") as builder:
        alone = [builder.build(day, DAY_TRANSFORMS) for day in DAYS]
        digests = [outcome.build.digest for day in alone for outcome in day if outcome.build]
        connection.execute("UPDATE table_build SET version = 0 WHERE partition <> ?", (DAYS[3],))
        together = builder.build_days(DAYS, DAY_TRANSFORMS)
        assert [(one.partition, one.transform) for one in together] == [
            (day, transform) for day in DAYS for transform in DAY_TRANSFORMS
        ]
        current = [(one.partition == DAYS[3]) for one in together]
        # The empty day has no figures of its own: its build is of version 0, and so current.
        empty = [one.partition == DAYS[2] for one in together]
        assert [one.computed for one in together] == [
            not (a or b) for a, b in zip(current, empty, strict=True)
        ]
        assert [one.build.digest for one in together if one.build] == digests
        seal_history(store, date(2024, 2, 1))
        forced = builder.build_days(DAYS, DAY_TRANSFORMS, force=True)
        assert [one.build.digest for one in forced if one.build] == digests
        assert all(one.computed for one in forced)


def some_of(day: str) -> list[Event]:
    """Return two events of a day, one of them of no customer."""
    number = int(day[-1]) * 10
    return [
        event(number, micros(f"{day} 09:00"), 2, item="chair", user=None),
        event(number + 1, micros(f"{day} 10:00"), 3, item="table"),
    ]


def test_a_piece_is_read_once_from_rows_files_or_both(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days of which some events are sealed and some are rows are computed together too."""
    store_events(store, year_of_days(3))
    monkeypatch.setattr(computation, "compute", None)
    with open_builder(store, "run-1") as builder:
        built = builder.build_days(DAYS[:3], DAY_TRANSFORMS)
        seal_history(store, date(2024, 2, 1))
        built += builder.build_days(DAYS[:3], DAY_TRANSFORMS, force=True)
        store_events(store, [event(90, micros(f"{DAYS[1]} 09:00"))])
        built += builder.build_days(DAYS[:3], DAY_TRANSFORMS, force=True)
        # A day alone is computed by what is missing here.
        alone = builder.build_days(DAYS[:1], DAY_TRANSFORMS, force=True)
    assert [one.failure for one in built] == [None] * 36
    assert all(one.failure for one in alone)


def test_days_whose_clocks_change_at_midnight_are_those_built_alone(tmp_path: Path) -> None:
    """The hour before midnight comes twice, so the windows of two neighbours share events."""
    settings = home_settings(tmp_path / "home", timezone="America/Havana")
    days = [f"2024-11-0{number}" for number in (2, 3, 4)]
    start = micros("2024-11-02 20:00")
    store_events(
        settings, [event(n, start + n * 900_000_000, order_id=f"o-{n // 2}") for n in range(160)]
    )
    with open_builder(settings, "run") as builder:
        assert builder.group_days(days) == [days]
        together = builder.build_days(days, DAY_TRANSFORMS)
        alone = [
            one for day in days for one in builder.build_days([day], DAY_TRANSFORMS, force=True)
        ]
    assert [one.failure for one in (*together, *alone)] == [None] * 24
    digests = [[one.build.digest for one in ones if one.build] for ones in (together, alone)]
    assert digests[0] == digests[1]


def test_a_day_that_cannot_be_computed_fails_alone(
    builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """The days that were to be computed with it are built."""

    def rows(figures: Figures, partition: str) -> pl.DataFrame:
        if partition == DAYS[1]:
            raise ValueError("not this one")
        return DAILY.rows(figures, partition)

    broken = replace(DAILY, rows=rows)
    outcomes = builder.build_days(DAYS[:3], [broken])
    assert states(outcomes) == [(True, False), (True, True), (True, False)]
    assert connection.execute(FAILURES).fetchall() == [("daily_sales", 3, 1, "run-1")]


def test_a_day_that_fails_its_audit_leaves_the_others(
    builder: PartitionBuilder, connection: StoreConnection
) -> None:
    """Its old figures stay, and its neighbours are replaced in the same transaction."""
    builder.build_days(DAYS[:3], DAY_TRANSFORMS)
    before = read_everything(connection)[:TABLES]
    connection.execute("UPDATE day_ledger SET events = events + 1 WHERE day = ?", (DAYS[1],))
    outcomes = builder.build_days(DAYS[:3], [HOURLY, DAILY], force=True)
    assert [one.failure is not None for one in outcomes] == [False, False, True, True, False, False]
    assert read_everything(connection)[:TABLES] == before


def test_days_that_fail_together_are_computed_alone(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are right, and the log says that there was an error, of which type."""

    def fail(*_: object) -> None:
        raise TypeError("of a customer")

    store_events(store, year_of_days(2))
    monkeypatch.setattr(computation, "compute_days", fail)
    with capture_logs() as logs, open_builder(store, "run-1") as builder:
        outcomes = builder.build_days(DAYS[:2], DAY_TRANSFORMS)
    assert all(outcome.build and not outcome.failure for outcome in outcomes)
    assert [(line["event"], line["days"], line["error"]) for line in logs] == [
        ("days_computed_alone", DAYS[:2], "TypeError")
    ]
