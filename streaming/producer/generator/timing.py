"""When generated purchases happen, where that is not now: days with busy and quiet hours.

A pure function of seed and start. How fast records are sent is `app.Pace`'s matter.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from math import log
from random import Random
from typing import Final

from streaming.producer.generator.orders import Line
from streaming.units import micros_of

ORDERS_PER_DAY: Final = 5_700
SECONDS_PER_DAY: Final = 86_400
MICROS: Final = 1_000_000
HOURS: Final = (
    *(0.25, 0.12, 0.08, 0.06, 0.06, 0.12),
    *(0.3, 0.6, 0.95, 1.3, 1.6, 1.75),
    *(1.9, 1.7, 1.5, 1.4, 1.35, 1.4),
    *(1.6, 1.85, 1.75, 1.35, 0.85, 0.45),
)


def dated(
    lines: Iterable[Line], seed: int, start: datetime, zone: tzinfo
) -> Iterator[tuple[int, Line]]:
    """Give each line its time in µs since 1970 UTC: the first at `start`, an order all at once.

    There are about 5,700 orders (20,000 lines) a day; the hours are those of `zone`.
    """
    random = Random(f"rhythm {seed}")  # noqa: S311 - chance, not secrecy
    micros = micros_of(start)
    begun = False
    for line in lines:
        if line.first and begun:
            hour = datetime.fromtimestamp(micros / MICROS, zone).hour
            mean = SECONDS_PER_DAY / (ORDERS_PER_DAY * HOURS[hour])
            gap = -log(1 - random.random()) * mean
            micros += 1000 * int(gap * 1000)
        begun = True
        yield micros, line
