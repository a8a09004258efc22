"""The transforms: every table against plain SQL, at the edges, and whatever the events are."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.builds.writer import database_rows
from assets.tables import aggregate
from assets.tables.aggregate import EVENT_COLUMNS, METRICS
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, compute, select_partition
from streaming.units import split_sum
from tests.assets import oracle

LONDON = ZoneInfo("Europe/London")
ZONES = ["UTC", "Europe/London", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]
STARTS = ["2011-03-26 00:00", "2011-10-29 12:00", "2010-11-06 12:00"]
SPRING, AUTUMN, MIDNIGHT = date(2011, 3, 27), date(2011, 10, 30), date(2010, 11, 7)
Event = tuple[int, str | None, str, int, int | None, str | None, str | None]
Tables = dict[str, list[tuple[Any, ...]]]


def at(text: str) -> int:
    """Return a time in UTC in µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def frame(events: Sequence[Event]) -> pl.DataFrame:
    """Make an events frame."""
    return pl.DataFrame(list(events), schema=EVENT_COLUMNS, orient="row")


def day_tables(frames: Sequence[pl.DataFrame], day: date, zone: ZoneInfo) -> Tables:
    """Compute the day tables of one day."""
    partition = day.isoformat()
    selected = [select_partition(frame, partition, zone) for frame in frames]
    tables = compute(selected, DAY_TRANSFORMS, partition)
    named = zip(DAY_TRANSFORMS, tables, strict=True)
    return {transform.table: database_rows(table) for transform, table in named}


def whole_tables(frames: Sequence[pl.DataFrame], zone: ZoneInfo) -> Tables:
    """Compute the summaries."""
    selected = [select_partition(frame, "all", zone) for frame in frames]
    tables = compute(selected, WHOLE_TRANSFORMS, "all")
    named = zip(WHOLE_TRANSFORMS, tables, strict=True)
    return {transform.table: database_rows(table) for transform, table in named}


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Return an event within two days around a change of hour; Newfoundland's was at midnight."""
    start = draw(st.sampled_from([*map(at, STARTS)]))
    time = start + draw(st.integers(0, 2 * 86_400 * 1_000_000))
    quantity = draw(st.sampled_from([-2, -1, 1, 2, 5]))
    price = draw(st.sampled_from([None, 0, 1, 2_550_000]))
    return (
        time,
        draw(st.sampled_from([None, "anna", "bert", "Anna"])),
        draw(st.sampled_from(["lamp", "book", "Ärmel", "book "])),
        quantity,
        None if price is None else price * quantity,
        draw(st.sampled_from([None, "o-1", "o-2", "o-3"])),
        draw(st.sampled_from([None, "", "France", "Éire"])),
    )


some_events = st.lists(events(), max_size=40)


@settings(max_examples=40, deadline=None)
@given(some_events, st.sampled_from(ZONES))
def test_every_table_is_what_plain_sql_says(events: list[Event], zone_name: str) -> None:
    """Cell by cell, of every day that has events, in zones that move by 60 and 30 minutes."""
    zone = ZoneInfo(zone_name)
    expected = oracle.run_tables(events, zone)
    events_frame = frame(events)
    for name, rows in whole_tables([events_frame], zone).items():
        assert rows == expected[name], name
    days = {row[0] for row in expected["daily_sales"]}
    for day in days:
        for name, rows in day_tables([events_frame], date.fromisoformat(day), zone).items():
            assert rows == [row for row in expected[name] if row[0] == day], name


@settings(max_examples=15, deadline=None)
@given(some_events, st.lists(st.integers(0, 40), max_size=4))
def test_how_the_events_are_cut_makes_no_difference(events: list[Event], cuts: list[int]) -> None:
    """Any frames, empty ones too, give what one frame gives."""
    edges = [0, *sorted(cuts), len(events)]
    pieces = [frame(events[a:b]) for a, b in pairwise(edges)]
    for day in (SPRING, AUTUMN):
        assert day_tables(pieces, day, LONDON) == day_tables([frame(events)], day, LONDON)
    assert whole_tables(pieces, LONDON) == whole_tables([frame(events)], LONDON)


@settings(max_examples=15, deadline=None)
@given(some_events, st.integers(1, 9))
def test_counts_in_any_number_of_passes_are_exact(events: list[Event], rows: int) -> None:
    """However few events a pass counts, and however early sums merge, rows stay the same."""
    pieces = [frame(events[at : at + 7]) for at in range(0, len(events) or 1, 7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate, "PASS_ROWS", rows)
        patch.setattr(aggregate, "MERGE_ROWS", rows)
        passes = [day_tables(pieces, SPRING, LONDON), whole_tables(pieces, LONDON)]
    assert passes == [day_tables(pieces, SPRING, LONDON), whole_tables(pieces, LONDON)]


@settings(max_examples=6, deadline=None)
@given(some_events)
def test_sums_of_a_finer_table_are_the_coarser(events: list[Event]) -> None:
    """Hours, items and countries add up to their day, and the days to the whole."""
    whole = [0, 0, 0, 0]
    for number in range(-1, 4):
        for around in (SPRING, AUTUMN, MIDNIGHT):
            tables = day_tables([frame(events)], around + timedelta(number - 1), LONDON)
            daily = tables["daily_sales"][0][1:5]
            for name, first in (
                ("hourly_sales", 3),
                ("daily_item_sales", 2),
                ("daily_country_sales", 2),
            ):
                added = [sum(row[first + figure] for row in tables[name]) for figure in range(4)]
                assert added == list(daily), name
            whole = [a + b for a, b in zip(whole, daily, strict=True)]
    assert list(whole_tables([frame(events)], LONDON)["sales_summary"][0][1:5]) == whole


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_days_of_23_and_25_hours(day: date, hours: int) -> None:
    """An event each quarter of an hour: so many hours, each full, the repeated one twice."""
    start = int(datetime(day.year, day.month, day.day, tzinfo=LONDON).timestamp()) * 1_000_000
    quarter = 15 * 60 * 1_000_000
    around = [
        (start + number * quarter, None, "lamp", 1, None, None, None) for number in range(-8, 120)
    ]
    rows = day_tables([frame(around)], day, LONDON)["hourly_sales"]
    assert [row[3] for row in rows] == [4] * hours
    assert [row[1] for row in rows] == [start + number * 4 * quarter for number in range(hours)]
    local = [(row[1] // 1_000_000 + row[2]) // 3600 % 24 for row in rows]
    repeated = [hour for hour in range(24) if local.count(hour) == 2]
    assert repeated == ([1] if hours == 25 else [])
    assert (1 in local) is (hours == 25)


def test_returns_only() -> None:
    """Nothing was sold, more came back; the gross is zero, never negative."""
    back: Event = (at("2011-05-05 10:00"), "anna", "lamp", -2, -500, "o-1", "France")
    tables = day_tables([frame([back])], date(2011, 5, 5), LONDON)
    assert tables["daily_sales"] == [("2011-05-05", 1, -2, 0, -500, 1, 1, 0, 0)]
    assert tables["daily_item_sales"] == [("2011-05-05", "lamp", 1, -2, 0, -500, 1, 1, 1, 0, 0)]


def test_unknown_prices_and_guests_only() -> None:
    """An unknown amount adds nothing, a guest is no customer, and no order is none."""
    guest: Event = (at("2011-05-05 10:00"), None, "lamp", 3, None, None, None)
    tables = day_tables([frame([guest])], date(2011, 5, 5), LONDON)
    assert tables["daily_sales"] == [("2011-05-05", 1, 3, 0, 0, 0, 0, 0, 0)]
    assert tables["daily_country_sales"] == [("2011-05-05", "", 1, 3, 0, 0, 0, 0, 0, 0)]
    assert whole_tables([frame([guest])], LONDON)["customer_summary"] == []


def test_ties_in_rank_have_a_rule() -> None:
    """Equal items sold: net revenue decides; that equal too: the item, by its code points."""
    time = at("2011-05-05 10:00")
    sold: list[tuple[str, int, int]] = [
        ("b", 2, 5),
        ("a", 2, 5),
        ("B", 2, 5),
        ("c", 2, 9),
        ("d", 3, 0),
    ]
    events = [(time, None, item, count, amount, None, None) for item, count, amount in sold]
    rows = day_tables([frame(events)], date(2011, 5, 5), LONDON)["daily_item_sales"]
    ranks = {row[8]: row[1] for row in rows}
    assert [ranks[rank] for rank in range(1, 6)] == ["d", "c", "B", "a", "b"]
    assert whole_tables([frame(events)], LONDON)["sales_summary"][0][7:9] == ("d", 3)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([-(10**18), -1, 1, 10**18 - 1, 10**18])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_sums_beyond_64_bits_are_exact_and_rank_as_wholes(
    lines: list[tuple[str, int]], cuts: int
) -> None:
    """Around the carry and far above it, however the events are cut into frames."""
    time = at("2011-05-05 10:00")
    events: list[Event] = [
        (time, item, item, 1 if amount > 0 else -1, amount, None, None) for item, amount in lines
    ]
    frames = [frame(events[start::cuts]) for start in range(cuts)]
    day = day_tables(frames, date(2011, 5, 5), LONDON)
    gross, net = (sum(max(a, 0) for _, a in lines), sum(a for _, a in lines))
    (row,) = day["daily_sales"]
    assert (row[3], row[7]) == split_sum(gross)[::-1]
    assert (row[4], row[8]) == split_sum(net)[::-1]
    sold = {item: sum(1 if a > 0 else -1 for i, a in lines if i == item) for item, _ in lines}
    revenue = {item: sum(a for i, a in lines if i == item) for item in sold}
    best = sorted(sold, key=lambda item: (-sold[item], -revenue[item], item))
    assert [name for _, name in sorted((r[8], r[1]) for r in day["daily_item_sales"])] == best
    scores = {r[0]: r[11] for r in whole_tables(frames, LONDON)["customer_summary"]}
    for item in sold:
        worse = sum(revenue[other] < revenue[item] for other in sold)
        assert scores[item] == 1 + 5 * worse // len(sold)


def test_an_empty_day_has_a_row_of_zeros_in_daily_sales() -> None:
    """And none in the others."""
    tables = day_tables([frame([])], date(2011, 5, 5), LONDON)
    assert tables.pop("daily_sales") == [("2011-05-05", *[0] * (len(METRICS) + 2))]
    assert set(map(len, tables.values())) == {0}


def test_before_the_first_event() -> None:
    """No customer; one row of zeros without a most popular item."""
    tables = whole_tables([frame([])], LONDON)
    assert tables["customer_summary"] == []
    assert tables["sales_summary"] == [(1, 0, 0, 0, 0, 0, 0, None, None, None, None, 0, 0)]


def test_scores_are_fifths_and_equal_customers_have_equal_ones() -> None:
    """Ten customers, two to a score; who is equal shares the lower score of theirs."""

    def purchase(number: int, amount: int) -> Event:
        time = at("2011-05-05 10:00") - number * 86_400_000_000
        return time, f"user-{number}", "lamp", 1, amount, f"o-{number}", None

    apart = whole_tables([frame([purchase(n, n) for n in range(10)])], LONDON)["customer_summary"]
    assert [row[8] for row in apart] == list(range(10))
    assert [row[9] for row in apart] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert {row[10] for row in apart} == {1}
    assert [row[11] for row in apart] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    tied = whole_tables([frame([purchase(n, 7 if n >= 3 else n) for n in range(10)])], LONDON)[
        "customer_summary"
    ]
    assert [row[11] for row in tied] == [1, 1, 2, *[2] * 7]
