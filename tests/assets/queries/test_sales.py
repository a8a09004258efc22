"""Rankings over the aggregate tables: a page of many names, in bounded memory."""

import sqlite3
import tracemalloc
from contextlib import closing
from datetime import date

import pytest

from assets.queries.sales import read_ranking
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.sqlite import connect
from tests.store.conftest import settings, store

__all__ = ["settings", "store"]

ITEMS = 20_000
DAYS = DayRange(date(2024, 3, 1), date(2024, 3, 2))


@pytest.fixture
def crowded(store: Settings) -> Settings:
    """A store with two days of very many items; the later one sold each once more."""
    with closing(connect(store.database_path)) as connection:
        add_items(connection)
    return store


def add_items(connection: sqlite3.Connection) -> None:
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
