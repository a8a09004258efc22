"""The addition: rows of day tables and new events of the day give the rows of all of them.

Sums add up. A distinct count grows by the values that no earlier event of the same row has, and
only earlier events of the new events' orders and customers can have them. Pure. When a build may be
added to is in `assets.builds.addition`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from assets.tables.aggregate import (
    DISTINCT,
    MERGE_ROWS,
    MONEY,
    SUMS,
    Grain,
    sum_frames,
)
from assets.tables.transforms import Transform, table_rows
from streaming.units import TRILLION

Pairs = dict[tuple[str, Grain], pl.DataFrame]
"""The values of a metric in each row of a grain: one row for each value, by metric and grain."""


def add_events(
    tables: Sequence[pl.DataFrame],
    new: pl.DataFrame,
    earlier: Iterable[pl.LazyFrame],
    transforms: Sequence[Transform],
    partition: str,
) -> list[pl.DataFrame]:
    """Add the new events of a day to its rows in each table; return what `compute` does of all.

    All transforms are `additive`. `new` has the columns of `add_local_columns`, and so have the
    frames of `earlier`: at least all earlier events of the day that share an order or a customer
    with new ones. Memory is needed for the new events and one frame.
    """
    grains = [transform.grains[0] for transform in transforms]
    _, sums = sum_frames([new.lazy()], grains)
    counts = _count_pairs(_find_new_pairs(new, earlier, grains))
    figures = {
        grain: _add(table, _join_counts(sums[grain], counts, grain), grain)
        for table, grain in zip(tables, grains, strict=True)
    }
    return [table_rows(transform, figures, partition) for transform in transforms]


def related_values(new: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the orders and customers of new events, by column."""
    return {name: new[name].drop_nulls().unique() for name in DISTINCT.values()}


def _find_new_pairs(
    new: pl.DataFrame, earlier: Iterable[pl.LazyFrame], grains: Sequence[Grain]
) -> Pairs:
    """Return the values of the new events that no earlier event of the same row has."""
    pairs = {
        (metric, grain): new.lazy()
        .select(*grain.columns, pl.col(DISTINCT[metric]).alias(metric))
        .drop_nulls()
        .unique()
        for grain in grains
        for metric in grain.distinct
    }
    new_pairs = dict(zip(pairs, pl.collect_all(pairs.values()), strict=True))
    # Each frame of earlier events strikes out what it has, so no more than one is in memory.
    for metric, events in _collect_related(earlier, related_values(new), grains):
        of_metric = [pair for pair in new_pairs if pair[0] == metric]
        remaining = [
            new_pairs[pair].lazy().join(events.lazy(), on=[*pair[1].columns, metric], how="anti")
            for pair in of_metric
        ]
        new_pairs |= zip(of_metric, pl.collect_all(remaining), strict=True)
    return new_pairs


def _collect_related(
    earlier: Iterable[pl.LazyFrame], values: Mapping[str, pl.Series], grains: Sequence[Grain]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Collect, by metric, the events that have one of its values, with the columns of grains."""
    columns = sorted({name for grain in grains for name in grain.columns})
    related: dict[str, list[pl.DataFrame]] = {metric: [] for metric in DISTINCT}
    for frame in earlier:
        # One by one: a condition about both columns is read in twice the time, as a file's limits
        # then rule out nothing, and each related event is compared with the pairs of both.
        for metric, name in DISTINCT.items():
            chosen = frame.filter(pl.col(name).is_in(values[name].implode()))
            related[metric].append(chosen.select(*columns, pl.col(name).alias(metric)).collect())
            # Small ones are joined, because each joined one is compared with all pairs.
            if sum(each.height for each in related[metric]) >= MERGE_ROWS:
                yield metric, pl.concat(related[metric])
                related[metric] = []
    yield from ((metric, pl.concat(frames)) for metric, frames in related.items() if frames)


def _count_pairs(pairs: Pairs) -> dict[tuple[str, Grain], pl.DataFrame]:
    return {
        (metric, grain): of_grain.group_by(grain.columns).agg(pl.len().cast(pl.Int64).alias(metric))
        for (metric, grain), of_grain in pairs.items()
    }


def _join_counts(
    sums: pl.DataFrame, counts: Mapping[tuple[str, Grain], pl.DataFrame], grain: Grain
) -> pl.DataFrame:
    for metric in grain.distinct:
        sums = sums.join(counts[metric, grain], on=grain.columns, how="left").with_columns(
            pl.col(metric).fill_null(0)
        )
    return sums


def _add(table: pl.DataFrame, new: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """Add the figures of new events to those that a table's rows have; sums of money are whole."""
    # In Int128, because a sum of trillions and micros does not fit 64 bits.
    whole = [
        (pl.col(f"{name}_trillions").cast(pl.Int128) * TRILLION + pl.col(f"{name}_micros")).alias(
            f"{name}_micros"
        )
        for name in MONEY
    ]
    # A table lacks some figures that every grain has, such as the first and the last event.
    names = [name for name in new.columns if name in table.columns]
    joined = pl.concat([table.with_columns(whole).select(names), new.select(names)])
    offset = [pl.col("utc_offset").min()] if "utc_offset" in names else []
    return joined.group_by(grain.columns).agg(pl.col(*SUMS, *grain.distinct).sum(), *offset)
