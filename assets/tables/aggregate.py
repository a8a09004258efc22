"""The aggregation of events to any grain, frame by frame, so that no range must fit into memory.

Pure. Which columns a table has besides these figures is in `transforms`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
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


@dataclass(frozen=True)
class Grain:
    """The columns that tell rows of figures apart, and the distinct counts that the table needs.

    Distinct counts take memory that grows with the number of values, so a table names only its own.
    """

    columns: tuple[str, ...]
    distinct: tuple[str, ...] = tuple(DISTINCT)


@dataclass(frozen=True)
class _Part:
    """The partial figures of a grain from some events: sums, and the distinct values by metric."""

    sums: pl.DataFrame
    distinct: Mapping[str, pl.DataFrame]


def add_grain_columns(events: pl.DataFrame, zone: ZoneInfo) -> pl.LazyFrame:
    """Add the columns of grains (`all`, local `day` and `hour`) and the summands of the figures.

    A missing country becomes the empty text, and an unknown amount adds nothing.
    """
    # A few thousand of the largest amounts are beyond 64 bits, and polars would wrap their sum.
    amount = pl.col("amount_micros").fill_null(0).cast(pl.Int128)
    return with_local_time(events, zone).with_columns(
        pl.lit(1, pl.Int64).alias("all"),
        pl.col("country").fill_null(""),
        pl.lit(1, pl.Int64).alias("events"),
        pl.col("quantity").alias("items_sold"),
        pl.when(pl.col("quantity") > 0).then(amount).otherwise(0).alias("gross_revenue_micros"),
        amount.alias("net_revenue_micros"),
        pl.col("event_time").alias("first_event"),
        pl.col("event_time").alias("last_event"),
    )


def aggregate(
    frames: Iterable[pl.LazyFrame], grains: Sequence[Grain]
) -> Mapping[Grain, pl.DataFrame]:
    """Aggregate the frames of `add_grain_columns` to each grain.

    A result has the grain's columns, the metrics (money in 128 bits), `first_event`, `last_event`
    and `utc_offset`; its rows have no order. At least one frame is needed, which may be empty, and
    the cut into frames makes no difference. Events without a value for a column of a grain are left
    out of it.
    """
    parts = reduce(_merge, (_compute_parts(frame, grains) for frame in frames))
    plans = [_finish(part, grain) for grain, part in parts.items()]
    return dict(zip(parts, pl.collect_all(plans), strict=True))


def _compute_parts(frame: pl.LazyFrame, grains: Sequence[Grain]) -> dict[Grain, _Part]:
    """Compute the partial figures of one frame; nothing of its events is kept."""
    # One `collect_all` for all grains: polars computes what their plans share only once.
    events = frame.collect().lazy()
    plans = []
    for grain in grains:
        complete = events.drop_nulls(grain.columns)
        plans.append(_sum_by_grain(complete, grain))
        plans += [_distinct_values(complete, grain, metric) for metric in grain.distinct]
    results = iter(pl.collect_all(plans))
    return {
        grain: _Part(next(results), {metric: next(results) for metric in grain.distinct})
        for grain in grains
    }


def _merge(one: dict[Grain, _Part], other: dict[Grain, _Part]) -> dict[Grain, _Part]:
    return {
        grain: _Part(
            _sum_by_grain(pl.concat([part.sums, other[grain].sums]).lazy(), grain).collect(),
            {
                metric: pl.concat([values, other[grain].distinct[metric]]).unique()
                for metric, values in part.distinct.items()
            },
        )
        for grain, part in one.items()
    }


def _sum_by_grain(frame: pl.LazyFrame, grain: Grain) -> pl.LazyFrame:
    return frame.group_by(grain.columns).agg(
        pl.col(SUMS).sum(),
        pl.col("first_event", "utc_offset").min(),
        pl.col("last_event").max(),
    )


def _distinct_values(frame: pl.LazyFrame, grain: Grain, metric: str) -> pl.LazyFrame:
    """Select the values that a metric counts, each once in a row of the grain."""
    value = pl.col(DISTINCT[metric]).alias(metric)
    return frame.select(*grain.columns, value).drop_nulls().unique()


def _finish(part: _Part, grain: Grain) -> pl.LazyFrame:
    finished = part.sums.lazy()
    for metric, values in part.distinct.items():
        # Rows that have only guests, or no order id, are missing from the counts: 0 by the join.
        counts = values.lazy().group_by(grain.columns).agg(pl.len().cast(pl.Int64).alias(metric))
        finished = finished.join(counts, on=grain.columns, how="left").with_columns(
            pl.col(metric).fill_null(0)
        )
    return finished


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
