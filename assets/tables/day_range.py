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

    def preceding(self) -> "DayRange":
        """Return the range of the same length that ends on the day before this one begins."""
        return DayRange(self.first - timedelta(len(self)), self.first - timedelta(1))

    def part_months(self) -> "tuple[DayRange | None, list[DayRange]]":
        """Return the range of the whole months, None if there is none, and the days beside it."""
        begin = self.first if self.first.day == 1 else _next_month(self.first)
        after = self.last + timedelta(1)
        end = after.replace(day=1)
        if begin >= end:
            return None, [self]
        beside = [DayRange(self.first, begin - timedelta(1)), DayRange(end, self.last)]
        return DayRange(begin, end - timedelta(1)), [days for days in beside if len(days)]

    def iso_bounds(self) -> tuple[str, str]:
        """Return both ends as ISO texts, as the database stores days."""
        return self.first.isoformat(), self.last.isoformat()


def _next_month(day: date) -> date:
    """Return the first day of the month after."""
    return (day.replace(day=1) + timedelta(31)).replace(day=1)
