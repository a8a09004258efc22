"""Which runs a plan requests, from what is stale and what is under way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from dagster import RunRequest
from hypothesis import given
from hypothesis import strategies as st

from assets.builds.staleness import LastFailure, StalePartition
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES
from orchestration.automation.run_plan import (
    BEHIND_SECONDS,
    BRIDGED_DAYS,
    LATE_RUNS,
    PIECE_DAYS,
    RECENT_DAYS,
    LastRun,
    PlanInputs,
    UnfinishedRun,
    is_due,
    join_days,
    newest_versions,
    plan_past_days,
    plan_runs,
    plan_summaries,
    plan_today,
    uncovered_days,
)
from orchestration.automation.run_requests import LATE_SECONDS, range_tags

TODAY = date(2024, 6, 15)
NOW = 1_718_445_600_000_000
SECOND = 1_000_000
ALL = frozenset(DAY_TABLE_NAMES)


def day(ago: int) -> date:
    """Return the day that many days ago."""
    return TODAY - timedelta(ago)


def stale_day(
    ago: int,
    built_ago: int | None = None,
    failure: LastFailure | None = None,
    cpu_seconds: float = 0.0,
) -> list[StalePartition]:
    """Return a day that is stale in all tables; it was built so many seconds ago, or never.

    The build took so many seconds of CPU time.
    """
    built_at = None if built_ago is None else NOW - built_ago * SECOND
    return [
        StalePartition(
            table=table,
            partition=day(ago).isoformat(),
            version=9,
            changed_at=NOW,
            built_version=0 if built_at is None else 8,
            built_at=built_at,
            behind=1,
            cpu_time=round(cpu_seconds * SECOND),
            failure=failure,
        )
        for table in DAY_TABLE_NAMES
    ]


def stale_wholes(built_ago: int | None) -> list[StalePartition]:
    """Return all whole tables as stale; they were built so many seconds ago, or never."""
    built_at = None if built_ago is None else NOW - built_ago * SECOND
    return [StalePartition(table, "all", 9, NOW, 8, built_at, 1) for table in WHOLE_TABLE_NAMES]


def inputs(
    *stale: list[StalePartition],
    last_runs: Mapping[str, LastRun] | None = None,
    unfinished: Sequence[UnfinishedRun] = (),
) -> PlanInputs:
    """Return inputs with these stale partitions, and nothing under way unless it is given."""
    partitions = [partition for some in stale for partition in some]
    history = DayRange(date(2010, 1, 1), TODAY)
    return PlanInputs(partitions, history, unfinished, last_runs or {}, NOW)


def list_requests(requests: list[RunRequest]) -> list[tuple[str, str, str]]:
    """Return reason, first and last day of each request."""
    return [
        (
            request.tags["purchases/reason"],
            request.tags.get("dagster/asset_partition_range_start", ""),
            request.tags.get("dagster/asset_partition_range_end", ""),
        )
        for request in requests
    ]


def test_nothing_stale_requests_nothing() -> None:
    """A quiet shop has no runs."""
    assert plan_runs(inputs()) == []


def list_days(request: RunRequest) -> list[str]:
    """Return the days that a request lists, newest first; none if it has a range."""
    days: list[str] = config(request).get("days", [])
    return days


def config(request: RunRequest) -> dict[str, Any]:
    """Return the configuration of a request's one step."""
    step: dict[str, Any] = request.run_config["ops"]["day_tables"]["config"]
    return step


def test_past_days_of_one_tick_are_one_run_newest_first_and_bounded_in_time() -> None:
    """Days with gaps of up to a month are a range; scattered ones are listed."""
    (near,) = plan_runs(inputs(*(stale_day(ago, 5) for ago in (1, 2, 30))))
    assert list_requests([near]) == [("late", "2024-05-16", "2024-06-14")]
    assert (list_days(near), near.tags["purchases/version"]) == ([], "9")
    (far,) = plan_runs(inputs(*(stale_day(ago, 5) for ago in (120, 41, 42, 80))))
    assert list_requests([far]) == [("late", "2024-05-05", "2024-05-05")]
    assert list_days(far) == ["2024-05-05", "2024-05-04", "2024-03-27", "2024-02-16"]
    assert all(config(request)["limit_seconds"] == LATE_SECONDS for request in (near, far))
    assert near.run_key is far.run_key is None


def test_a_year_is_requested_in_pieces_the_newest_days_first() -> None:
    """The newest 35 days, then sixty at a time; a tick asks for one piece, and no more wait."""
    days = [day(ago) for ago in range(1, 375)]
    pieces: list[int] = []
    while days:
        (request,) = plan_past_days(inputs(*(stale_day((TODAY - d).days) for d in days)), days)
        covered = unfinished_run(request).days
        assert isinstance(covered, DayRange)
        assert days[: len(covered)] == covered.list_days()[::-1]
        pieces.append(len(covered))
        days = days[len(covered) :]
    assert pieces == [RECENT_DAYS, *[PIECE_DAYS] * 5, 374 - RECENT_DAYS - 5 * PIECE_DAYS]


def test_days_far_apart_are_listed_and_no_range_of_years() -> None:
    """A range costs a planned event for each day and table between its ends."""
    (request,) = plan_runs(inputs(*(stale_day(30 * number + 40) for number in range(100))))
    assert len(list_days(request)) == PIECE_DAYS


def test_no_long_run_is_requested_while_the_stream_is_behind() -> None:
    """Recent days are, and the others when the stream has caught up."""
    old, recent = stale_day(40), stale_day(3)
    behind = replace(inputs(old), behind_seconds=BEHIND_SECONDS + 1)
    assert plan_runs(behind) == []
    (request,) = plan_runs(replace(behind, stale=[*old, *recent]))
    assert list_requests([request]) == [("late", "2024-06-12", "2024-06-12")]
    assert len(plan_runs(replace(behind, behind_seconds=BEHIND_SECONDS))) == 1


def test_today_comes_first_and_before_others_in_the_queue() -> None:
    """Whatever else is stale; past days follow, and the summaries stand beside them."""
    requests = plan_runs(inputs(*(stale_day(ago) for ago in (0, 1, 40, 80)), stale_wholes(None)))
    assert [reason for reason, *_ in list_requests(requests)] == ["current", "late", "summary"]
    priorities = [int(request.tags.get("dagster/priority", "0")) for request in requests]
    assert priorities == [1, 0, 0]


def test_scattered_days_neither_starve_today_nor_fill_the_queue() -> None:
    """188 old days, a further one at each of 60 ticks, and no run that ever ends."""
    unfinished: list[UnfinishedRun] = []
    for tick in range(60):
        days = [0, *(45 * number + 1 for number in range(188)), *range(3, 3 + tick)]
        requests = plan_runs(inputs(*(stale_day(ago) for ago in days), unfinished=unfinished))
        if tick == 0:
            assert list_requests(requests)[0] == ("current", "2024-06-15", "2024-06-15")
        unfinished += [unfinished_run(request) for request in requests]
    assert len(unfinished) == 1 + LATE_RUNS


def unfinished_run(request: RunRequest) -> UnfinishedRun:
    """Return the run that Dagster makes of a request for days."""
    if list_days(request):
        return UnfinishedRun(frozenset(map(date.fromisoformat, list_days(request))), ALL)
    (_, first, last) = list_requests([request])[0]
    return UnfinishedRun(DayRange(date.fromisoformat(first), date.fromisoformat(last)), ALL)


def test_a_range_carries_its_newest_version() -> None:
    """The tag says which version at least the run will see."""
    older = [replace(partition, version=4) for partition in stale_day(2)]
    (request,) = plan_past_days(inputs(stale_day(1), older), [day(1), day(2)])
    assert request.tags["purchases/version"] == "9"
    assert newest_versions([*older, *stale_wholes(None)]) == {day(2): 4}


@given(st.sets(st.integers(1, 2_000), max_size=40))
def test_ranges_cover_every_day_and_bridge_no_more_than_a_month(ago: set[int]) -> None:
    """Whatever days are stale, each is in one range, and ranges lie apart."""
    days = {day(number) for number in ago}
    joined = join_days(days)
    assert {d for d in days for r in joined if d in r} == days
    assert all(r.first in days and r.last in days for r in joined)
    for newer, older in pairwise(joined):
        assert (newer.first - older.last).days > BRIDGED_DAYS + 1


def test_a_day_that_a_run_covers_is_not_requested_again() -> None:
    """Unless it has a stale table that the run does not build; whole tables cover no day."""
    stale = {day(3): ALL, day(5): ALL}
    four_days = DayRange(day(4), day(1))
    assert uncovered_days(stale, [UnfinishedRun(four_days, ALL)]) == [day(5)]
    one_table = frozenset({"daily_sales"})
    assert uncovered_days(stale, [UnfinishedRun(four_days, one_table)]) == [day(3), day(5)]
    assert uncovered_days({day(3): one_table}, [UnfinishedRun(four_days, one_table)]) == []
    assert uncovered_days(stale, [UnfinishedRun(None, ALL)]) == [day(3), day(5)]
    covered = inputs(stale_day(3), stale_day(5), unfinished=[UnfinishedRun(four_days, ALL)])
    assert list_requests(plan_runs(covered)) == [("late", "2024-06-10", "2024-06-10")]


@pytest.mark.parametrize(
    ("built_ago", "ended_ago", "seconds", "due"),
    [
        (None, None, 0, True),
        (None, 1, 900, True),
        (599, None, 0, False),
        (600, None, 0, True),
        (700, 700, 200, False),
        (1_000, 1_000, 200, True),
    ],
)
def test_what_is_stale_all_the_time_is_paced(
    built_ago: int | None, ended_ago: int | None, seconds: int, *, due: bool
) -> None:
    """Ten minutes after a build, five durations of the last run after its end, or never built."""
    last_run = None if ended_ago is None else LastRun(NOW / SECOND - ended_ago, seconds)
    assert is_due(stale_day(0, built_ago), last_run, 5, NOW) is due


def test_one_table_that_was_never_built_makes_the_others_due() -> None:
    """One run builds all of them, so the missing one decides."""
    assert is_due([*stale_day(0, 1), *stale_day(0)[:1]], None, 5, NOW)


@pytest.mark.parametrize(
    ("built_ago", "cpu_seconds", "due"),
    [
        (59, 0, False),
        (60, 0, True),
        (57, 3, True),
        (56, 3, False),
        (189, 10, False),
        (190, 10, True),
    ],
)
def test_today_is_requested_every_minute_and_for_a_twentieth_of_the_time_at_most(
    built_ago: int, cpu_seconds: float, *, due: bool
) -> None:
    """From the begin of one build to that of the next; by what the last one itself took."""
    assert bool(plan_today(inputs(stale_day(0, built_ago, cpu_seconds=cpu_seconds)))) is due


def test_today_is_requested_at_once_if_a_table_was_never_built() -> None:
    """One run builds all of them, so the missing one decides."""
    assert list_requests(plan_runs(inputs(stale_day(0)))) == [
        ("current", "2024-06-15", "2024-06-15")
    ]
    assert len(plan_today(inputs([*stale_day(0, 1), *stale_day(0)[:1]]))) == 1


@pytest.mark.parametrize(("failed_ago", "due"), [(59, False), (60, True)])
def test_today_is_paced_by_failed_builds_too(failed_ago: int, *, due: bool) -> None:
    """A table that fails in every build, and so was never built, does not keep a core busy."""
    failure = LastFailure(8, 1, "audit", "run", NOW - failed_ago * SECOND)
    stale = [*stale_day(0, 3_600)[1:], *stale_day(0, failure=failure)[:1]]
    assert bool(plan_today(inputs(stale))) is due


@pytest.mark.parametrize(("failed_ago", "due"), [(599, False), (600, True)])
def test_summaries_are_paced_by_failed_builds_too(failed_ago: int, *, due: bool) -> None:
    """Also if none was ever built: each event permits another try."""
    failure = LastFailure(8, 1, "audit", "run", NOW - failed_ago * SECOND)
    stale = [replace(one, failure=failure, version=1_000) for one in stale_wholes(None)]
    assert bool(plan_summaries(inputs(stale))) is due


def test_a_summary_that_took_ninety_seconds_waits_nine_hundred() -> None:
    """Whole tables take an eleventh of the time at most, in one run, not beside another."""
    assert list_requests(plan_runs(inputs(stale_wholes(None)))) == [("summary", "", "")]
    last_runs = {"summary": LastRun(NOW / SECOND - 899, 90)}
    assert plan_summaries(inputs(stale_wholes(899), last_runs=last_runs)) == []
    last_runs = {"summary": LastRun(NOW / SECOND - 900, 90)}
    assert len(plan_summaries(inputs(stale_wholes(900), last_runs=last_runs))) == 1
    running = [UnfinishedRun(None, frozenset(WHOLE_TABLE_NAMES))]
    assert plan_summaries(inputs(stale_wholes(None), unfinished=running)) == []


@pytest.mark.parametrize(("behind", "due"), [(10, False), (11, True)])
def test_a_summary_that_lacks_many_events_does_not_wait(behind: int, *, due: bool) -> None:
    """It was built in the middle of an import: over one in a hundred events is missing."""
    stale = [replace(one, version=1_000, behind=behind) for one in stale_wholes(60)]
    assert bool(plan_summaries(inputs(stale))) is due
    just_ended = {"summary": LastRun(NOW / SECOND - 10, 5)}
    assert plan_summaries(inputs(stale, last_runs=just_ended)) == []


def test_a_failed_day_waits_and_a_new_version_does_not() -> None:
    """The sensor does not request a day that fails its audit at every tick."""
    failure = LastFailure(9, 1, "audit", "run", NOW - 299 * SECOND)
    assert plan_runs(inputs(stale_day(3, failure=failure))) == []
    assert len(plan_runs(inputs(stale_day(3, failure=replace(failure, version=8))))) == 1
    retried = replace(failure, attempts=3, failed_at=NOW - 1_201 * SECOND)
    assert len(plan_runs(inputs(stale_day(3, failure=retried)))) == 1


def test_days_outside_of_history_are_never_requested() -> None:
    """One partition outside the definition would make the whole tick fail."""
    every = inputs(stale_day(-1), stale_day(3), stale_day(500))
    requests = plan_runs(replace(every, history=DayRange(day(10), TODAY)))
    assert list_requests(requests) == [("late", "2024-06-12", "2024-06-12")]
    assert range_tags(DayRange(day(3), day(3))).items() <= requests[0].tags.items()
