"""The rules of an audit, each with rows that keep it and rows that break it."""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import Connection

from assets.builds.audit import audit, find_problems
from assets.builds.event_reader import NO_FIGURES, StreamFigures
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store.engine import open_engine

DAY = "2024-01-02"
HOURLY, DAILY, ITEMS, COUNTRIES = DAY_TRANSFORMS
CUSTOMERS, SUMMARY = WHOLE_TRANSFORMS
EXPECTED = StreamFigures(version=9, events=3, items_sold=5, net_revenue_micros=70)
MEASURES = {
    "rows": 2,
    "events": 3,
    "items_sold": 5,
    "net_revenue_micros": 70,
    "without_grain": 0,
    "negative": 0,
    "ranks": 2,
    "last_rank": 2,
}


@pytest.fixture
def database(store: Settings) -> Iterator[Connection]:
    """A transaction in a started store."""
    engine = open_engine(store)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def insert_item(
    connection: Connection, item: str, rank: int, day: str = DAY, items_sold: int = 2
) -> None:
    """Insert a row of `daily_item_sales` with one event and 35 micros."""
    connection.exec_driver_sql(
        "INSERT INTO daily_item_sales (day, item, events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, orders, customers, rank) VALUES (?, ?, 1, ?, 35, 35, 1, 1, ?)",
        (day, item, items_sold, rank),
    )


def test_measures_that_keep_every_rule_have_no_problem() -> None:
    """The version is not compared: rows carry none."""
    assert find_problems(MEASURES, ITEMS, EXPECTED, 2) == []


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"events": 4}, "events is 4, but the stream counted 3"),
        ({"items_sold": 6}, "items_sold is 6, but the stream counted 5"),
        ({"net_revenue_micros": -1}, "net_revenue_micros is -1, but the stream counted 70"),
        ({"rows": 1}, "2 rows were computed, but 1 are there"),
        ({"without_grain": 1}, "1 rows have no day or no item"),
        (
            {"negative": 2},
            "2 rows have a negative events or gross_revenue_micros or orders or customers",
        ),
        ({"ranks": 1}, "2 rows have 1 ranks up to 2"),
        ({"last_rank": 3}, "2 rows have 2 ranks up to 3"),
    ],
)
def test_each_broken_rule_is_one_sentence(broken: Mapping[str, int], problem: str) -> None:
    """With the value that was measured and the one that was expected."""
    assert find_problems({**MEASURES, **broken}, ITEMS, EXPECTED, 2) == [problem]


def test_several_broken_rules_are_all_named() -> None:
    """So that one run tells everything."""
    assert len(find_problems({**MEASURES, "events": 4, "rows": 0}, ITEMS, EXPECTED, 2)) == 2


def test_a_partition_is_measured_without_its_neighbours(database: Connection) -> None:
    """Only rows of the day count, returns subtract, and ranks are counted once each."""
    insert_item(database, "lamp", 1, items_sold=4)
    insert_item(database, "chair", 2, items_sold=-1)
    insert_item(database, "lamp", 1, day="2024-01-03")
    result = audit(database, ITEMS, DAY, StreamFigures(7, 2, 3, 70), 2)
    assert result.problems == ()
    assert result.measures == {**MEASURES, "events": 2, "items_sold": 3}


def test_a_gap_in_the_ranks_is_measured(database: Connection) -> None:
    """Ranks 1 and 3 of two rows are two ranks up to 3."""
    insert_item(database, "lamp", 1)
    insert_item(database, "chair", 3)
    result = audit(database, ITEMS, DAY, StreamFigures(7, 2, 4, 70), 2)
    assert result.problems == ("2 rows have 2 ranks up to 3",)


@pytest.mark.parametrize(
    ("transform", "partition"), [(COUNTRIES, DAY), (CUSTOMERS, "all"), (HOURLY, DAY), (DAILY, DAY)]
)
def test_an_empty_partition_has_zeros_and_no_ranks(
    database: Connection, transform: Transform, partition: str
) -> None:
    """Sums of no rows are 0 in SQL too, for day tables and whole ones."""
    result = audit(database, transform, partition, NO_FIGURES, 0)
    assert result.problems == ()
    assert set(result.measures.values()) == {0}
    assert "ranks" not in result.measures
