"""A range of local days, for queries, builds and run requests alike.

Nothing slow is imported here: the command line needs it too. When a day begins in UTC is in
`calendar`.
"""

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class DayRange:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def list_days(self) -> list[date]:
        """Return every day, oldest first."""
        return [self.first + timedelta(number) for number in range(len(self))]

    def preceding_range(self) -> "DayRange":
        """Return the range of the same length that ends on the day before this one begins."""
        return DayRange(self.first - timedelta(len(self)), self.first - timedelta(1))

    def near_months(self) -> "tuple[DayRange, list[DayRange], list[DayRange]] | None":
        """Return the whole months that are nearest to this range: their days, and the difference.

        The first list has the days that these months lack, the second those that they have beyond
        the range. None for 31 days and fewer.
        """
        # Both ends of so short a range may be nearest to the same first of a month.
        if len(self) <= 31:
            return None
        begin, end = _near_month(self.first), _near_month(self.last + timedelta(1))
        months = DayRange(begin, end - timedelta(1))
        return months, self._subtract(months), months._subtract(self)

    def _subtract(self, other: "DayRange") -> "list[DayRange]":
        """Return what is before and after the other range, which has days of this one."""
        before = DayRange(self.first, other.first - timedelta(1))
        after = DayRange(other.last + timedelta(1), self.last)
        return [days for days in (before, after) if days.first <= days.last]

    def iso_bounds(self) -> tuple[str, str]:
        """Return both ends as ISO texts, as the database stores days."""
        return self.first.isoformat(), self.last.isoformat()


def _near_month(day: date) -> date:
    """Return the begin of a month that is nearest to a day."""
    begin = day.replace(day=1)
    following = (begin + timedelta(31)).replace(day=1)
    return begin if day - begin <= following - day else following
