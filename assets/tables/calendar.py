"""Local days and hours of events, by the same time zone database as the stream uses.

Ranges of days without times are in `day_range`.
"""

# Polars has a time zone database of its own. If the two differed by a rule, stream and batch half
# would give one event two days: so Python looks up the offsets, and polars only adds them.

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY_SECONDS: Final = 86_400


def day_window(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Return the times (µs, first and end) between which a local day lies.

    If clocks go back over midnight, the window holds moments of a neighbouring day too.
    """
    first = min(_midnights(day, zone))
    return first, max(_midnights(day + timedelta(1), zone))


def with_local_time(events: pl.DataFrame, zone: ZoneInfo) -> pl.LazyFrame:
    """Plan to add `utc_offset` (s), `day`, and `hour` (µs in UTC at which the local hour began)."""
    lowest, highest = events["event_time"].min(), events["event_time"].max()
    first = lowest if isinstance(lowest, int) else 0
    last = highest if isinstance(highest, int) else first
    return with_local_time_between(events.lazy(), zone, first, last)


def with_local_time_between(
    events: pl.LazyFrame, zone: ZoneInfo, first: int, last: int
) -> pl.LazyFrame:
    """Plan what `with_local_time` does, for events from `first` to `last` (µs) at most."""
    time = pl.col("event_time")
    (_, offset), *changes = utc_offsets(first, last, zone)
    seconds = pl.lit(offset, pl.Int64)
    # The latest change that a time has reached counts: it is asked for first.
    for at, offset in changes:
        seconds = pl.when(time >= at).then(pl.lit(offset, pl.Int64)).otherwise(seconds)
    local = time + pl.col("utc_offset") * SECOND
    return events.with_columns(utc_offset=seconds).with_columns(
        day=(local // (DAY_SECONDS * SECOND)).cast(pl.Int32).cast(pl.Date),
        hour=local - local % HOUR - pl.col("utc_offset") * SECOND,
    )


def utc_offsets(first: int, last: int, zone: ZoneInfo) -> list[tuple[int, int]]:
    """Return the zone's UTC offsets (s) between two times, each with its first time (µs).

    The first offset begins at `first`.
    """
    # Python lists no changes of a zone: each hour is compared with the one before, and bisection
    # finds the second of a change.
    low, end = first // SECOND, last // SECOND
    offsets = [(first, _offset(low, zone))]
    while low < end:
        high = min(low + 3_600, end)
        if _offset(high, zone) != offsets[-1][1]:
            before, after = low, high
            while after - before > 1:
                middle = (before + after) // 2
                same = _offset(middle, zone) == offsets[-1][1]
                before, after = (middle, after) if same else (before, middle)
            offsets.append((after * SECOND, _offset(after, zone)))
            high = after
        low = high
    return offsets


def _midnights(day: date, zone: ZoneInfo) -> list[int]:
    """Return the times (µs) of midnight; two different ones if clocks change over it."""
    return [
        int(datetime(day.year, day.month, day.day, tzinfo=zone, fold=fold).timestamp()) * SECOND
        for fold in (0, 1)
    ]


def _offset(second: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    return round((offset or timedelta(0)).total_seconds())
