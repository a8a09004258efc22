"""The run plan: which runs to request, from what is stale and what is under way.

All is pure. What is stale is computed in `assets.builds.staleness`; the sensor that reads it and
Dagster's list of runs is in `table_sensors`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from dagster import RunRequest

from assets.builds.staleness import StalePartition, stale_days, stale_summaries
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE
from assets.tables.sql_transform import is_day_table
from orchestration.automation.run_requests import (
    late_days_request,
    summaries_request,
    today_request,
)
from streaming.units import MICROS

LATE_RUNS: Final = 2
"""Unfinished runs of past days: one that works, and one that waits. More would only wait too, and
with today's and the summaries' they are no more than `max_concurrent_runs` in `dagster.yaml`."""
RECENT_DAYS: Final = 35
"""The newest days come first, in a run of their own: History shows 30 days at first."""
PIECE_DAYS: Final = 60
"""Other days of one run. Dagster records a planned event for each day and table of a range, at
10 ms: the tick that requests a year would take half a minute, and its newest days that long."""
RANGE_DAYS: Final = 2 * PIECE_DAYS
"""The longest range, with the days that it bridges."""
BEHIND_SECONDS: Final = 10.0
"""A stream that follows is less than a second behind, and one that reads a replay seconds to
minutes. A long run meanwhile would build days that change again, and keep the newest waiting."""
BRIDGED_DAYS: Final = 31
"""A gap of current days that a range bridges: looking at a current day costs less than a run."""
PAUSE_SECONDS: Final = 600.0
"""The pause after a build of a summary, which almost every new event makes stale."""
TODAY_SECONDS: Final = 60.0
"""From one build of today to the next: the process of a run starts for longer than it adds."""
TODAY_SHARE: Final = 20
"""Builds of today take at most a twentieth of a core: after one of 10 s the next waits 200 s.

CPU time counts, so that a build that waits for others does not keep today behind for longer.
"""
LACKING_SHARE: Final = 0.01
"""A summary that lacks more than this share of all events does not wait for ten minutes: it was
built while a replay or an import came in, and its newest customers would be missing that long."""
SUMMARY_PAUSES: Final = 10
"""The pause after a run for the summaries, in durations of that run: it reads all events."""


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that is queued or works: its tables, and its days (None: it builds whole tables)."""

    days: DayRange | frozenset[date] | None
    tables: frozenset[str]


@dataclass(frozen=True)
class LastRun:
    """When the last successful run of a reason ended (epoch s), and its duration in seconds."""

    ended_at: float
    seconds: float


@dataclass(frozen=True)
class PlanInputs:
    """Everything that a plan is computed from; `last_runs` is by reason, `now` in µs.

    `day_tables` are those that a run of days builds, those of files too. `behind_seconds` is how
    far the stream is behind its topics.
    """

    stale: Sequence[StalePartition]
    history: DayRange
    unfinished: Sequence[UnfinishedRun]
    last_runs: Mapping[str, LastRun]
    now: int
    behind_seconds: float = 0.0
    day_tables: Sequence[str] = DAY_TABLE_NAMES

    @property
    def today(self) -> date:
        """The running day, the last that has a partition."""
        return self.history.last


def plan_runs(inputs: PlanInputs) -> list[RunRequest]:
    """Return the runs to request: today, then some past days as one run, then the summaries."""
    days = uncovered_days(stale_days(inputs.stale, inputs.history, inputs.now), inputs.unfinished)
    today = plan_today(inputs) if inputs.today in days else []
    past = plan_past_days(inputs, [day for day in days if day != inputs.today])
    return [*today, *past, *plan_summaries(inputs)]


def plan_past_days(inputs: PlanInputs, days: Sequence[date]) -> list[RunRequest]:
    """Return one request for some of the past days, which are given newest first.

    There is none while `LATE_RUNS` are not finished.
    """
    unfinished = [run for run in inputs.unfinished if _is_of_past_days(run, inputs.today)]
    piece = next_piece(inputs, days)
    if not piece or len(unfinished) >= LATE_RUNS:
        return []
    versions = newest_versions(inputs.stale)
    joined = join_days(piece)
    # Days that lie close together are a range: Dagster shows its partitions while they are built.
    is_range = len(joined) == 1 and len(joined[0]) <= RANGE_DAYS
    past = joined[0] if is_range else frozenset(piece)
    # The version tells a person what the run was for. Nothing depends on it: a run builds what is
    # newest.
    return [late_days_request(past, max(versions[day] for day in piece), inputs.day_tables)]


def next_piece(inputs: PlanInputs, days: Sequence[date]) -> Sequence[date]:
    """Return the days of the next run: the recent ones, or the newest of the others.

    While the stream is behind the others wait.
    """
    recent = [day for day in days if (inputs.today - day).days <= RECENT_DAYS]
    if recent or inputs.behind_seconds > BEHIND_SECONDS:
        return recent
    return days[:PIECE_DAYS]


def _is_of_past_days(run: UnfinishedRun, today: date) -> bool:
    return run.days is not None and run.days != DayRange(today, today)


def plan_today(inputs: PlanInputs) -> list[RunRequest]:
    """Return the request for today if it is due."""
    today = inputs.today
    stale = [p for p in inputs.stale if p.partition == today.isoformat()]
    if not stale or today_due_at(stale) > inputs.now:
        return []
    version = newest_versions(stale)[today]
    return [today_request(today, version, inputs.day_tables)]


def today_due_at(stale: Sequence[StalePartition]) -> int:
    """Return from when on (µs) the stale tables of today may be built; 0 if one was never tried.

    The builds of a day share one reading, so the most that one took is what all together took.
    """
    # A build that failed is paced as one that did not: each new event permits another one.
    tried_at = [partition.tried_at for partition in stale]
    if not tried_at or None in tried_at:
        return 0
    cost = max(partition.cpu_time for partition in stale)
    # From the beginning of the build: its own time is part of the pause.
    begun = max(moment or 0 for moment in tried_at) - cost
    return begun + max(round(TODAY_SECONDS * MICROS), TODAY_SHARE * cost)


def plan_summaries(inputs: PlanInputs) -> list[RunRequest]:
    """Return the request for the whole tables if they are due and no run builds them.

    One run builds all of them, so a request beside another could only wait for it.
    """
    tables = stale_summaries(inputs.stale, inputs.now)
    if not tables or any(run.days is None for run in inputs.unfinished):
        return []
    stale = [p for p in inputs.stale if p.partition == WHOLE]
    lacks_many = any(p.behind > LACKING_SHARE * p.version for p in stale)
    pause = 0.0 if lacks_many else PAUSE_SECONDS
    if not is_due(stale, inputs.last_runs.get("summary"), SUMMARY_PAUSES, inputs.now, pause):
        return []
    return [summaries_request(max(p.version for p in stale if p.table in tables))]


def uncovered_days(
    days: Mapping[date, frozenset[str]], unfinished: Iterable[UnfinishedRun]
) -> list[date]:
    """Return the days, in order, that no unfinished run builds with all their stale tables."""
    runs = [(run.days, run.tables) for run in unfinished if run.days is not None]
    return [
        day
        for day, tables in days.items()
        if not any(day in covered and tables <= built for covered, built in runs)
    ]


def join_days(days: Iterable[date]) -> list[DayRange]:
    """Join days to ranges, newest first; a gap of up to `BRIDGED_DAYS` is bridged."""
    joined: list[DayRange] = []
    for day in sorted(days, reverse=True):
        if joined and (joined[-1].first - day).days <= BRIDGED_DAYS + 1:
            joined[-1] = DayRange(day, joined[-1].last)
        else:
            joined.append(DayRange(day, day))
    return joined


def is_due(
    stale: Sequence[StalePartition],
    last_run: LastRun | None,
    pauses: int,
    now: int,
    pause: float = PAUSE_SECONDS,
) -> bool:
    """Return whether partitions that are stale all the time may be built again at `now` (µs).

    They wait for `pause` seconds after the newest build or failed one, and for `pauses` durations
    of the last successful run after its end. A partition that was never tried is due at once.
    """
    tried_at = [partition.tried_at for partition in stale]
    if None in tried_at:
        return True
    if now - max((moment or 0 for moment in tried_at), default=0) < pause * MICROS:
        return False
    return last_run is None or now / MICROS - last_run.ended_at >= pauses * last_run.seconds


def newest_versions(stale: Iterable[StalePartition]) -> dict[date, int]:
    """Return the version of each day that has a stale table."""
    return {
        date.fromisoformat(partition.partition): partition.version
        for partition in stale
        if is_day_table(partition.table)
    }
