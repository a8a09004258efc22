"""Event times of generated purchases, if they are not now: days with busy and quiet hours.

A pure function of seed and start. How fast records are sent is decided in `pace`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from math import log
from random import Random
from typing import Final

from streaming.producer.generator.orders import Line
from streaming.units import micros_of

ORDERS_PER_DAY: Final = 5_700
"""About 20,000 purchases: an order has 1 / (1 - 0.72) lines on average (`orders.ANOTHER_LINE`)."""
SECONDS_PER_DAY: Final = 86_400
MICROS: Final = 1_000_000
# How busy each hour of the day is against the mean of 1.
HOURS: Final = (
    *(0.25, 0.12, 0.08, 0.06, 0.06, 0.12),
    *(0.3, 0.6, 0.95, 1.3, 1.6, 1.75),
    *(1.9, 1.7, 1.5, 1.4, 1.35, 1.4),
    *(1.6, 1.85, 1.75, 1.35, 0.85, 0.45),
)


def add_times(
    lines: Iterable[Line], seed: int, start: datetime, zone: tzinfo
) -> Iterator[tuple[int, Line]]:
    """Yield each line with its time, in µs since 1970 UTC: the first is `start`.

    The lines of an order have one time. There are about 5,700 orders (20,000 lines) a day, and the
    busy hours are those of `zone`.
    """
    # The text is part of the contract: another would give a seed other purchases.
    random = Random(f"rhythm {seed}")  # noqa: S311 - chance, not secrecy
    micros = micros_of(start)
    begun = False
    for line in lines:
        if line.first and begun:
            hour = datetime.fromtimestamp(micros / MICROS, zone).hour
            mean = SECONDS_PER_DAY / (ORDERS_PER_DAY * HOURS[hour])
            # Orders come independently, so that their gaps are exponential; `random()` is below 1.
            gap = -log(1 - random.random()) * mean
            micros += 1000 * int(gap * 1000)
        begun = True
        yield micros, line
