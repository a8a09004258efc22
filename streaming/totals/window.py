"""The sums of the last hour and of today, kept up to date by the rows that are new; pure.

The database groups the new rows, in `queries`; nothing here reads or sends.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

BUCKET_SECONDS: Final = 10
"""The width of a bar in the dashboard's chart of the last hour."""
BUCKETS: Final = 360
"""An hour of buckets."""
RANKS_KEPT: Final = 60
"""An hour of rankings, one a minute."""

Group = tuple[str, int, int, int]
"""A name, then events, items sold and net revenue in micros: a row as SQLite returns it."""


@dataclass
class Sums:
    """Additive figures: events, items_sold, net revenue in micros."""

    events: int = 0
    items_sold: int = 0
    net_revenue_micros: int = 0

    def add(self, events: int, items_sold: int, net_revenue_micros: int) -> None:
        """Add the figures of new rows."""
        self.events += events
        self.items_sold += items_sold
        self.net_revenue_micros += net_revenue_micros


@dataclass
class Window:
    """The last hour in buckets of ten seconds (by event time), and the day that is shown.

    `buckets` maps epoch seconds to sums. `ranks` holds the ranking of a minute each, oldest first.
    """

    day: str
    buckets: dict[int, Sums] = field(default_factory=dict)
    items: dict[str, Sums] = field(default_factory=dict)
    countries: dict[str, Sums] = field(default_factory=dict)
    ranks: deque[dict[str, int]] = field(default_factory=lambda: deque(maxlen=RANKS_KEPT))

    def add_buckets(self, groups: Iterable[tuple[int, int, int, int]]) -> None:
        """Add sums by the epoch second at which their bucket begins."""
        for start, *sums in groups:
            self.buckets.setdefault(start, Sums()).add(*sums)

    def add_items(self, groups: Iterable[Group]) -> None:
        """Add sums of the day by item."""
        for name, *sums in groups:
            self.items.setdefault(name, Sums()).add(*sums)

    def add_countries(self, groups: Iterable[Group]) -> None:
        """Add sums of the day by country."""
        for name, *sums in groups:
            self.countries.setdefault(name, Sums()).add(*sums)

    def forget_before(self, now: float) -> None:
        """Drop the buckets that are over an hour old; `now` is in epoch seconds."""
        first = bucket_of(now) - (BUCKETS - 1) * BUCKET_SECONDS
        for start in [start for start in self.buckets if start < first]:
            del self.buckets[start]

    def remember_ranks(self) -> None:
        """Keep today's ranking, so that a later one can say how it changed."""
        self.ranks.append({name: rank for rank, (name, _) in enumerate(best(self.items), 1)})

    def change_of_rank(self, item: str, rank: int) -> int | None:
        """Return by how many places an item climbed within the hour; None if it was not there."""
        before = self.ranks[0].get(item) if self.ranks else None
        return None if before is None else before - rank


def bucket_of(second: float) -> int:
    """Return the epoch second at which the bucket of a moment begins."""
    return int(second) // BUCKET_SECONDS * BUCKET_SECONDS


def best(figures: dict[str, Sums], limit: int | None = None) -> list[tuple[str, Sums]]:
    """Rank by items sold, then net revenue, then name."""
    ranked = sorted(
        figures.items(), key=lambda f: (-f[1].items_sold, -f[1].net_revenue_micros, f[0])
    )
    return ranked[:limit]
