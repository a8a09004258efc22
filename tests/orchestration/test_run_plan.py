"""Which runs are asked for, from what differs and what is under way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

from dagster import RunRequest
from hypothesis import given
from hypothesis import strategies as st

from assets.builds.staleness import Difference, Failure
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES
from orchestration.automation.run_plan import BRIDGED_DAYS, LastRun, Moment, UnderWay, plan, ranges
from orchestration.automation.run_requests import DayRange, range_tags

TODAY = date(2024, 6, 15)
NOW = 1_718_445_600_000_000
SECOND = 1_000_000
ALL = frozenset(DAY_TABLE_NAMES)


def day(ago: int) -> date:
    """Give the day that many days ago."""
    return TODAY - timedelta(ago)


def differing(
    ago: int, built_ago: int | None = None, failure: Failure | None = None
) -> list[Difference]:
    """Give a day's differences in all tables; it was built so many seconds ago, or never."""
    built_at = None if built_ago is None else NOW - built_ago * SECOND
    return [
        Difference(
            table, day(ago).isoformat(), 9, NOW, 0 if built_at is None else 8, built_at, 1, failure
        )
        for table in DAY_TABLE_NAMES
    ]


def summaries(built_ago: int | None) -> list[Difference]:
    """Give the whole tables' differences."""
    built_at = None if built_ago is None else NOW - built_ago * SECOND
    return [Difference(table, "all", 9, NOW, 8, built_at, 1) for table in WHOLE_TABLE_NAMES]


def moment(
    *differences: list[Difference],
    last: Mapping[str, LastRun] | None = None,
    under_way: Sequence[UnderWay] = (),
) -> Moment:
    """Give a moment in which nothing is under way, but for what is given."""
    found = [difference for some in differences for difference in some]
    return Moment(found, date(2010, 1, 1), TODAY, under_way, last or {}, NOW)


def asked(requests: list[RunRequest]) -> list[tuple[str, str, str]]:
    """Give reason and days of each request."""
    return [
        (
            request.tags["purchases/reason"],
            request.tags.get("dagster/asset_partition_range_start", ""),
            request.tags.get("dagster/asset_partition_range_end", ""),
        )
        for request in requests
    ]


def test_nothing_stale_asks_for_nothing() -> None:
    """A quiet shop has no runs."""
    assert plan(moment()) == []


def test_past_days_are_asked_for_at_once_newest_first_in_at_most_three_runs() -> None:
    """A gap of a month is bridged; what is left waits for the next tick."""
    found = plan(moment(*(differing(ago, 5) for ago in (1, 2, 40, 80, 120))))
    assert asked(found) == [
        ("late", "2024-06-13", "2024-06-14"),
        ("late", "2024-05-06", "2024-05-06"),
        ("late", "2024-03-27", "2024-03-27"),
    ]
    assert all(request.run_key is None for request in found)
    assert found[0].tags["purchases/version"] == "9"


@given(st.sets(st.integers(1, 2_000), max_size=40))
def test_ranges_cover_every_day_and_bridge_no_more_than_a_month(ago: set[int]) -> None:
    """Whatever days are stale, each is in one range, and ranges lie apart."""
    days = {day(number) for number in ago}
    found = ranges(days)
    assert {d for d in days for r in found if d in r} == days
    assert all(r.first in days and r.last in days for r in found)
    for newer, older in pairwise(found):
        assert (newer.first - older.last).days > BRIDGED_DAYS + 1


def test_a_day_that_a_run_covers_is_not_asked_for_again() -> None:
    """But for tables that the run does not build."""
    stale = moment(differing(3), differing(5))
    covering = UnderWay(DayRange(day(4), day(1)), ALL)
    assert asked(plan(replace(stale, under_way=[covering]))) == [
        ("late", "2024-06-10", "2024-06-10")
    ]
    partly = UnderWay(DayRange(day(4), day(1)), frozenset({"daily_sales"}))
    assert len(plan(replace(stale, under_way=[partly]))) == 1
    assert asked(plan(replace(stale, under_way=[partly])))[0][2] == "2024-06-12"


def test_today_is_asked_for_every_ten_minutes_and_a_fifth_of_the_time_at_most() -> None:
    """At once where it was never built."""
    assert asked(plan(moment(differing(0)))) == [("current", "2024-06-15", "2024-06-15")]
    assert plan(moment(differing(0, 599))) == []
    assert len(plan(moment(differing(0, 601)))) == 1
    long = {"current": LastRun(NOW / SECOND - 700, 200)}
    assert plan(moment(differing(0, 700), last=long)) == []
    assert (
        len(plan(moment(differing(0, 1_001), last={"current": LastRun(NOW / SECOND - 1_001, 200)})))
        == 1
    )


def test_a_summary_that_took_ninety_seconds_waits_nine_hundred() -> None:
    """Whole tables take a tenth of the time at most, in one run, not beside another."""
    assert asked(plan(moment(summaries(None)))) == [("summary", "", "")]
    last = {"summary": LastRun(NOW / SECOND - 899, 90)}
    assert plan(moment(summaries(899), last=last)) == []
    last = {"summary": LastRun(NOW / SECOND - 900, 90)}
    assert len(plan(moment(summaries(900), last=last))) == 1
    beside = [UnderWay(None, frozenset(WHOLE_TABLE_NAMES))]
    assert plan(moment(summaries(None), under_way=beside)) == []


def test_a_failed_day_waits_and_a_new_version_does_not() -> None:
    """The sensor does not hammer a day that fails its audit."""
    failure = Failure(9, 1, "audit", "run", NOW - 299 * SECOND)
    assert plan(moment(differing(3, failure=failure))) == []
    assert len(plan(moment(differing(3, failure=replace(failure, version=8))))) == 1
    again = replace(failure, attempts=3, failed_at=NOW - 1_201 * SECOND)
    assert len(plan(moment(differing(3, failure=again)))) == 1


def test_days_outside_the_range_are_never_asked_for() -> None:
    """One partition outside the definition would make the whole tick fail."""
    early = moment(differing(-1), differing(3), differing(500))
    found = plan(replace(early, first_day=day(10)))
    assert asked(found) == [("late", "2024-06-12", "2024-06-12")]
    assert range_tags(DayRange(day(3), day(3))).items() <= found[0].tags.items()
