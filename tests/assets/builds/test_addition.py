"""Today by adding: the digests are those of one build, however the day is cut into builds."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assets.builds import addition, columns, computation, seal
from assets.builds.builder import Outcome, open_builder
from assets.builds.seal import seal_history
from assets.checks.finding import CheckContext, Finding
from assets.checks.reconciliation import check_addition, check_unchanged
from assets.tables.models import TableBuild
from assets.tables.transforms import DAY_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store.connection import read_store, write_store
from streaming.store.erasure import erase
from streaming.store.table_builds import record_digests
from tests.assets.builds import test_columns
from tests.assets.builds.test_columns import build_from_rows, change, files, late_event
from tests.assets.event_store import store_events
from tests.databases import copy_store, home_settings
from tests.store.rows import event, micros

DAY = "2024-01-02"


@pytest.fixture(autouse=True)
def small_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let days of one event be added to, and files hold three."""
    monkeypatch.setattr(addition, "LEAST_EVENTS", 1)
    for module in (seal, columns):
        monkeypatch.setattr(module, "FILE_ROWS", 3)


def build(settings: Settings, transforms: Sequence[Transform] = DAY_TRANSFORMS) -> list[Outcome]:
    """Build the day if it is not current; no table fails."""
    with open_builder(settings, "run") as builder:
        outcomes = builder.build(DAY, transforms)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    return outcomes


def compute(settings: Settings) -> list[Outcome]:
    """Compute the day from all events, as its close does."""
    with open_builder(settings, "close") as builder:
        outcomes = builder.build(DAY, DAY_TRANSFORMS, force=True)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    return outcomes


def builds(outcomes: list[Outcome]) -> list[TableBuild]:
    """Return the build of each table."""
    return [outcome.build for outcome in outcomes if outcome.build is not None]


def digests(outcomes: list[Outcome]) -> list[str]:
    """Return the digest of each table."""
    return [build.digest for build in builds(outcomes)]


def count_added(outcomes: list[Outcome]) -> set[int]:
    """Return how many events were added since all were computed, the same for all tables."""
    return {build.added_events for build in builds(outcomes)}


def problems(outcomes: list[Outcome]) -> list[str | None]:
    """Return how the added rows of each table differed from computed ones."""
    return [build.difference for build in builds(outcomes)]


def tamper(settings: Settings, change: str) -> None:
    """Change a table by hand, and its digest with it."""
    with write_store(settings) as store:
        store.execute(change)
        for transform in DAY_TRANSFORMS:
            record_digests(store, transform.table, [DAY])


def half_written(settings: Settings) -> list[str]:
    """Return the tables whose rows are not those of their build, or not at the others' version."""
    context = CheckContext(settings, 0)
    with read_store(settings) as store:
        versions = [row[0] for row in store.execute("SELECT DISTINCT version FROM table_build")]
        return [
            transform.table
            for transform in DAY_TRANSFORMS
            if len(versions) != 1 or not check_unchanged(store, context, transform).passed
        ]


def check_addition_of(settings: Settings, transform: Transform) -> Finding:
    """Return what the asset check of a table finds."""
    with read_store(settings) as store:
        return check_addition(store, CheckContext(settings, 0), transform)


def store_and_build(settings: Settings) -> Settings:
    """Store four events and build the day, and store two more; return the settings."""
    first = [late_event(1, 2, 3), late_event(2, 2, item="book"), late_event(3, 2, order_id="o-2")]
    store_events(settings, [*first, late_event(4, 2, user=None)])
    assert count_added(build(settings)) == {0}
    later = [late_event(5, 2, -1), late_event(6, 2, 9, item="book", user="bert", order_id="o-3")]
    store_events(settings, later)
    return settings


@pytest.fixture
def home(store: Settings) -> Settings:
    """Return a home with a build of four events, and two that came later."""
    return store_and_build(store)


def test_new_events_are_added_to_the_last_build(home: Settings) -> None:
    """Sums grow, a known order and customer count once, and ranks are those of all events."""
    outcomes = build(home)
    assert count_added(outcomes) == {2}
    store_events(home, [late_event(7, 2)])
    outcomes = build(home)
    assert count_added(outcomes) == {3}
    again = compute(home)
    assert digests(again) == digests(outcomes)
    assert count_added(again) == {0}
    assert problems(again) == [None] * 4


def test_events_that_were_sealed_meanwhile_are_still_new(home: Settings) -> None:
    """Their orders and customers are in a file by then, which is not of the last build."""
    seal_history(home, date(2024, 2, 1))
    outcomes = build(home)
    assert count_added(outcomes) == {2}
    store_events(home, [late_event(8, 2, order_id="o-3", user="carl")])
    outcomes = build(home)
    assert count_added(outcomes) == {3}
    assert digests(compute(home)) == digests(outcomes)


def conflict(settings: Settings) -> None:
    """Store a lower content of the first event."""
    lower = replace(late_event(1, 2, 2, item="chair"), source_offset=-1)
    store_events(settings, [lower])


CHANGES: Final[dict[str, Callable[[Settings], object]]] = {
    "a correction": conflict,
    "an erasure": lambda settings: erase(settings, "anna", None, apply=True),
    "rows changed by hand": lambda settings: execute(
        settings, "UPDATE hourly_sales SET orders = 7"
    ),
    "a build of before": lambda settings: execute(
        settings, "UPDATE table_build SET last_row = NULL"
    ),
    "another code": lambda settings: execute(settings, "UPDATE table_build SET code_version = '0'"),
    "a table missing": lambda settings: execute(
        settings, "DELETE FROM table_build WHERE table_name = 'daily_sales'"
    ),
    "a row missing": lambda settings: execute(
        settings, "DELETE FROM analytics_event WHERE rowid = 1"
    ),
    "a build that ends elsewhere": lambda settings: execute(
        settings, "UPDATE table_build SET last_row = 5, events = 4 WHERE table_name = 'daily_sales'"
    ),
    "many events": lambda settings: store_events(
        settings, [late_event(n, 2) for n in range(10, 20)]
    ),
}


def execute(settings: Settings, statement: str) -> None:
    """Change the database by hand."""
    with write_store(settings) as store:
        store.execute(statement)


@pytest.mark.parametrize("change", CHANGES)
def test_anything_else_is_computed_from_all_events(home: Settings, change: str) -> None:
    """The figures are right, and nothing was added; unless the audit finds what is missing."""
    CHANGES[change](home)
    with open_builder(home, "run") as builder:
        outcomes = builder.build(DAY, DAY_TRANSFORMS)
    if change == "a row missing":
        assert all("the stream counted" in str(outcome.failure) for outcome in outcomes)
        return
    assert count_added(outcomes) == {0}
    assert problems(outcomes) == [None] * 4
    assert digests(compute(home)) == digests(outcomes)


def test_a_table_that_is_not_additive_has_the_whole_day_computed(home: Settings) -> None:
    """The day's events are read for it anyway, and the others are computed with it."""
    others = [replace(DAY_TRANSFORMS[0], additive=False), *DAY_TRANSFORMS[1:]]
    assert count_added(build(home, others)) == {0}


def test_what_was_added_wrongly_is_found_when_all_is_computed(home: Settings) -> None:
    """The audit knows no distinct counts; a row is named, and the right one is stored."""
    build(home)
    tamper(home, "UPDATE daily_sales SET orders = orders + 1")
    outcomes = compute(home)
    assert [problem is None for problem in problems(outcomes)] == [True, False, True, True]
    assert "1 of 1 rows that were added to are not among the 1 computed ones" in str(
        problems(outcomes)
    )
    assert not check_addition_of(home, DAY_TRANSFORMS[1]).passed
    assert problems(compute(home)) == [None] * 4
    assert check_addition_of(home, DAY_TRANSFORMS[1]).passed


def test_added_rows_that_fail_the_audit_are_computed_instead(home: Settings) -> None:
    """The figures are right at once, and the check says that something was added wrongly."""
    tamper(home, "UPDATE daily_country_sales SET events = events + 1")
    outcomes = build(home)
    assert count_added(outcomes) == {0}
    assert "failed its audit: events is 7, but the stream counted 6" in str(problems(outcomes)[0])


def test_a_build_that_is_forgotten_meanwhile_is_not_added_to(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who rebuilds the ledger may have changed events by hand."""

    def add_and_rebuild(*arguments: object) -> object:
        added_builds = addition.add_to_builds(*arguments)  # type: ignore[arg-type]
        execute(home, "DELETE FROM table_build")
        return added_builds

    monkeypatch.setattr(computation, "add_to_builds", add_and_rebuild)
    assert count_added(build(home)) == {0}


def test_a_damaged_file_is_marked_and_the_rows_are_read(home: Settings) -> None:
    """What is added is right then too."""
    build(home)
    seal_history(home, date(2024, 2, 1))
    store_events(home, [late_event(8, 2, order_id="o-3", user="carl")])
    build(home)
    store_events(home, [late_event(9, 2, order_id="o-3", user="carl")])
    path = files(home)[0]
    path.write_bytes(path.read_bytes()[:-9])
    outcomes = build(home)
    assert (count_added(outcomes), problems(outcomes)) == ({4}, [None] * 4)
    assert digests(compute(home)) == digests(outcomes)


def test_days_with_a_change_of_clocks_are_added_to(tmp_path: Path) -> None:
    """The hour that comes twice has a row for each time, and the window of a neighbour's events."""
    settings = home_settings(tmp_path / "home", timezone="America/Havana")
    start = micros("2024-11-03 03:00")
    events = [event(n, start + n * 900_000_000, order_id=f"o-{n // 2}") for n in range(40)]
    store_events(settings, events[::2])
    with open_builder(settings, "run") as builder:
        builder.build("2024-11-03", DAY_TRANSFORMS)
        store_events(settings, events[1::4])
        outcomes = builder.build("2024-11-03", DAY_TRANSFORMS)
        assert count_added(outcomes) <= {8, 9, 10}
        assert 0 not in count_added(outcomes)
        again = builder.build("2024-11-03", DAY_TRANSFORMS, force=True)
    assert digests(again) == digests(outcomes)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 3), st.integers(-3, 3).filter(bool)),
        st.tuples(st.just("build"), st.just(0), st.just(0)),
        st.tuples(st.just("conflict"), st.integers(1, 3), st.integers(0, 5)),
        st.tuples(st.just("erase"), st.sampled_from(["anna", "bert"]), st.just(0)),
        st.tuples(st.just("seal"), st.integers(1, 4), st.just(0)),
    ),
    min_size=4,
    max_size=14,
)


@pytest.fixture(scope="module")
def first_event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one event, which each example copies."""
    home = tmp_path_factory.mktemp("first") / "home"
    home.mkdir(mode=0o700)
    store_events(home_settings(home), [late_event(0, 2)])
    return home


@pytest.mark.parametrize("examples", [5, pytest.param(50, marks=pytest.mark.faults)])
def test_any_split_of_a_day_gives_the_digests_of_one_build(
    tmp_path_factory: pytest.TempPathFactory, first_event: Path, examples: int
) -> None:
    """Whatever comes between builds: late events, returns, corrections, erasures and seals."""

    @hypothesis_settings(max_examples=examples)
    @given(steps=STEPS)
    def check(steps: list[tuple[str, int | str, int]]) -> None:
        require_digests_of_one_build(tmp_path_factory, first_event, steps)

    check()


def require_digests_of_one_build(
    tmp_path_factory: pytest.TempPathFactory,
    first_event: Path,
    steps: list[tuple[str, int | str, int]],
) -> None:
    """In the end the tables of all days are those of the rows, without column files."""
    settings = home_settings(tmp_path_factory.mktemp("any") / "home")
    shutil.copytree(first_event, settings.home)
    if not isinstance(settings.database, Path):
        copy_store(home_settings(first_event), settings)
    for number, (step, what, more) in enumerate(steps, 1):
        if step == "build":
            build(settings)
        elif step == "seal":
            seal_history(settings, date(2024, 1, int(what)))
        else:
            change(settings, number, step, what, more)
    outcomes = build(settings)
    again = compute(settings)
    assert problems(again) == [None] * 4
    assert digests(again) == digests(outcomes)
    assert test_columns.problems(settings) == {}
    assert test_columns.build(settings, 3) == build_from_rows(settings, 3)
