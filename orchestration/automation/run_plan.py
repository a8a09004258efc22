"""Which runs to ask for, from what is stale and what is under way. Pure.

What is stale is told by `assets.staleness`, what is under way by Dagster's list of runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from dagster import RunRequest

from assets.builds.staleness import Difference, stale_days, stale_summaries
from assets.tables.models import DAY_TABLE_NAMES
from orchestration.automation.run_requests import DayRange, days_request, summaries_request

MOST_RUNS: Final = 3
BRIDGED_DAYS: Final = 31
MICROS: Final = 1_000_000
PAUSE_SECONDS: Final = 600.0
CURRENT_SHARE: Final = 5
SUMMARY_SHARE: Final = 10


@dataclass(frozen=True)
class UnderWay:
    """A run that is queued or works: its days (None: the whole tables), and its tables."""

    days: DayRange | None
    tables: frozenset[str]


@dataclass(frozen=True)
class LastRun:
    """When the last run of a reason ended (epoch s), and how many seconds it took."""

    ended_at: float
    seconds: float


@dataclass(frozen=True)
class Moment:
    """What a plan is made from; `last` has the last run by reason, `now` is in µs."""

    differences: Sequence[Difference]
    first_day: date
    today: date
    under_way: Sequence[UnderWay]
    last: Mapping[str, LastRun]
    now: int


def plan(moment: Moment) -> list[RunRequest]:
    """Give the runs to ask for: past days, newest first, then today, then the summaries."""
    stale = {
        day: tables
        for day, tables in stale_days(
            moment.differences, moment.first_day, moment.today, moment.now
        ).items()
        if not _covered(day, tables, moment.under_way)
    }
    versions = _versions(moment.differences)
    today = stale.pop(moment.today, None)
    requests = [
        days_request(days, "late", max(versions[day] for day in stale if day in days))
        for days in ranges(stale)[:MOST_RUNS]
    ]
    if today and len(requests) < MOST_RUNS and _due(moment, "current", CURRENT_SHARE):
        version = versions[moment.today]
        requests.append(days_request(DayRange(moment.today, moment.today), "current", version))
    summaries = stale_summaries(moment.differences, moment.now)
    if summaries and not _summarised(moment) and _due(moment, "summary", SUMMARY_SHARE):
        version = max(d.version for d in moment.differences if d.table in summaries)
        requests.append(summaries_request(version))
    return requests


def ranges(days: Iterable[date]) -> list[DayRange]:
    """Join days to ranges, newest first; a gap of up to `BRIDGED_DAYS` is bridged."""
    found: list[DayRange] = []
    for day in sorted(days, reverse=True):
        if found and (found[-1].first - day).days <= BRIDGED_DAYS + 1:
            found[-1] = DayRange(day, found[-1].last)
        else:
            found.append(DayRange(day, day))
    return found


def _covered(day: date, tables: frozenset[str], under_way: Iterable[UnderWay]) -> bool:
    return any(run.days and day in run.days and tables <= run.tables for run in under_way)


def _summarised(moment: Moment) -> bool:
    return any(run.days is None and run.tables for run in moment.under_way)


def _due(moment: Moment, reason: str, share: int) -> bool:
    """Say whether the last run of this reason was long enough ago: ten minutes, or its own share.

    Tables that were never built are due at once.
    """
    wanted = [d for d in moment.differences if _is_of(d, reason, moment.today)]
    if any(difference.built_at is None for difference in wanted):
        return True
    built_at = max((d.built_at or 0 for d in wanted), default=0)
    if moment.now - built_at < PAUSE_SECONDS * MICROS:
        return False
    last = moment.last.get(reason)
    return last is None or moment.now / MICROS - last.ended_at >= share * last.seconds


def _is_of(difference: Difference, reason: str, today: date) -> bool:
    if reason == "summary":
        return difference.table not in DAY_TABLE_NAMES
    return difference.partition == today.isoformat()


def _versions(differences: Iterable[Difference]) -> dict[date, int]:
    return {
        date.fromisoformat(d.partition): d.version
        for d in differences
        if d.table in DAY_TABLE_NAMES
    }
