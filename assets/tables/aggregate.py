"""Adding events up to any grain, frame by frame, so that no range need fit into memory at once.

Pure. What columns a table has besides these figures is in `transforms`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.tables.calendar import with_local_time

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


DISTINCT: Final = {"orders": "order_id", "customers": "user"}


@dataclass(frozen=True)
class Grain:
    """What one row of figures is of: its columns, and which metrics of distinct things it needs.

    Counting those takes memory that grows with their number, so a table asks only for its own.
    """

    columns: tuple[str, ...]
    distinct: tuple[str, ...] = tuple(DISTINCT)


@dataclass(frozen=True)
class _Part:
    """What some events add to the figures of a grain: sums, and by metric what is counted once."""

    sums: pl.DataFrame
    distinct: Mapping[str, pl.DataFrame]


def prepared(events: pl.DataFrame, zone: ZoneInfo) -> pl.LazyFrame:
    """Add what grains are made of and sums are of: `all` (1), local `day` and `hour`, figures.

    A country that is not given is the empty text, an unknown amount adds nothing.
    """
    amount = pl.col("amount_micros").fill_null(0)
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


def figures(
    frames: Iterable[pl.LazyFrame], grains: Sequence[Grain]
) -> Mapping[Grain, pl.DataFrame]:
    """Add up prepared frames to each grain: its columns, the metrics, `first_`, `last_event`.

    At least one frame is needed, which may be empty; how the events were cut into frames makes no
    difference. `utc_offset` is there too, for the hours. Rows come in no order. Events without a
    value for a column of a grain are left out of it.
    """
    parts = reduce(_added, (_parts(frame, grains) for frame in frames))
    finished = [_finished(part, grain) for grain, part in parts.items()]
    return dict(zip(parts, pl.collect_all(finished), strict=True))


def _parts(frame: pl.LazyFrame, grains: Sequence[Grain]) -> dict[Grain, _Part]:
    """Return what one frame adds, computed: of its events nothing is kept."""
    events = frame.collect().lazy()
    plans = []
    for grain in grains:
        known = events.drop_nulls(grain.columns)
        plans.append(_summed(known, grain))
        plans += [_once(known, grain, metric) for metric in grain.distinct]
    found = iter(pl.collect_all(plans))
    return {
        grain: _Part(next(found), {metric: next(found) for metric in grain.distinct})
        for grain in grains
    }


def _added(one: dict[Grain, _Part], other: dict[Grain, _Part]) -> dict[Grain, _Part]:
    return {
        grain: _Part(
            _summed(pl.concat([part.sums, other[grain].sums]).lazy(), grain).collect(),
            {
                metric: pl.concat([known, other[grain].distinct[metric]]).unique()
                for metric, known in part.distinct.items()
            },
        )
        for grain, part in one.items()
    }


def _summed(frame: pl.LazyFrame, grain: Grain) -> pl.LazyFrame:
    return frame.group_by(grain.columns).agg(
        pl.col(SUMS).sum(),
        pl.col("first_event", "utc_offset").min(),
        pl.col("last_event").max(),
    )


def _once(frame: pl.LazyFrame, grain: Grain, metric: str) -> pl.LazyFrame:
    """Return what a metric counts, under its name, once in each row of the grain."""
    counted = pl.col(DISTINCT[metric]).alias(metric)
    return frame.select(*grain.columns, counted).drop_nulls().unique()


def _finished(part: _Part, grain: Grain) -> pl.LazyFrame:
    finished = part.sums.lazy()
    for metric, known in part.distinct.items():
        counts = known.lazy().group_by(grain.columns).agg(pl.len().cast(pl.Int64).alias(metric))
        finished = finished.join(counts, on=grain.columns, how="left").with_columns(
            pl.col(metric).fill_null(0)
        )
    return finished
