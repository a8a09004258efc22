"""Builds of a store in PostgreSQL: the same code, the same rows, by any number of runs at once."""

import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from assets.builds import addition, seal
from assets.builds.builder import Outcome, PartitionBuilder, open_builder
from assets.builds.staleness import read_stale_partitions
from assets.checks.finding import CheckContext
from assets.checks.reconciliation import check_addition, check_parity, check_unchanged
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from streaming.store.column_files import read_column_files
from streaming.store.connection import read_store, write_store
from streaming.store.erasure import erase
from streaming.store.schema import upgrade
from tests.assets.event_store import store_events, store_example
from tests.postgres import PostgresServer, start_postgres
from tests.store.rows import Event, event, micros, year_of_days
from tests.support import wait_until

DIGESTS = "SELECT table_name, partition, version, digest FROM table_build ORDER BY 1, 2"
TABLES = (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)
JANUARY = [f"2024-01-{day:02}" for day in range(1, 32)]
CHILD = """
import sys
from streaming.settings import Settings
from tests.assets.builds.test_postgres_builds import JANUARY, build
settings = Settings(home=sys.argv[1], database_url=sys.argv[2])
while True:
    build(settings, JANUARY, force=True)
"""


def build(settings: Settings, days: Iterable[str], *, force: bool = False) -> list[Outcome]:
    """Build days one after another, and then the summaries; none may fail."""
    with open_builder(settings, "a-run") as builder:
        outcomes = [
            outcome
            for piece in builder.group_days(list(days))
            for outcome in builder.build_days(piece, DAY_TRANSFORMS, force=force)
        ]
        outcomes += builder.build(WHOLE, WHOLE_TRANSFORMS, force=force)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    return outcomes


def digests(settings: Settings) -> list[tuple[str, str, int, str]]:
    """Read the digest of each build."""
    with read_store(settings) as store:
        return store.execute(DIGESTS).fetchall()


def require_right(settings: Settings) -> None:
    """Compare each table with the stream's figures, with its digests and with what was added."""
    context = CheckContext(settings, 0)
    with read_store(settings) as store:
        for transform in TABLES:
            assert check_parity(store, context, transform).passed, transform.table
            assert check_unchanged(store, context, transform).passed, transform.table
            assert check_addition(store, context, transform).passed, transform.table


def more_events() -> list[Event]:
    """Return late events of one day: another order of a customer, a return, and a guest."""
    at = micros("2024-01-02 09:00")
    return [
        event(101, at, item="chair", user="carl"),
        event(102, at + 1, quantity=-1, order_id="o-2"),
        event(103, at + 2, user=None),
    ]


def test_builds_have_the_same_digests_in_both_databases(
    store: Settings, postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables of a month from rows, from column files, and with late events added to them."""
    monkeypatch.setattr(addition, "LEAST_EVENTS", 1)
    after_steps = []
    for settings in (store, postgres_settings):
        store_events(settings, year_of_days(40))
        build(settings, JANUARY)
        assert seal.seal_history(settings, date(2024, 3, 1)).events == 40
        outcomes = build(settings, JANUARY, force=True)
        assert all(outcome.computed for outcome in outcomes)
        require_right(settings)
        after_steps.append(digests(settings))
    for settings in (store, postgres_settings):
        store_events(settings, more_events()[:1])
        # A day alone: of a piece of several each is too small to be added to.
        outcomes = build(settings, JANUARY[1:2])
        added = {outcome.build.added_events for outcome in outcomes if outcome.build}
        assert added == {0, 1}
        require_right(settings)
        build(settings, JANUARY, force=True)
        require_right(settings)
        after_steps.append(digests(settings))
    assert after_steps[0] == after_steps[1] != after_steps[2] == after_steps[3]
    assert len(after_steps[0]) == 4 * 31 + 2


@pytest.fixture
def january(postgres_settings: Settings) -> Settings:
    """A PostgreSQL database with the events of a month, and late ones of one day."""
    store_events(postgres_settings, [*year_of_days(31), *more_events()])
    build(postgres_settings, JANUARY)
    return postgres_settings


def test_a_correction_makes_a_day_stale_and_forgets_its_files(january: Settings) -> None:
    """As on SQLite: another content of an id that comes from before replaces the stored one."""
    assert seal.seal_history(january, date(2024, 3, 1)).events == 34
    store_events(january, [replace(more_events()[0], item="sofa", source_timestamp=-1)])
    with read_store(january) as store:
        assert {stale.partition for stale in read_stale_partitions(store, {})} == {
            "2024-01-02",
            WHOLE,
        }
        assert date(2024, 1, 2) not in read_column_files(store)
    outcomes = build(january, JANUARY)
    assert {outcome.partition for outcome in outcomes if outcome.computed} == {"2024-01-02", WHOLE}
    require_right(january)


def test_an_erasure_replaces_names_in_built_rows(january: Settings) -> None:
    """The summary of customers has the pseudonym at once, and a digest that fits."""
    users = 'SELECT "user" FROM customer_summary'
    with read_store(january) as store:
        before = store.execute(users).fetchall()
    assert ("carl",) in before
    assert erase(january, "carl", None, apply=True).erasure.table_rows == 1
    with read_store(january) as store:
        after = store.execute(users).fetchall()
        assert len(after) == len(before)
        assert len(set(before) - set(after)) == 1
        for transform in TABLES:
            assert check_unchanged(store, CheckContext(january, 0), transform).passed
    build(january, JANUARY)
    require_right(january)


def test_two_builds_of_the_same_days_wait_for_each_other(january: Settings) -> None:
    """In whatever order each takes them, both succeed, and the rows are those of one."""
    before = digests(january)
    outcomes: list[Outcome] = []

    def build_again(days: list[str]) -> None:
        for _ in range(3):
            with open_builder(january, "other") as builder:
                for piece in (days[:9], days[9:12], days[12:]):
                    outcomes.extend(builder.build_days(piece, DAY_TRANSFORMS, force=True))

    runs = [threading.Thread(target=build_again, args=[days]) for days in (JANUARY, JANUARY[::-1])]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(outcomes) == 2 * 3 * 31 * 4
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    assert digests(january) == before
    require_right(january)


@pytest.mark.faults
def test_a_killed_build_leaves_whole_days(january: Settings) -> None:
    """Its transaction is undone by the server, and the next build waits for nothing."""
    before = digests(january)
    assert january.database_url is not None
    built_at = "SELECT max(built_at) FROM table_build"
    with read_store(january) as store:
        first = store.execute(built_at).fetchone()
    child = subprocess.Popen([sys.executable, "-c", CHILD, january.home, january.database_url])

    def is_building() -> bool:
        with read_store(january) as store:
            return bool(store.execute(built_at).fetchone() != first)

    try:
        wait_until(is_building, 120, "the child builds nothing")
    finally:
        child.kill()
        child.wait()
    require_right(january)
    assert digests(january) == before
    assert all(outcome.computed for outcome in build(january, JANUARY, force=True))
    assert digests(january) == before


@pytest.mark.faults
def test_a_build_goes_on_when_the_server_was_restarted(tmp_path: Path) -> None:
    """Between two days; what was built before is not built again."""
    server = start_postgres(tmp_path / "server")
    try:
        database = server.url(server.create_database())
        settings = Settings(home=tmp_path / "home", database_url=database)
        upgrade(settings)
        store_events(settings, year_of_days(20))
        with open_builder(settings, "a-run") as builder:
            for day in JANUARY[:2]:
                outcomes = builder.build_days([day], DAY_TRANSFORMS)
                assert [each.failure for each in outcomes] == [None] * len(DAY_TRANSFORMS)
                _restart(server)
        assert {outcome.computed for outcome in build(settings, JANUARY[:2])[:8]} == {False}
        build(settings, JANUARY)
        require_right(settings)
    finally:
        server.stop()


def _restart(server: PostgresServer) -> None:
    server.kill()
    server.start_again()


def test_an_erasure_meanwhile_makes_a_build_read_again(
    january: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written that was computed of names from before it."""
    compute, readings = PartitionBuilder._compute, []

    def compute_and_erase(self: PartitionBuilder, requests: list[object]) -> object:
        readings.append(requests)
        computations = compute(self, requests)  # type: ignore[arg-type]
        if len(readings) == 1:
            with write_store(january) as writer:
                values = ", ".join("?" * 8)
                writer.execute(f"INSERT INTO erasure VALUES ({values})", ("e", *[0] * 7))
        return computations

    monkeypatch.setattr(PartitionBuilder, "_compute", compute_and_erase)
    build(january, JANUARY[:1], force=True)
    assert len(readings) == 3  # the day twice, the summaries once


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_the_example_year_has_the_same_digests(
    store: Settings, postgres_settings: Settings
) -> None:
    """All days of all tables, and the summaries: half a million events of a real shop."""
    year = DayRange(date(2010, 12, 1), date(2011, 12, 9))
    days = [day.isoformat() for day in year.list_days()]
    for settings in (store, postgres_settings):
        store_example(settings, year)
        build(settings, days)
    expected = digests(store)
    assert digests(postgres_settings) == expected
    assert len(expected) == 4 * len(days) + 2
    require_right(postgres_settings)
