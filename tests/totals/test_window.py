"""The window of the live figures: the last hour in buckets, today in groups, ranks of an hour."""

from streaming.totals.window import (
    BUCKET_SECONDS,
    BUCKETS,
    RANKS_KEPT,
    Sums,
    Window,
    best,
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
        window.add_buckets([(NOON, 1, 2, 3)])
        window.add_items([("lamp", 1, 2, 3), ("book", 4, 5, 6)])
        window.add_countries([("France", 1, 2, 3)])
    assert window.buckets == {NOON: Sums(2, 4, 6)}
    assert window.items == {"lamp": Sums(2, 4, 6), "book": Sums(8, 10, 12)}
    assert window.countries == {"France": Sums(2, 4, 6)}


def test_an_hour_is_kept() -> None:
    """As many buckets as an hour has stay, the current one included."""
    window = Window("2024-01-01")
    starts = [NOON - number * BUCKET_SECONDS for number in range(BUCKETS + 5)]
    window.add_buckets((start, 1, 1, 1) for start in starts)
    window.forget_before(NOON + 3.0)
    assert sorted(window.buckets, reverse=True) == starts[:BUCKETS]


def test_items_are_ranked_by_sales_then_revenue_then_name() -> None:
    """Equals are always in the same order, so that a ranking does not flicker."""
    figures = {"d": Sums(1, 5, 1), "c": Sums(1, 5, 1), "b": Sums(1, 5, 9), "a": Sums(1, 6, 0)}
    assert [name for name, _ in best(figures)] == ["a", "b", "c", "d"]
    assert [name for name, _ in best(figures, 2)] == ["a", "b"]


def test_a_change_of_rank_is_that_within_the_hour() -> None:
    """The oldest ranking that is kept counts; an item that was not in it is new."""
    window = Window("2024-01-01")
    assert window.change_of_rank("lamp", 1) is None
    window.add_items([("lamp", 1, 1, 0), ("book", 1, 2, 0)])
    window.remember_ranks()
    window.add_items([("lamp", 5, 5, 0), ("chair", 1, 1, 0)])
    assert window.change_of_rank("lamp", 1) == 1
    assert window.change_of_rank("book", 2) == -1
    assert window.change_of_rank("chair", 3) is None
    for _ in range(RANKS_KEPT):
        window.remember_ranks()
    assert window.change_of_rank("lamp", 1) == 0
    assert len(window.ranks) == RANKS_KEPT
