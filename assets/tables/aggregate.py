"""The aggregation of events to any grain, frame by frame, so that no range must fit into memory.

Pure. Which columns a table has besides these figures is in `transforms`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.tables.calendar import with_local_time
from streaming.units import TRILLION

EVENT_COLUMNS: Final = {
    "event_time": pl.Int64,
    "user": pl.String,
    "item": pl.String,
    "quantity": pl.Int64,
    "amount_micros": pl.Int64,
    "order_id": pl.String,
    "country": pl.String,
}
"""An events frame: columns of `analytics_event` by their names; times in µs, money in micros."""

SUMS: Final = ("events", "items_sold", "gross_revenue_micros", "net_revenue_micros")
METRICS: Final = (*SUMS, "orders", "customers")
MONEY: Final = ("gross_revenue", "net_revenue")
DISTINCT: Final = {"orders": "order_id", "customers": "user"}
PASS_ROWS: Final = 4_000_000
"""Events of one pass over distinct values: three passes over ten million take 430 MiB."""
MERGE_ROWS: Final = 250_000
"""Rows of partial sums that may wait to be merged."""


@dataclass(frozen=True)
class Grain:
    """The columns that tell rows of figures apart, and the distinct counts that the table needs.

    Distinct counts take memory that grows with the number of values, so a table names only its own.
    """

    columns: tuple[str, ...]
    distinct: tuple[str, ...] = tuple(DISTINCT)


def add_local_columns(events: pl.DataFrame, zone: ZoneInfo) -> pl.LazyFrame:
    """Add the columns of grains: `all`, local `day` and `hour`; a missing country becomes ''."""
    return add_grain_columns(with_local_time(events, zone))


def add_grain_columns(events: pl.LazyFrame) -> pl.LazyFrame:
    """Add what `with_local_time` leaves of the columns of `add_local_columns`."""
    return events.with_columns(pl.lit(1, pl.Int64).alias("all"), pl.col("country").fill_null(""))


def aggregate(
    frames: Sequence[pl.LazyFrame], grains: Sequence[Grain]
) -> Mapping[Grain, pl.DataFrame]:
    """Aggregate the frames of `add_local_columns` to each grain.

    A result has the grain's columns, the metrics (money in 128 bits), `first_event`, `last_event`
    and `utc_offset`; its rows have no order. At least one frame is needed, which may be empty, and
    the cut into frames makes no difference. Events without a value for a column of a grain are left
    out of it. The frames are read once; more than `PASS_ROWS` once for the sums, and once for each
    pass over the values of a metric.
    """
    metrics = [metric for metric in DISTINCT if any(metric in grain.distinct for grain in grains)]
    values: list[pl.DataFrame] = []
    rows, sums = sum_frames(_collect(frames, grains, metrics, values), grains)
    passes = math.ceil(rows / PASS_ROWS)
    if passes > 1:
        counts = _count_in_passes(frames, grains, metrics, passes)
    else:
        counts = _count_distinct(values, grains, metrics)
    plans = [_join_counts(sums[grain], counts, grain) for grain in grains]
    return dict(zip(grains, pl.collect_all(plans), strict=True))


def sum_frames(
    frames: Iterable[pl.DataFrame], grains: Sequence[Grain]
) -> tuple[int, dict[Grain, pl.DataFrame]]:
    """Return the number of events, and what `aggregate` has of each grain but distinct counts."""
    rows, parts = 0, {grain: list[pl.DataFrame]() for grain in grains}
    for frame in frames:
        # One `collect_all` for all grains: polars computes what their plans share only once.
        events = _add_summands(frame)
        rows += events.height
        plans = [_sum_by_grain(events.lazy().drop_nulls(grain.columns), grain) for grain in grains]
        for grain, part in zip(grains, pl.collect_all(plans), strict=True):
            parts[grain] = _merge_large([*parts[grain], part], grain)
    return rows, {grain: _merge(of_grain, grain) for grain, of_grain in parts.items()}


def _collect(
    frames: Iterable[pl.LazyFrame],
    grains: Sequence[Grain],
    metrics: Sequence[str],
    values: list[pl.DataFrame],
) -> Iterator[pl.DataFrame]:
    """Read each frame; add to `values` what distinct counts need, while one pass has them all."""
    rows = 0
    for frame in frames:
        events = frame.collect()
        rows += events.height
        if rows <= PASS_ROWS:
            values.append(_select_values(events.lazy(), grains, metrics).collect())
        else:
            values.clear()
        yield events


def _merge_large(parts: list[pl.DataFrame], grain: Grain) -> list[pl.DataFrame]:
    """Merge partial sums once those after the first have as many rows as it, and many at all.

    So each row is merged a few times, however many frames and rows there are.
    """
    waiting = sum(part.height for part in parts[1:])
    return parts if waiting < max(parts[0].height, MERGE_ROWS) else [_merge(parts, grain)]


def _merge(parts: list[pl.DataFrame], grain: Grain) -> pl.DataFrame:
    if len(parts) == 1:
        return parts[0]
    return _sum_by_grain(pl.concat(parts).lazy(), grain).collect()


def _add_summands(events: pl.DataFrame) -> pl.DataFrame:
    """Add what the figures sum; an unknown amount adds nothing."""
    # A few thousand of the largest amounts are beyond 64 bits, and polars would wrap their sum.
    amount = pl.col("amount_micros").fill_null(0).cast(pl.Int128)
    return events.with_columns(
        pl.lit(1, pl.Int64).alias("events"),
        pl.col("quantity").alias("items_sold"),
        pl.when(pl.col("quantity") > 0).then(amount).otherwise(0).alias("gross_revenue_micros"),
        amount.alias("net_revenue_micros"),
        pl.col("event_time").alias("first_event"),
        pl.col("event_time").alias("last_event"),
    )


def _sum_by_grain(frame: pl.LazyFrame, grain: Grain) -> pl.LazyFrame:
    return frame.group_by(grain.columns).agg(
        pl.col(SUMS).sum(),
        pl.col("first_event", "utc_offset").min(),
        pl.col("last_event").max(),
    )


def _count_in_passes(
    frames: Sequence[pl.LazyFrame], grains: Sequence[Grain], metrics: Sequence[str], passes: int
) -> dict[Grain, pl.DataFrame]:
    """Count as `_count_distinct` does, metric by metric, with a part of its values at a time.

    A value is in one pass only, so the counts of the passes add up.
    """
    parts: dict[Grain, list[pl.DataFrame]] = {}
    for metric in metrics:
        value = pl.col(DISTINCT[metric])
        for number in range(passes):
            # By hash, because it cuts any values into parts of about the same size, without a look
            # at them.
            in_pass = value.is_not_null() & (value.hash() % passes == number)
            chosen = [
                _select_values(frame.filter(in_pass), grains, (metric,)).collect()
                for frame in frames
            ]
            for grain, counts in _count_distinct(chosen, grains, (metric,)).items():
                parts.setdefault(grain, []).append(counts)
    return {
        grain: pl.concat(counts, how="diagonal").group_by(grain.columns).agg(pl.all().sum())
        for grain, counts in parts.items()
    }


def _select_values(
    events: pl.LazyFrame, grains: Sequence[Grain], metrics: Sequence[str]
) -> pl.LazyFrame:
    """Select the values of metrics, and the columns of the grains that count one of them."""
    counting = [grain for grain in grains if not set(metrics).isdisjoint(grain.distinct)]
    columns = {column for grain in counting for column in grain.columns}
    values = [pl.col(DISTINCT[metric]).alias(metric) for metric in metrics]
    # Texts become numbers of 32 bits: four times as small, and twice as fast to compare.
    return events.select(*sorted(columns), *values).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    )


def _count_distinct(
    values: Sequence[pl.DataFrame], grains: Sequence[Grain], metrics: Sequence[str]
) -> dict[Grain, pl.DataFrame]:
    """Count the distinct values of metrics in each row of the grains that have one of them."""
    events = pl.concat(values).lazy()
    counted = {grain: [m for m in metrics if m in grain.distinct] for grain in grains}
    plans = {
        grain: events.drop_nulls(grain.columns)
        .group_by(grain.columns)
        .agg(pl.col(of_grain).drop_nulls().n_unique().cast(pl.Int64))
        .with_columns(pl.col(pl.Categorical).cast(pl.String))
        for grain, of_grain in counted.items()
        if of_grain
    }
    return dict(zip(plans, pl.collect_all(list(plans.values())), strict=True))


def _join_counts(
    sums: pl.DataFrame, counts: Mapping[Grain, pl.DataFrame], grain: Grain
) -> pl.LazyFrame:
    if grain not in counts:
        return sums.lazy()
    joined = sums.lazy().join(counts[grain].lazy(), on=grain.columns, how="left")
    # Rows that have only guests, or no order id, are missing from the counts of passes.
    return joined.with_columns(pl.col(grain.distinct).fill_null(0))


def split_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Split sums of money into the two columns of a table, as `units.split_sum` does."""
    return rows.with_columns(column for name in MONEY for column in _split(name))


def _split(name: str) -> tuple[pl.Expr, pl.Expr]:
    # The magnitude is divided, because polars rounds a negative quotient down.
    total = pl.col(f"{name}_micros")
    size, sign = total.abs(), total.sign()
    return (
        (sign * (size // TRILLION)).cast(pl.Int64).alias(f"{name}_trillions"),
        (sign * (size % TRILLION)).cast(pl.Int64).alias(f"{name}_micros"),
    )
