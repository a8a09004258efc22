"""Times as people and programs write them, taken apart; pure, and of whole columns only.

Which instant a time is, by its offset or a time zone, is decided in `timestamps`.
"""

from typing import Final

import polars as pl

from streaming.errors import UsageError

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_MONTH = (
    r"(?P<month>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?"
    r"|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))\.?"
)
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})"
_WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_CLOCK = (
    r"(?:(?:[Tt]|,? )(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:\.(?P<fraction>[0-9]{1,32}))?)?"
    r"(?:[ \x{a0}\x{202f}]?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_OFFSET = r" ?(?P<offset>[Zz]|UTC|GMT|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?$"
_ISO = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_YEAR_FIRST = r"(?P<year>[0-9]{4})/(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})"
_DOTTED = r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4}|[0-9]{2})"
_FORMS: Final = tuple(
    "^" + date + _CLOCK + _OFFSET
    for date in (
        _ISO,
        _YEAR_FIRST,
        _DOTTED,
        _WEEKDAY + _DAY + "[ -]" + _MONTH + "[ -]" + _YEAR,
        _WEEKDAY + _MONTH + " " + _DAY + ",? " + _YEAR,
    )
)
"""Forms that show which number is the day."""
_UNORDERED: Final = tuple(
    f"^(?P<first>[0-9]{{1,2}}){sign}(?P<next>[0-9]{{1,2}}){sign}(?P<year>[0-9]{{4}}|[0-9]{{2}})"
    + _CLOCK
    + _OFFSET
    for sign in "/-"
)
"""Forms in which the day or the month comes first."""


def read_texts(text: pl.Series, *, day_first: bool | None) -> pl.DataFrame:
    """Return `naive` (µs, null if a text is no time), `has_clock`, and `ahead` of UTC in minutes.

    A column has one form, the first of which there is one. `day_first` says what `3/4/2024` is;
    None: the column itself shows it. Raises `UsageError` if it does not.
    """
    for form in (*_FORMS, *_UNORDERED):
        if text.str.contains(form).any():
            parts = text.str.extract_groups(form).struct.unnest()
            break
    else:
        parts = text.str.extract_groups(_FORMS[0]).struct.unnest()
    if "first" in parts.columns:
        parts = _name_month_and_day(text, parts, day_first=day_first)
    offset = pl.col("offset").str.replace("[Zz]|UTC|GMT", "+00:00")
    minutes = offset.str.slice(1, 2).cast(pl.Int64) * 60 + offset.str.slice(-2).cast(pl.Int64)
    return parts.select(
        naive=_naive("month", "day"),
        has_clock=pl.col("hour").is_not_null(),
        ahead=pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes),
    )


def _name_month_and_day(
    text: pl.Series, parts: pl.DataFrame, *, day_first: bool | None
) -> pl.DataFrame:
    """Return parts whose numbers are called `month` and `day`."""
    if day_first is None:
        day_first = _is_day_first(text, parts)
    month, day = ("next", "first") if day_first else ("first", "next")
    return parts.with_columns(month=pl.col(month), day=pl.col(day))


def _is_day_first(text: pl.Series, parts: pl.DataFrame) -> bool:
    month_first = parts.select(_naive("first", "next")).to_series()
    day_first = parts.select(_naive("next", "first")).to_series()
    # The right order leaves fewer unread: no month is above 12.
    unread = month_first.null_count() - day_first.null_count()
    if unread == 0 and not month_first.equals(day_first, null_equal=True):
        example = text.filter(month_first.is_not_null())[0]
        raise UsageError(
            f"The column {text.name!r} ({example!r} for example) does not show whether the day"
            " or the month comes first; name it with --day-first or --month-first."
        )
    return unread > 0


def _naive(month: str, day: str) -> pl.Expr:
    """Join the columns of a date and a clock into a naive time."""
    year = pl.col("year")
    century = pl.when(year.str.len_bytes() == 2).then(pl.lit("20")).otherwise(pl.lit(""))
    name = pl.col(month).str.to_lowercase().str.slice(0, 3)
    number = name.replace({name: str(n) for n, name in enumerate(MONTHS, 1)}).str.zfill(2)
    date = pl.concat_str(century + year, pl.lit("-"), number, pl.lit("-"), pl.col(day).str.zfill(2))
    return _with_clock(date).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)


def _with_clock(date: pl.Expr) -> pl.Expr:
    """Append the time of day to a date, midnight if there is none."""
    hour, half = pl.col("hour").cast(pl.Int64), pl.col("half").str.to_lowercase()
    afternoon = pl.when(half == "p").then(12).otherwise(0)
    # An hour that no clock of twelve hours shows makes no time.
    of_twelve = pl.when(hour.is_between(1, 12)).then(hour % 12 + afternoon).otherwise(99)
    of_day = pl.when(half.is_null()).then(hour.fill_null(0)).otherwise(of_twelve)
    return pl.concat_str(
        date,
        pl.lit(" "),
        of_day.cast(pl.String).str.zfill(2),
        pl.lit(":"),
        pl.col("minute").fill_null("00"),
        pl.lit(":"),
        pl.col("second").fill_null("00"),
        pl.lit("."),
        pl.col("fraction").fill_null("0").str.slice(0, 6),
    )
