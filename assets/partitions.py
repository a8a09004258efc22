"""The day partitions of history: from its first day to today, included.

The first day is `PURCHASES_HISTORY_START`, or a later one that `up` chose by what is stored
(`tables.first_partition`).

Which of them are stale is in `builds.staleness`; when a day begins in UTC is in `tables.calendar`.
"""

from datetime import date, datetime

from dagster import DailyPartitionsDefinition

from streaming.settings import Settings


def day_partitions(settings: Settings) -> DailyPartitionsDefinition:
    """Return the partitions, named like `2011-03-27`, cut in the deployment's time zone."""
    # `end_offset=1` makes the running day a partition; Dagster's default ends with yesterday.
    return DailyPartitionsDefinition(
        start_date=settings.history_start.isoformat(), timezone=settings.timezone, end_offset=1
    )


def today(settings: Settings, now: datetime) -> date:
    """Return the local day of `now`, which is the last partition."""
    return now.astimezone(settings.zone).date()
