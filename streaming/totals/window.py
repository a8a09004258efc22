"""The sums of the last hour and of today, kept up to date by the rows that are new; pure.

The database groups the new rows, in `queries`; nothing here reads or sends.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, Generic, NamedTuple, TypeVar

BUCKET_SECONDS: Final = 10
"""The width of a bar in the dashboard's chart of the last hour."""
BUCKETS: Final = 360
"""An hour of buckets."""
RANKS_KEPT: Final = 60
"""An hour of rankings, one a minute."""
RANKED_NAMES: Final = 1_000
"""Names of a ranking that is kept. All 150,000 items of a large shop would take 500 MB an hour."""
STALE_ENTRIES: Final = 1_000
"""Superseded entries that a small ranking may hold; a larger one holds as many as it has names."""

Key = TypeVar("Key")


class Group(NamedTuple, Generic[Key]):
    """Rows of one key, added up: of an item or country, or of the second a bucket begins at."""

    key: Key
    events: int
    items_sold: int
    net_revenue_micros: int


@dataclass(slots=True)
class RunningSums:
    """Additive figures: events, items_sold, net revenue in micros."""

    events: int = 0
    items_sold: int = 0
    net_revenue_micros: int = 0

    def add(self, events: int, items_sold: int, net_revenue_micros: int) -> None:
        """Add the figures of new rows."""
        self.events += events
        self.items_sold += items_sold
        self.net_revenue_micros += net_revenue_micros


class Ranking:
    """Sums by name, ordered by items sold, then net revenue, then name.

    A change costs the same whatever the number of names: it pushes one entry onto a heap, and the
    entry that it supersedes is dropped when it comes up, or when such entries are the most.
    """

    def __init__(self) -> None:
        self.sums: dict[str, RunningSums] = {}
        self._heap: list[tuple[int, int, str]] = []

    def add(self, groups: Iterable[Group[str]]) -> None:
        """Add the figures of new rows by name."""
        for name, *figures in groups:
            # The old entry stays in the heap, because finding it there would take a search of all.
            self.sums.setdefault(name, RunningSums()).add(*figures)
            heappush(self._heap, self._entry(name))
        if len(self._heap) > 2 * len(self.sums) + STALE_ENTRIES:
            self._heap = [self._entry(name) for name in self.sums]
            heapify(self._heap)

    def best(self, limit: int) -> list[tuple[str, RunningSums]]:
        """Return the first names with their sums."""
        best: list[tuple[int, int, str]] = []
        while self._heap and len(best) < limit:
            entry = heappop(self._heap)
            # A name that is back at earlier sums has two equal entries, one after the other.
            if entry == self._entry(entry[2]) and entry not in best[-1:]:
                best.append(entry)
        # Popped only to be looked at: the next sample needs them too.
        for entry in best:
            heappush(self._heap, entry)
        return [(name, self.sums[name]) for _, _, name in best]

    def _entry(self, name: str) -> tuple[int, int, str]:
        sums = self.sums[name]
        return -sums.items_sold, -sums.net_revenue_micros, name


@dataclass
class Window:
    """The last hour in buckets of ten seconds (by event time), and the day that is shown.

    `buckets` maps epoch seconds to sums. `ranks` holds the ranking of a minute each, oldest first.
    """

    day: str
    buckets: dict[int, RunningSums] = field(default_factory=dict)
    items: Ranking = field(default_factory=Ranking)
    countries: Ranking = field(default_factory=Ranking)
    ranks: deque[dict[str, int]] = field(default_factory=lambda: deque(maxlen=RANKS_KEPT))

    def add_buckets(self, groups: Iterable[Group[int]]) -> None:
        """Add sums by the epoch second at which their bucket begins."""
        for start, *sums in groups:
            self.buckets.setdefault(start, RunningSums()).add(*sums)

    def forget_before(self, now: float) -> None:
        """Drop the buckets that are over an hour old; `now` is in epoch seconds."""
        first = bucket_of(now) - (BUCKETS - 1) * BUCKET_SECONDS
        # A list, because a dictionary cannot lose entries while it is iterated.
        for start in [start for start in self.buckets if start < first]:
            del self.buckets[start]

    def remember_ranks(self) -> None:
        """Keep the head of today's ranking, so that a later one can say how it changed."""
        best = self.items.best(RANKED_NAMES)
        self.ranks.append({name: rank for rank, (name, _) in enumerate(best, 1)})

    def change_of_rank(self, item: str, rank: int) -> int | None:
        """Return by how many places an item climbed within the hour; None if it was not there."""
        before = self.ranks[0].get(item) if self.ranks else None
        return None if before is None else before - rank


def bucket_of(second: float) -> int:
    """Return the epoch second at which the bucket of a moment begins."""
    return int(second) // BUCKET_SECONDS * BUCKET_SECONDS
