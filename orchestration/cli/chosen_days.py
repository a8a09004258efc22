"""The days and tables that `backfill` and `export` are asked for: options in, days out.

Nothing slow is imported at the top. What is done with them is in modules of the commands' names.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from streaming.errors import UsageError

if TYPE_CHECKING:
    from assets.tables.day_range import DayRange
    from streaming.settings import Settings


def read_days(
    settings: "Settings",
    first: str | None,
    last: str | None,
    number: int | None,
    *,
    yesterday: bool,
) -> "DayRange | None":
    """Return the days that options name; None if none of them is given.

    Raises `UsageError` for more than one way to name them, for half a range, and for days that are
    in the wrong order or have no partition.
    """
    from assets.tables.day_range import DayRange

    ranged = first is not None or last is not None
    if ranged + (number is not None) + yesterday > 1:
        raise UsageError("Name the days in one way: --from and --to, --days, or --yesterday.")
    today = datetime.now(settings.zone).date()
    if yesterday:
        return DayRange(today - timedelta(1), today - timedelta(1))
    if number is not None:
        most = (today - settings.history_start).days + 1
        if not 1 <= number <= most:
            raise UsageError(f"--days {number} must be 1 to {most:,}: so many are in history.")
        return DayRange(today - timedelta(number - 1), today)
    if not ranged:
        return None
    if first is None or last is None:
        raise UsageError("A range needs both --from and --to.")
    days = DayRange(parse_day("--from", first), parse_day("--to", last))
    if not settings.history_start <= days.first <= days.last <= today:
        raise UsageError(
            f"--from {days.first} --to {days.last} must be in order, from"
            f" {settings.history_start} (PURCHASES_HISTORY_START) to {today}."
        )
    return days


def parse_day(option: str, text: str) -> date:
    """Return the day of an option. Raises `UsageError` if the text is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text} is not a day, such as 2011-03-27.") from None


def parse_tables(settings: "Settings", names: Sequence[str]) -> list[str]:
    """Return the tables, all of them if none is named. Raises `UsageError` for an unknown one."""
    from assets.tables.models import WHOLE_TABLE_NAMES
    from assets.tables.sql_transform import day_table_names

    tables = (*day_table_names(settings), *WHOLE_TABLE_NAMES)
    for name in names:
        if name not in tables:
            raise UsageError(f"--table {name} must be one of {', '.join(tables)}.")
    return list(dict.fromkeys(names)) or list(tables)
