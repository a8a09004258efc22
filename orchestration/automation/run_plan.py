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
from orchestration.automation.run_requests import days_request, summaries_request
from streaming.units import MICROS

MAX_RUNS: Final = 3
"""Runs of past and present days in one tick; fewer than `max_concurrent_runs` in `dagster.yaml`,
so that a summary finds a place beside them."""
BRIDGED_DAYS: Final = 31
"""A gap of current days that a range bridges: looking at a current day costs less than a run."""
PAUSE_SECONDS: Final = 600.0
"""The pause after a build of today or of a summary, which almost every new event makes stale."""
TODAY_PAUSES: Final = 5
"""The pause after a run for today, in durations of that run: it takes a sixth of the time."""
SUMMARY_PAUSES: Final = 10
"""The same for the summaries, whose runs read all events."""


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that is queued or works: its tables, and its days (None: it builds whole tables)."""

    days: DayRange | None
    tables: frozenset[str]


@dataclass(frozen=True)
class LastRun:
    """When the last successful run of a reason ended (epoch s), and its duration in seconds."""

    ended_at: float
    seconds: float


@dataclass(frozen=True)
class PlanInputs:
    """Everything that a plan is computed from; `last_runs` is by reason, `now` in µs."""

    stale: Sequence[StalePartition]
    history: DayRange
    unfinished: Sequence[UnfinishedRun]
    last_runs: Mapping[str, LastRun]
    now: int

    @property
    def today(self) -> date:
        """The running day, the last that has a partition."""
        return self.history.last


def plan_runs(inputs: PlanInputs) -> list[RunRequest]:
    """Return the runs to request: past days, newest first, then today, then the summaries."""
    days = uncovered_days(stale_days(inputs.stale, inputs.history, inputs.now), inputs.unfinished)
    requests = plan_past_days(inputs, [day for day in days if day != inputs.today])
    if inputs.today in days:
        requests += plan_today(inputs)
    return [*requests[:MAX_RUNS], *plan_summaries(inputs)]


def plan_past_days(inputs: PlanInputs, days: Iterable[date]) -> list[RunRequest]:
    """Return a request for each range of past days, newest first; they are due at once."""
    versions = newest_versions(inputs.stale)
    stale = set(days)
    return [
        days_request(joined, "late", max(versions[day] for day in stale if day in joined))
        for joined in join_days(stale)
    ]


def plan_today(inputs: PlanInputs) -> list[RunRequest]:
    """Return the request for today if it is due."""
    today = inputs.today
    stale = [p for p in inputs.stale if p.partition == today.isoformat()]
    if not is_due(stale, inputs.last_runs.get("current"), TODAY_PAUSES, inputs.now):
        return []
    version = newest_versions(stale)[today]
    return [days_request(DayRange(today, today), "current", version)]


def plan_summaries(inputs: PlanInputs) -> list[RunRequest]:
    """Return the request for the whole tables if they are due and no run builds them.

    One run builds all of them, so a request beside another could only wait for it.
    """
    tables = stale_summaries(inputs.stale, inputs.now)
    if not tables or any(run.days is None for run in inputs.unfinished):
        return []
    stale = [p for p in inputs.stale if p.partition == WHOLE]
    if not is_due(stale, inputs.last_runs.get("summary"), SUMMARY_PAUSES, inputs.now):
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
    stale: Sequence[StalePartition], last_run: LastRun | None, pauses: int, now: int
) -> bool:
    """Return whether partitions that are stale all the time may be built again at `now` (µs).

    They wait for ten minutes after the newest build, and for `pauses` durations of the last run
    after its end. A partition that was never built is due at once.
    """
    built_at = [partition.built_at for partition in stale]
    if None in built_at:
        return True
    if now - max((moment or 0 for moment in built_at), default=0) < PAUSE_SECONDS * MICROS:
        return False
    return last_run is None or now / MICROS - last_run.ended_at >= pauses * last_run.seconds


def newest_versions(stale: Iterable[StalePartition]) -> dict[date, int]:
    """Return the version of each day that has a stale table."""
    return {
        date.fromisoformat(partition.partition): partition.version
        for partition in stale
        if partition.table in DAY_TABLE_NAMES
    }
