"""What the status says of the tables."""

from datetime import date
from typing import Final

from assets.builds.builder import open_builder
from assets.builds.failures import DeadRun, record_dead_run
from assets.queries.status_section import read_tables_section
from assets.tables.day_range import DayRange
from assets.tables.transforms import DAY_TRANSFORMS
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.store.rows import event, micros

DAY: Final = "2024-03-01"


def test_days_are_behind_until_they_are_built_at_their_version(store: Settings) -> None:
    """A day that was never built, or changed since, is behind."""
    assert read_tables_section(store).figures == {
        "days_behind": 0,
        "failed_builds": 0,
        "wrong_sql_tables": 0,
    }
    store_events(store, [event(1, micros(f"{DAY} 10:00")), event(2, micros("2024-03-02 10:00"))])
    assert read_tables_section(store).figures["days_behind"] == 2
    with open_builder(store, "run") as builder:
        builder.build(DAY, DAY_TRANSFORMS)
    assert read_tables_section(store).figures["days_behind"] == 1
    store_events(store, [event(3, micros(f"{DAY} 11:00"))])
    assert read_tables_section(store).figures["days_behind"] == 2


def test_a_failed_build_is_a_problem_with_its_reason(store: Settings) -> None:
    """It names table, day and reason, and is gone with the next good build."""
    store_events(store, [event(1, micros(f"{DAY} 10:00"))])
    day = date.fromisoformat(DAY)
    record_dead_run(
        store, DeadRun("run", "it died", frozenset({"daily_sales"}), DayRange(day, day))
    )
    section = read_tables_section(store)
    assert section.figures["failed_builds"] == 1
    assert [problem.code for problem in section.problems] == ["build_failed"]
    assert f"daily_sales of {DAY}" in section.problems[0].sentence
    assert "it died" in section.problems[0].sentence
    with open_builder(store, "again") as builder:
        builder.build(DAY, DAY_TRANSFORMS)
    assert read_tables_section(store).problems == ()
