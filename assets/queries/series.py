"""Figures over time: by hour, day, week or month, of the shop or of an item, country and customer.

What a table has is read from it, everything else from the stored events. Rankings are in
`endpoints`.
"""

from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs
from starlette.responses import Response

from assets.queries.download import FileFormat, build_file, file_name
from assets.queries.event_figures import (
    Period,
    Subject,
    has_few_events,
    read_distinct,
    read_new_customers,
    read_periods,
)
from assets.queries.freshness import (
    events_freshness,
    list_missing,
    read_days_freshness,
    read_freshness_of_days,
    read_whole_freshness,
    sum_up,
    utc_text,
)
from assets.queries.records import (
    AdditiveFigures,
    DistinctFigures,
    Freshness,
    PeriodFigures,
    SalesFigures,
    Series,
    counted_figures,
    period_figures,
)
from assets.queries.sales import (
    read_days,
    read_days_of_shop,
    read_hours,
    read_last_days,
    read_sum,
    sum_figures,
)
from assets.tables.day_range import DayRange
from streaming.errors import UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store

DEFAULT_DAYS: Final = 30
"""What History shows at first, and what is built first after a replay (`run_plan.RECENT_DAYS`)."""
MAX_DAYS: Final = 10_000
"""27 years, one point a day: the longest answer has about 2 MB."""
MAX_HOURLY_DAYS: Final = 400
"""A year and a month, one point an hour: as many points as `MAX_DAYS` allows."""
FIRST_YEAR: Final = 1000
"""Python writes earlier years with fewer digits, and texts would sort wrongly."""
LAST_YEAR: Final = 9998
"""Leaves room to compute the day after the last."""
RENAMED: Final = {"first": "from", "last": "to"}
Name = Annotated[str, Meta(min_length=1, max_length=1_024)]


class RangeQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """Days `from` to `to` (default: the last 30), of an item, a country and a customer, or all."""

    first: date | None = None
    last: date | None = None
    item: Name | None = None
    country: str | None = None
    customer: Name | None = None
    format: FileFormat = "json"

    @property
    def subject(self) -> Subject:
        """Whose figures are asked for."""
        return Subject(self.item, self.country, self.customer)


class DaysQuery(RangeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """A range, by day, by week (its Monday) or by month (its first day)."""

    by: Literal["day", "week", "month"] = "day"


def requested_range(
    store: StoreConnection, settings: Settings, first: date | None, last: date | None, max_days: int
) -> DayRange:
    """Return the requested range; a missing side makes it 30 days, up to the last with events.

    Raises `UsageError` if the days are in the wrong order, more than `max_days`, or outside of the
    years 1000 to 9998.
    """
    for day in (first, last):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise UsageError(f"{day} is outside of the years {FIRST_YEAR} to {LAST_YEAR}.")
    today = datetime.now(settings.zone).date()
    recent = read_last_days(store, DEFAULT_DAYS, today)
    # Who asks from a day after the last event gets that day, empty, and no error.
    end = last or max(recent.last, first or recent.last)
    begin = first or end - timedelta(DEFAULT_DAYS - 1)
    if not 0 <= (end - begin).days < max_days:
        raise UsageError(f"from {begin} to {end} must be 1 to {max_days:,} days, in order.")
    return DayRange(begin, end)


def answer_days(settings: Settings, query: DaysQuery) -> Series | Response:
    """Return the figures by day, week or month, or a file of them."""
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_DAYS)
        series = _series_of_days(store, settings, days, query.subject, query.by)
        series = _with_distinct(store, settings, days, query.subject, series, query.by)
    return _answer(series, query, query.by)


def answer_hours(settings: Settings, query: RangeQuery) -> Series | Response:
    """Return the figures by hour, or a file of them."""
    with read_store(settings) as store:
        days = requested_range(store, settings, query.first, query.last, MAX_HOURLY_DAYS)
        if query.subject != Subject():
            series = _series_of_events(store, settings, days, query.subject, "hour")
        else:
            points = read_hours(store, days)
            before = _read_built_sum(store, settings, "hourly_sales", days.preceding_range())
            series = _series_of_table(store, settings, "hourly_sales", days, points, before)
        series = _with_distinct(store, settings, days, query.subject, series, "hour")
    return _answer(series, query, "hour")


def _with_distinct(  # noqa: PLR0913, PLR0917 - a series and what it is of
    store: StoreConnection,
    settings: Settings,
    days: DayRange,
    subject: Subject,
    series: Series,
    by: Period,
) -> Series:
    """Add what no sum of days gives: distinct orders and customers, and who is new."""
    new = None
    # Before its first build the summary knows of no customer, which is not the same as of none.
    if subject == Subject() and read_whole_freshness(store, "customer_summary").built_at:
        new = read_new_customers(store, days, settings.zone, "day" if by == "hour" else by)
    distinct = None
    if has_few_events(store, days, subject):
        orders, customers = read_distinct(store, days, settings, subject)
        distinct = DistinctFigures(orders, customers, None if new is None else sum(new.values()))
    # An hour does not show who is new, but the sum of all hours does.
    points = [_with_new(point, None if by == "hour" else new) for point in series.points]
    return structs.replace(series, points=points, distinct=distinct)


def _answer(series: Series, query: RangeQuery, by: Period) -> Series | Response:
    if query.format == "json":
        return series
    name = file_name(f"sales-by-{by}", query.subject, series.first, series.last)
    return build_file(series.points, PeriodFigures, query.format, name)


def _with_new(point: PeriodFigures, new: dict[str, int] | None) -> PeriodFigures:
    if new is None or not point.built:
        return point
    return structs.replace(point, new_customers=new.get(point.at, 0))


def _series_of_days(
    store: StoreConnection, settings: Settings, days: DayRange, subject: Subject, by: Period
) -> Series:
    names = [(column, name) for column, name in subject.table_columns() if name is not None]
    has_table = len(names) <= 1 and subject.customer is None
    # Orders and customers of a week are no sums of its days'.
    if not has_table or (by != "day" and has_few_events(store, days, subject)):
        return _series_of_events(store, settings, days, subject, by)
    if names:
        table = f"daily_{names[0][0]}_sales"
        points = read_days(store, table, days, names[0])
        before = _read_built_sum(store, settings, table, days.preceding_range(), names[0])
    else:
        table = "daily_sales"
        points = read_days_of_shop(store, days)
        before = sum_figures(read_days_of_shop(store, days.preceding_range()))
    return _series_of_table(store, settings, table, days, group_days(points, by), before)


def group_days(points: list[PeriodFigures], by: Period) -> list[PeriodFigures]:
    """Return days as weeks or months; orders are those of each day, customers are unknown.

    A period in which a day is not built has what the stream counted.
    """
    if by == "day":
        return points
    return [_sum_period(at, list(of)) for at, of in groupby(points, lambda p: _start(p.at, by))]


def _start(day: str, by: Period) -> str:
    start = date.fromisoformat(day)
    first = start.replace(day=1) if by == "month" else start - timedelta(start.weekday())
    return first.isoformat()


def _sum_period(at: str, days: list[PeriodFigures]) -> PeriodFigures:
    total = sum_figures(days)
    if total.gross_revenue_micros is None:
        return counted_figures(at, total.events, total.items_sold, total.net_revenue_micros)
    figures = AdditiveFigures(
        total.events,
        total.items_sold,
        total.gross_revenue_micros,
        total.net_revenue_micros,
    )
    return period_figures(at, figures, sum(day.orders or 0 for day in days), None)


def _series_of_events(
    store: StoreConnection, settings: Settings, days: DayRange, subject: Subject, by: Period
) -> Series:
    points = read_periods(store, days, settings, subject, by)
    before = days.preceding_range()
    sum_before = (
        # By month, which gives the fewest rows: only their sum is shown.
        sum_figures(read_periods(store, before, settings, subject, "month"))
        if has_few_events(store, before, subject)
        else None
    )
    return _series(settings, days, points, sum_before, [], events_freshness())


def _read_built_sum(
    store: StoreConnection,
    settings: Settings,
    table: str,
    days: DayRange,
    name: tuple[str, str] | None = None,
) -> SalesFigures | None:
    """Sum a range of days; None if one of them has no build."""
    if read_days_freshness(store, table, days, settings.zone).missing_days:
        return None
    return read_sum(store, table, days, name)


def _series_of_table(  # noqa: PLR0913, PLR0917 - what a series is
    store: StoreConnection,
    settings: Settings,
    table: str,
    days: DayRange,
    points: list[PeriodFigures],
    before: SalesFigures | None,
) -> Series:
    of_days = read_freshness_of_days(store, table, days, settings.zone)
    standing = sum_up(table, of_days)
    return _series(settings, days, points, before, list_missing(of_days), standing)


def _series(  # noqa: PLR0913, PLR0917 - what a series is
    settings: Settings,
    days: DayRange,
    points: list[PeriodFigures],
    before: SalesFigures | None,
    not_built: list[str],
    standing: Freshness,
) -> Series:
    return Series(
        first=days.first,
        last=days.last,
        timezone=settings.timezone,
        currency=settings.currency,
        as_of=utc_text(None),
        points=points,
        not_built=not_built,
        total=sum_figures(points),
        before=before,
        distinct=None,
        standing=standing,
    )
