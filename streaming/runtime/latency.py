"""Latencies of events from their producer to the database, as a histogram.

Pure. What a worker hands over is in `worker`, Prometheus' form of it in `dashboard.metrics`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from msgspec import Struct

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""From a quick commit to an hour: beyond that somebody has stopped the stream."""
NAMES: Final = tuple(map(str, BOUNDS))


class Latencies(Struct, frozen=True):
    """Of stored events: how many, their sum in seconds, and how many took at most each bound.

    The bounds are seconds as text, ascending.
    """

    events: int = 0
    seconds: float = 0.0
    within: dict[str, int] = {}


def with_latencies(latencies: Latencies, timestamps: Iterable[int], now: float) -> Latencies:
    """Return `latencies` with more events: stored at `now` (epoch s), made at `timestamps` (ms).

    An event that another clock dates into the future has latency 0.
    """
    # By the millisecond first: thousands of events share few of them.
    at, counts = now * 1000, sorted(Counter(timestamps).items())
    sent = [time for time, _ in counts]
    before = [0, *accumulate(count for _, count in counts)]
    within = {
        name: latencies.within.get(name, 0)
        + before[-1]
        - before[bisect_left(sent, at - bound * 1000)]
        for name, bound in zip(NAMES, BOUNDS, strict=True)
    }
    seconds = latencies.seconds + sum(max(at - time, 0) * count for time, count in counts) / 1000
    return Latencies(latencies.events + before[-1], round(seconds, 3), within)
