"""The transforms: from figures by grain to the rows of each table, with ranks and scores.

Pure: frames in, frames out. A new table is one more `Transform` here; reading and writing name no
table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from inspect import cleandoc
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.tables.aggregate import METRICS, Grain, add_local_columns, aggregate, split_sums
from assets.tables.models import (
    WHOLE,
    CustomerSummary,
    DailyCountrySales,
    DailyItemSales,
    DailySales,
    HourlySales,
    SalesSummary,
)
from streaming.store.models import Table, table_name

Figures = Mapping[Grain, pl.DataFrame]

ALL: Final = Grain(("all",))
DAY: Final = Grain(("day",))
HOUR: Final = Grain(("day", "hour"))
DAY_ITEM: Final = Grain(("day", "item"))
DAY_COUNTRY: Final = Grain(("day", "country"))
ITEM: Final = Grain(("item",), distinct=())
USER: Final = Grain(("user",), distinct=("orders",))
BEST_FIRST: Final = ("items_sold", "net_revenue_micros", "item")
DAY_MICROS: Final = 86_400_000_000


@dataclass(frozen=True)
class Transform:
    """The computation of a table: the grains that it needs, and its rows from their figures.

    `rows` gets the figures, with sums of money whole in one column, and the partition. A change of
    `rows` needs another `code_version`: builds of the old one are not current then. `guests` says
    whether the table's sums include the events of guests; only a whole table may leave them out.
    `additive` says that the table's rows are those of its one grain with all figures of it, so that
    new events of a day can be added to them.
    """

    model: type[Table]
    grains: tuple[Grain, ...]
    rows: Callable[[Figures, str], pl.DataFrame]
    code_version: str = "1"
    guests: bool = True
    additive: bool = False

    @property
    def table(self) -> str:
        """The table's name in the database and in Dagster."""
        return table_name(self.model)

    @property
    def description(self) -> str:
        """What the table has, as Dagster shows it."""
        return cleandoc(self.model.__doc__ or "")

    @property
    def by_day(self) -> bool:
        """Whether its partitions are days; otherwise `all` is the only one."""
        return "day" in self.columns

    @property
    def columns(self) -> list[str]:
        """The table's columns in order."""
        return list(self.model.model_fields)

    @property
    def key(self) -> list[str]:
        """The columns of the primary key, by which the rows are sorted."""
        return [column.name for column in Table.metadata.tables[self.table].primary_key]


def select_partition(events: pl.DataFrame, partition: str, zone: ZoneInfo) -> pl.LazyFrame:
    """Plan to select the events of a partition from a frame of `EVENT_COLUMNS`.

    A partition is a day such as `2011-03-27`, or `all`. The result has the columns of
    `add_local_columns`.
    """
    local = add_local_columns(events, zone)
    if partition == WHOLE:
        return local
    return local.filter(pl.col("day") == date.fromisoformat(partition))


def compute(
    frames: Sequence[pl.LazyFrame], transforms: Sequence[Transform], partition: str
) -> list[pl.DataFrame]:
    """Compute the rows of each table from all frames of `select_partition`, at least one.

    Many frames are read several times. Rows are sorted by the table's primary key, with the table's
    columns in their order.
    """
    # A dict keeps the order of the grains: a set would make each run another query plan.
    needed = list({grain: None for transform in transforms for grain in transform.grains})
    figures = aggregate(frames, needed)
    return [table_rows(transform, figures, partition) for transform in transforms]


def compute_days(
    frames: Sequence[pl.LazyFrame], transforms: Sequence[Transform], days: Sequence[str]
) -> dict[str, dict[str, pl.DataFrame]]:
    """Compute what `compute` gives of each day, by one aggregation of frames of all days.

    Return the rows by day and table. Each grain of the transforms has the column `day`. Events of
    other days are left out.
    """
    needed = list({grain: None for transform in transforms for grain in transform.grains})
    figures = aggregate(frames, needed)
    by_day = {grain: rows.partition_by("day", as_dict=True) for grain, rows in figures.items()}
    return {
        day: {transform.table: table_rows(transform, of_day, day) for transform in transforms}
        for day in days
        for of_day in [
            {
                # A day without events has an empty frame with the same columns.
                grain: rows.get((date.fromisoformat(day),), figures[grain].clear())
                for grain, rows in by_day.items()
            }
        ]
    }


def table_rows(transform: Transform, figures: Figures, partition: str) -> pl.DataFrame:
    """Return the rows of a table from the figures of its grains, as `compute` describes them."""
    rows = split_sums(transform.rows(figures, partition))
    return rows.select(transform.columns).sort(transform.key)


def _hourly_sales(by: Figures, _: str) -> pl.DataFrame:
    return by[HOUR]


def _daily_sales(by: Figures, partition: str) -> pl.DataFrame:
    """Return the day's row, with zeros if the day has no events."""
    if not by[DAY].is_empty():
        return by[DAY]
    return pl.DataFrame({"day": [date.fromisoformat(partition)], **{name: [0] for name in METRICS}})


def _daily_item_sales(by: Figures, _: str) -> pl.DataFrame:
    return _best_first(by[DAY_ITEM]).with_row_index("rank", offset=1)


def _daily_country_sales(by: Figures, _: str) -> pl.DataFrame:
    return by[DAY_COUNTRY]


def _customer_summary(by: Figures, _: str) -> pl.DataFrame:
    # Recency counts from the newest purchase, not from now: a build of the same events again must
    # give the same rows.
    last = by[ALL]["last_event"].max()
    end = last if isinstance(last, int) else 0
    customers = by[USER].with_columns(
        first_purchase=pl.col("first_event"),
        last_purchase=pl.col("last_event"),
        recency_days=(end - pl.col("last_event")) // DAY_MICROS,
    )
    return customers.with_columns(
        recency_score=_score("recency_days", fewer_is_better=True),
        frequency_score=_score("orders"),
        monetary_score=_score("net_revenue_micros"),
    )


def _sales_summary(by: Figures, _: str) -> pl.DataFrame:
    """Return the one row, with zeros before the first event."""
    total, best = by[ALL], _best_first(by[ITEM]).head(1)
    times = {name: [None] for name in ("first_event", "last_event")}
    zeros = pl.DataFrame({**{name: [0] for name in METRICS}, **times})
    popular = {
        "most_popular_item": best["item"].first(),
        "most_popular_items_sold": best["items_sold"].first(),
    }
    row = zeros if total.is_empty() else total
    return row.with_columns(id=1, **{name: pl.lit(value) for name, value in popular.items()})


def _best_first(items: pl.DataFrame) -> pl.DataFrame:
    """Sort by most items sold; then net revenue, then the item decides."""
    return items.sort(BEST_FIRST, descending=[True, True, False])


def _score(column: str, *, fewer_is_better: bool = False) -> pl.Expr:
    """Return a score of 1 to 5: 1 plus five times the share of worse customers, rounded down."""
    # Equal values share the lowest rank, so customers who are equal have the same score.
    worse = pl.col(column).rank("min", descending=fewer_is_better).cast(pl.Int64) - 1
    return 1 + 5 * worse // pl.len()


DAY_TRANSFORMS: Final = (
    Transform(HourlySales, (HOUR,), _hourly_sales, additive=True),
    Transform(DailySales, (DAY,), _daily_sales, additive=True),
    Transform(DailyItemSales, (DAY_ITEM,), _daily_item_sales, additive=True),
    Transform(DailyCountrySales, (DAY_COUNTRY,), _daily_country_sales, additive=True),
)
WHOLE_TRANSFORMS: Final = (
    Transform(CustomerSummary, (ALL, USER), _customer_summary, guests=False),
    Transform(SalesSummary, (ALL, ITEM), _sales_summary),
)
