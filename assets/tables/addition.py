"""The addition: rows of day tables and new events of the day give the rows of all of them.

Sums add up. A distinct count grows by the values that no earlier event of the same row has. Only
earlier events of the new events' orders and customers can have them. Pure. When a build may be
added to is in `assets.builds.addition`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class NewPairs:
    """The values of a metric in the rows of each grain: one row of a frame for each value."""

    metric: str
    by_grain: Mapping[Grain, pl.DataFrame]

    # Asked for each frame of earlier events, of which many are compared with the same pairs.
    # Hashes, because equal ones have equal hashes, and numbers are found faster than texts.
    @cached_property
    def value_hashes(self) -> pl.Series:
        """The hashes of all values."""
        hashed = [pairs.select(pl.col(self.metric).hash()) for pairs in self.by_grain.values()]
        return pl.concat(hashed).to_series().unique()

    @cached_property
    def pair_hashes(self) -> dict[Grain, pl.Series]:
        """The hashes of the pairs, of the grains that have any left."""
        return {
            grain: pairs.select(_hash_pair(grain, self.metric)).to_series()
            for grain, pairs in self.left.items()
        }

    @property
    def left(self) -> dict[Grain, pl.DataFrame]:
        """The pairs of the grains that have any left: the others need nothing more."""
        return {grain: pairs for grain, pairs in self.by_grain.items() if pairs.height}


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
    _, sums = sum_frames([new], grains)
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
) -> list[NewPairs]:
    """Return the values of the new events that no earlier event of the same row has, by metric."""
    counted = [metric for metric in DISTINCT if any(metric in grain.distinct for grain in grains)]
    new_pairs = [_list_pairs(new, metric, grains) for metric in counted]
    related: list[list[pl.DataFrame]] = [[] for _ in new_pairs]
    for frame in earlier:
        # Metric by metric: hardly any event has an order of the new ones, many have a customer.
        for number, (pairs, waiting) in enumerate(zip(new_pairs, related, strict=True)):
            if pairs.left:
                waiting.append(_select_candidates(_select_related(frame, pairs).collect(), pairs))
            # Small ones are joined, because each joined one is compared with all pairs.
            if sum(events.height for events in waiting) >= MERGE_ROWS:
                new_pairs[number] = _strike_out(pairs, waiting)
                waiting.clear()
    return list(map(_strike_out, new_pairs, related))


def _list_pairs(new: pl.DataFrame, metric: str, grains: Sequence[Grain]) -> NewPairs:
    value = pl.col(DISTINCT[metric]).alias(metric)
    counted = [grain for grain in grains if metric in grain.distinct]
    pairs = [new.lazy().select(*grain.columns, value).drop_nulls().unique() for grain in counted]
    return NewPairs(metric, dict(zip(counted, pl.collect_all(pairs), strict=True)))


def _select_related(events: pl.LazyFrame, pairs: NewPairs) -> pl.LazyFrame:
    """Select the events that may have one of the values, with the columns of the pairs."""
    value = pl.col(DISTINCT[pairs.metric])
    columns = sorted({name for grain in pairs.left for name in grain.columns})
    related = events.filter(value.hash().is_in(pairs.value_hashes.implode()))
    return related.select(*columns, value.alias(pairs.metric))


def _select_candidates(related: pl.DataFrame, pairs: NewPairs) -> pl.DataFrame:
    """Select the related events that may have a pair, so that few texts have to be compared."""
    if not related.height:
        return related
    same = [
        _hash_pair(grain, pairs.metric).is_in(hashes.implode())
        for grain, hashes in pairs.pair_hashes.items()
    ]
    return related.filter(pl.any_horizontal(same))


def _hash_pair(grain: Grain, metric: str) -> pl.Expr:
    return pl.struct(*grain.columns, metric).hash()


def _strike_out(pairs: NewPairs, related: Sequence[pl.DataFrame]) -> NewPairs:
    """Return the pairs that no related event has."""
    if not related:
        return pairs
    events = pl.concat(related).lazy()
    compared = [
        of_grain.lazy().join(events, on=[*grain.columns, pairs.metric], how="anti")
        for grain, of_grain in pairs.left.items()
    ]
    left = dict(zip(pairs.left, pl.collect_all(compared), strict=True))
    return NewPairs(pairs.metric, {**pairs.by_grain, **left})


def _count_pairs(new_pairs: Iterable[NewPairs]) -> dict[tuple[str, Grain], pl.DataFrame]:
    return {
        (pairs.metric, grain): of_grain.group_by(grain.columns).agg(
            pl.len().cast(pl.Int64).alias(pairs.metric)
        )
        for pairs in new_pairs
        for grain, of_grain in pairs.by_grain.items()
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
