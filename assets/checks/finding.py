"""What a check looks at, and what it found; the checks are in `reconciled` and `health`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from assets.partitions import today
from streaming.settings import Settings

EXAMPLES: Final = 10


@dataclass(frozen=True)
class Finding:
    """Whether all is well, a sentence about it, and numbers by name.

    `examples` are sentences about the first things that are wrong. `warns` says that what is wrong
    needs a look, but that no figure is.
    """

    well: bool
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    warns: bool = False


@dataclass(frozen=True)
class Scene:
    """The deployment, the time (µs), and the days from `first` to `last` that have partitions."""

    settings: Settings
    now: int

    @property
    def first(self) -> date:
        """The first day of history."""
        return self.settings.history_start

    @property
    def last(self) -> date:
        """The local day of now."""
        return today(self.settings, datetime.fromtimestamp(self.now / 1_000_000, UTC))
