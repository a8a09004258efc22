"""A range of days, both ends included."""

from datetime import date

from assets.tables.day_range import DayRange

MARCH = DayRange(date(2024, 3, 1), date(2024, 3, 31))


def test_both_ends_are_in_the_range() -> None:
    """And the days beside them are not."""
    assert MARCH.first in MARCH
    assert MARCH.last in MARCH
    assert date(2024, 2, 29) not in MARCH
    assert date(2024, 4, 1) not in MARCH


def test_its_days_are_listed_oldest_first() -> None:
    """As many as its length says; a range of one day has that day."""
    days = MARCH.list_days()
    assert len(days) == len(MARCH) == 31
    assert days[:2] == [date(2024, 3, 1), date(2024, 3, 2)]
    assert DayRange(MARCH.first, MARCH.first).list_days() == [MARCH.first]


def test_the_preceding_range_has_the_same_length_and_touches() -> None:
    """A leap day is one of its days."""
    assert MARCH.preceding_range() == DayRange(date(2024, 1, 30), date(2024, 2, 29))


def test_its_bounds_are_written_as_the_database_stores_days() -> None:
    """ISO texts, which sort as the days do."""
    assert MARCH.iso_bounds() == ("2024-03-01", "2024-03-31")
