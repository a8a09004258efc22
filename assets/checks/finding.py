"""The context that a check gets, and the finding that it returns.

The checks are in `reconciliation` and `stream_health`; how Dagster runs them is in `asset_checks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from assets.partitions import today
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from streaming.units import MICROS

EXAMPLES: Final = 10
"""Sentences of one finding: enough to see a pattern, few enough to read in Dagster."""


@dataclass(frozen=True)
class Finding:
    """The result of an asset check: passed or not, a sentence, and numbers by name.

    `examples` are sentences about the first faults. `is_warning` says that a person should look at
    a fault, but that no figure is wrong.
    """

    passed: bool
    description: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    is_warning: bool = False


@dataclass(frozen=True)
class CheckContext:
    """The deployment, the time of the check (µs), and the days that have partitions."""

    settings: Settings
    now: int

    @property
    def history(self) -> DayRange:
        """The days that have partitions: from the start of history to the local day of `now`."""
        now = datetime.fromtimestamp(self.now / MICROS, UTC)
        return DayRange(self.settings.history_start, today(self.settings, now))
