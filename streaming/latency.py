"""How long events took from their producer to the database, counted into a histogram.

Pure. What a worker hands over is in `worker`, Prometheus' form of it in `page.metrics`.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
NAMES: Final = tuple(map(str, BOUNDS))


class Latencies(Struct, frozen=True):
    """Of stored events: how many, their sum in seconds, and how many took at most each bound.

    The bounds are seconds as text, ascending.
    """

    events: int = 0
    seconds: float = 0.0
    within: dict[str, int] = {}


def with_events(known: Latencies, timestamps: Iterable[int], now: float) -> Latencies:
    """Add events that are stored at `now` (epoch s); `timestamps` are their origins' in ms.

    Sorted once, so that a bucket is one look whatever the number of events (0.1 µs each). What
    another clock dates into the future took no time.
    """
    sent, at = sorted(timestamps), now * 1000
    past = bisect_left(sent, at)
    within = {
        name: known.within.get(name, 0) + len(sent) - bisect_left(sent, at - bound * 1000)
        for name, bound in zip(NAMES, BOUNDS, strict=True)
    }
    seconds = known.seconds + (past * at - sum(sent[:past])) / 1000
    return Latencies(known.events + len(sent), round(seconds, 3), within)
