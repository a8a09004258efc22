"""Rankings over the aggregate tables: exact, and a page of many names in bounded memory."""

import random
import tracemalloc
from datetime import date, timedelta
from decimal import Decimal

import pytest

from assets.queries.sales import read_ranking
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.units import split_sum
from tests.databases import look
from tests.store.conftest import settings, store

__all__ = ["settings", "store"]

ITEMS = 20_000
DAYS = DayRange(date(2024, 3, 1), date(2024, 3, 2))
ADD_DAY = (
    "INSERT INTO daily_item_sales (day, item, events, items_sold, gross_revenue_trillions,"
    " gross_revenue_micros, net_revenue_trillions, net_revenue_micros, orders, customers, rank)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@pytest.fixture
def crowded(store: Settings) -> Settings:
    """A store with two days of very many items; the later one sold each once more."""
    with look(store) as connection:
        add_items(connection)
    return store


def add_items(connection: StoreConnection) -> None:
    """Insert the days as a build would, with ten items of each number sold."""
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO daily_item_sales (day, item, events, items_sold, gross_revenue_micros,"
        " net_revenue_micros, orders, customers, rank) VALUES (?, ?, 1, ?, 0, 0, 1, 1, ?)",
        (
            (f"2024-03-0{day}", f"item {number:06d}", number // 10 + day, number + 1)
            for day in (1, 2)
            for number in range(ITEMS)
        ),
    )
    connection.execute("COMMIT")


@pytest.mark.parametrize("start", [0, 15, ITEMS - 5, ITEMS + 5])
def test_a_page_of_very_many_items_is_read_in_bounded_memory(crowded: Settings, start: int) -> None:
    """Only the page leaves the database, with the rank that it has among all."""
    with read_store(crowded) as reader:
        tracemalloc.start()
        page_of = slice(start, start + 10)
        total, page = read_ranking(reader, DAYS, "item", "items_sold", "descending", page_of)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    best_first = sorted(range(ITEMS), key=lambda number: (-(number // 10), number))
    expected = best_first[start : start + 10]
    assert total == ITEMS
    assert [one.name for one in page] == [f"item {number:06d}" for number in expected]
    assert [one.rank for one in page] == list(range(start + 1, start + 1 + len(expected)))
    assert [one.items_sold for one in page] == [2 * (number // 10) + 3 for number in expected]
    assert peak < ITEMS * 10, "as if all items had been read"


def test_months_are_the_sums_of_their_days(store: Settings) -> None:
    """Days are built, built again and changed: a ranking of any range is the sum of its days."""
    chance = random.Random(20)
    with look(store) as connection:
        for _ in range(150):
            day = (date(2024, 1, 20) + timedelta(chance.randrange(80))).isoformat()
            connection.execute("DELETE FROM daily_item_sales WHERE day = ?", (day,))
            for rank, item in enumerate(chance.sample("abcdef", chance.randrange(4)), 1):
                money = split_sum(chance.randrange(-4 * 10**18, 4 * 10**18))
                values = (day, item, 1, chance.randrange(-9, 99), *money, *money, 1, 1, rank)
                connection.execute(ADD_DAY, values)
            connection.execute(
                "UPDATE daily_item_sales SET events = events + 1 WHERE day = ?", (day,)
            )
    with read_store(store) as reader:
        rows = reader.execute("SELECT * FROM daily_item_sales_readable").fetchall()
        for _ in range(20):
            first = date(2024, 1, 10) + timedelta(chance.randrange(90))
            days = DayRange(first, first + timedelta(chance.randrange(90)))
            total, ranking = read_ranking(reader, days, "item", "events", "ascending", slice(0, 9))
            sums: dict[str, list[Decimal]] = {}
            for day, _, item, *figures in rows:
                if date.fromisoformat(day) in days:
                    added = zip(sums.get(item, [Decimal()] * 4), figures[:4], strict=True)
                    sums[item] = [one + Decimal(other) for one, other in added]
            assert total == len(sums)
            assert sums == {
                one.name: [
                    Decimal(figure or 0)
                    for figure in (one.events, one.items_sold, one.gross_revenue, one.net_revenue)
                ]
                for one in ranking
            }
