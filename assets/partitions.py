"""The day partitions of history: from `PURCHASES_HISTORY_START` on, today included.

Which of them are stale is in `staleness`; where a day begins and ends in UTC is in `days`.
"""

from datetime import date, datetime, timedelta

from dagster import DailyPartitionsDefinition

from streaming.settings import Settings


def day_partitions(settings: Settings) -> DailyPartitionsDefinition:
    """Give the partitions, named like `2011-03-27`, cut in the deployment's time zone."""
    return DailyPartitionsDefinition(
        start_date=settings.history_start.isoformat(), timezone=settings.timezone, end_offset=1
    )


def today(settings: Settings, now: datetime) -> date:
    """Give the local day of `now`, the last partition."""
    return now.astimezone(settings.zone).date()


def days_between(first: date, last: date) -> list[date]:
    """Give the days from `first` to `last`, both included."""
    return [first + timedelta(number) for number in range((last - first).days + 1)]
