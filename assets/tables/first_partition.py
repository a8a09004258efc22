"""The first partition of Dagster's that `up` starts: of 6,000 days since 2010, few shops fill many.

Dagster is not imported here, because `up` starts without it. The partitions are in `partitions`.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

from streaming.settings import Settings

FIRST_PARTITION: Final = "DAGSTER_FIRST_PARTITION"
"""The variable by which `up` tells its Dagster the first partition; it is not a setting, because
the stream must not refuse an older purchase."""
RECENT_DAYS: Final = 400
"""So many days have partitions at least: the first import of a year needs no restart."""


def choose_first_partition(settings: Settings, first_stored: date | None, now: datetime) -> date:
    """Return the first partition that the stored days need.

    `first_stored` is None if nothing is stored.
    """
    recent = now.astimezone(settings.zone).date() - timedelta(RECENT_DAYS)
    return max(settings.history_start, min(recent, first_stored or recent))


def with_first_partition(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Return settings whose history begins at the partition that the environment names, if any."""
    first = environment.get(FIRST_PARTITION)
    if first is None:
        return settings
    return settings.model_copy(update={"history_start": date.fromisoformat(first)})
