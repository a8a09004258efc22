"""The window of the live figures: the last hour in buckets, today in groups, ranks of an hour."""

import tracemalloc
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streaming.totals.window import (
    BUCKET_SECONDS,
    BUCKETS,
    RANKED_NAMES,
    RANKS_KEPT,
    Group,
    Ranking,
    RunningSums,
    Window,
    bucket_of,
)

NOON = 1_700_000_000 // BUCKET_SECONDS * BUCKET_SECONDS


def test_a_moment_is_in_the_bucket_that_began_last() -> None:
    """Buckets are of ten seconds and begin at multiples of them."""
    assert [bucket_of(NOON + seconds) - NOON for seconds in (0, 9.9, 10, 25)] == [0, 0, 10, 20]


def test_sums_of_new_rows_are_added() -> None:
    """What the database summed of new rows goes on top of what is there, name by name."""
    window = Window("2024-01-01")
    for _ in range(2):
        window.add_buckets([Group(NOON, 1, 2, 3)])
        window.items.add([Group("lamp", 1, 2, 3), Group("book", 4, 5, 6)])
        window.countries.add([Group("France", 1, 2, 3)])
    assert window.buckets == {NOON: RunningSums(2, 4, 6)}
    assert window.items.sums == {"lamp": RunningSums(2, 4, 6), "book": RunningSums(8, 10, 12)}
    assert window.countries.sums == {"France": RunningSums(2, 4, 6)}


def test_an_hour_is_kept() -> None:
    """As many buckets as an hour has stay, the current one included."""
    window = Window("2024-01-01")
    starts = [NOON - number * BUCKET_SECONDS for number in range(BUCKETS + 5)]
    window.add_buckets(Group(start, 1, 1, 1) for start in starts)
    window.forget_before(NOON + 3.0)
    assert sorted(window.buckets, reverse=True) == starts[:BUCKETS]


def test_items_are_ranked_by_sales_then_revenue_then_name() -> None:
    """Equals are always in the same order, so that a ranking does not flicker."""
    ranking = Ranking()
    sums = {"d": (5, 1), "c": (5, 1), "b": (5, 9), "a": (6, 0)}
    ranking.add(Group(name, 1, *of_name) for name, of_name in sums.items())
    assert [name for name, _ in ranking.best(9)] == ["a", "b", "c", "d"]
    assert ranking.best(2) == [("a", RunningSums(1, 6, 0)), ("b", RunningSums(1, 5, 9))]


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-3, 3)), max_size=9)))
def test_a_ranking_is_right_after_any_changes(batches: list[list[tuple[str, int]]]) -> None:
    """Also after returns, which move a name down and back to where it was."""
    ranking, sold = Ranking(), Counter[str]()
    for batch in batches:
        ranking.add(Group(name, 1, quantity, 0) for name, quantity in batch)
        for name, quantity in batch:
            sold[name] += quantity
        expected = sorted(sold, key=lambda name: (-sold[name], name))
        assert [name for name, _ in ranking.best(4)] == expected[:4]


def test_what_a_window_holds_is_bounded_by_its_names() -> None:
    """Neither the changes of an hour nor the rankings that are kept make it grow."""
    window = Window("2024-01-01")
    names = [f"item {number}" for number in range(3 * RANKED_NAMES)]
    tracemalloc.start()
    window.items.add(Group(name, 1, 1, 1) for name in names)
    first, _ = tracemalloc.get_traced_memory()
    for _ in range(RANKS_KEPT):
        window.items.add(Group(name, 1, 1, 1) for name in names)
        window.remember_ranks()
    last, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {len(ranks) for ranks in window.ranks} == {RANKED_NAMES}
    assert last - first < RANKS_KEPT * RANKED_NAMES * 200 + len(names) * 400


def test_a_change_of_rank_is_that_within_the_hour() -> None:
    """The oldest ranking that is kept counts; an item that was not in it is new."""
    window = Window("2024-01-01")
    assert window.change_of_rank("lamp", 1) is None
    window.items.add([Group("lamp", 1, 1, 0), Group("book", 1, 2, 0)])
    window.remember_ranks()
    window.items.add([Group("lamp", 5, 5, 0), Group("chair", 1, 1, 0)])
    assert window.change_of_rank("lamp", 1) == 1
    assert window.change_of_rank("book", 2) == -1
    assert window.change_of_rank("chair", 3) is None
    for _ in range(RANKS_KEPT):
        window.remember_ranks()
    assert window.change_of_rank("lamp", 1) == 0
    assert len(window.ranks) == RANKS_KEPT
