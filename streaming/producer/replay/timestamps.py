"""Instants from a recording's time column: typed or text, with an offset or in a time zone.

Pure, and of whole columns only. A time that cannot be read has no instant and stays as it is, for
the processor to refuse.
"""

import re
from typing import Final

import polars as pl

from streaming.errors import UsageError
from streaming.producer.replay.time_texts import read_texts

MICROSECONDS: Final = 1_000_000
MILLISECOND: Final = 1_000
DAY: Final = 86_400 * MICROSECONDS
# The years 1 to 9999, which are all that Python's times can hold.
FIRST_INSTANT: Final = -62_135_596_800 * MICROSECONDS
END_OF_INSTANTS: Final = 253_402_300_800 * MICROSECONDS
FIRST_SECOND: Final = 315_532_800
END_OF_SECONDS: Final = 7_258_118_400
"""Whole numbers are milliseconds from 1980 to 2200. Others count something else: 202403150810 would
be a time in 1976."""
TEN_DIGITS: Final = 10**9
"""From here to 2200 seconds have ten digits; a whole column of them is seconds since 2001."""
OTHER_UNITS: Final[tuple[tuple[str, int, int], ...]] = (
    ("seconds since 1970", FIRST_SECOND, END_OF_SECONDS),
    ("microseconds since 1970", FIRST_SECOND * 10**6, END_OF_SECONDS * 10**6),
    ("nanoseconds since 1970", FIRST_SECOND * 10**9, END_OF_SECONDS * 10**9),
    ("days as YYYYMMDD", 19_800_101, 22_000_101),
    ("minutes as YYYYMMDDhhmm", 198_001_010_000, 220_001_010_000),
    ("seconds as YYYYMMDDhhmmss", 19_800_101_000_000, 22_000_101_000_000),
    ("day numbers", 3_652, 110_000),
)
"""What else numbers of a recording count, and from where to where; no two overlap."""

_WHOLE_NUMBER = r"^(-?[0-9]{1,18})$"
_DECIMAL_SECONDS = r"^[0-9]{10}(?:\.[0-9]{1,9})?$"
_CLOCK_CODE = r"%[-_0]?[HIklMSTRrXcs+]"
_OFFSET_CODE = r"%(?:#|:{0,3})z"


def read_times(
    column: pl.Series,
    zone: str,
    date_format: str | None = None,
    *,
    day_first: bool | None = None,
) -> pl.DataFrame:
    """Return `time` (µs since 1970 UTC, Int64; null if there is none) and `raw`.

    `raw` is what is sent if there is no instant: text, or whole numbers. Whole numbers are epoch
    milliseconds, or seconds if all have ten digits. Text is read by `date_format` if there is one;
    `day_first` says what `3/4/2024` is (None: the column shows it).
    Naive times are in the IANA time zone `zone`: one that exists twice is the earlier, one that
    does not exist has no instant, and a date alone is the first instant of its day. Raises
    `UsageError` if not one value is a time, naming the unit of numbers, or if nothing shows whether
    day or month comes first.
    """
    if date_format is not None and column.dtype in (pl.String, pl.Categorical):
        time, has_form = _by_format(column.cast(pl.String), zone, date_format)
    else:
        time, has_form = _instants(column, zone, day_first=day_first)
    filled = column.drop_nulls()
    if filled.len() and not has_form.any():
        raise UsageError(_no_time(filled, date_format))
    inside = time.is_between(FIRST_INSTANT, END_OF_INSTANTS, closed="left").fill_null(value=False)
    nothing = pl.Series([None], dtype=pl.Int64)
    raw = column.zip_with(~inside, nothing.cast(column.dtype))
    return pl.DataFrame({"time": time.zip_with(inside, nothing), "raw": _as_written(raw)})


def _no_time(values: pl.Series, date_format: str | None) -> str:
    """Return what is wrong with a column without one time, which may count in another unit."""
    example = values[0]
    if date_format is not None:
        return (
            f"Not one value of the column {values.name!r} has the form of --date-format"
            f" {date_format!r} ({example!r} for example)."
        )
    number = pl.Series([str(example)]).cast(pl.Float64, strict=False)[0]
    for unit, first, end in OTHER_UNITS:
        if number is not None and first <= number < end:
            return (
                f"The column {values.name!r} holds {unit} ({example!r} for example); write its"
                " times as milliseconds since 1970 or as 2011-03-27 13:05."
            )
    return (
        f"Not one value of the column {values.name!r} is a time in a form that is read"
        f" ({example!r} for example); write times as 2011-03-27 13:05 or 2011-03-27T13:05:00Z,"
        " name their form with --date-format, or another column with --map timestamp=COLUMN."
    )


def utc_text(micros: pl.Series) -> pl.Series:
    """Write instants (µs) as RFC 3339 in UTC with six decimals and `Z`; null stays null."""
    return micros.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def _instants(
    column: pl.Series, zone: str, *, day_first: bool | None
) -> tuple[pl.Series, pl.Series]:
    """Return the instants (µs), and which values have the form of a time at all."""
    if _are_decimal_seconds(column):
        time = (column.cast(pl.Decimal(28, 9)) * MICROSECONDS).cast(pl.Int64)
        return time, time.is_not_null()
    if column.dtype.is_float() and column.drop_nulls().is_in(column.drop_nulls().round()).all():
        # Whole numbers that were kept as floats, because others are missing.
        column = column.cast(pl.Int64, strict=False)
    if column.dtype.is_integer():
        time = _from_numbers(column.cast(pl.Int64, strict=False))
        return time, time.is_not_null()
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        time = column.dt.epoch("us")
    elif column.dtype == pl.Date:
        time = _start_of_days(column.cast(pl.Datetime("us")), zone)
    elif column.dtype == pl.Datetime:
        time = _in_zone(column.cast(pl.Datetime("us")), zone)
    else:
        text = column.cast(pl.String)
        whole = text.str.extract(_WHOLE_NUMBER).cast(pl.Int64)
        numbers = _from_numbers(whole, only=whole.null_count() == text.null_count())
        time, has_form = _from_text(text, zone, day_first=day_first)
        is_number = numbers.is_not_null()
        return numbers.zip_with(is_number, time), has_form | is_number
    return time, column.is_not_null()


def _are_decimal_seconds(column: pl.Series) -> bool:
    """Return whether a column has nothing but seconds of ten digits, some with decimals."""
    filled = column.drop_nulls()
    if filled.is_empty():
        return False
    if column.dtype.is_float():
        inside = filled.is_between(TEN_DIGITS, END_OF_SECONDS, closed="left")
        return bool(inside.all() and not filled.is_in(filled.round()).all())
    if column.dtype != pl.String:
        return False
    return bool(
        filled.str.contains(".", literal=True).any() and filled.str.contains(_DECIMAL_SECONDS).all()
    )


def _from_numbers(whole: pl.Series, *, only: bool = True) -> pl.Series:
    """Return instants of epoch milliseconds, or of seconds if all have ten digits.

    `only` says that the column has nothing but numbers.
    """
    filled = whole.drop_nulls()
    if only and filled.len() and filled.is_between(TEN_DIGITS, END_OF_SECONDS, closed="left").all():
        return whole * MICROSECONDS
    plausible = whole.is_between(FIRST_SECOND * 1_000, END_OF_SECONDS * 1_000, closed="left")
    return pl.select(pl.when(plausible).then(whole * MILLISECOND)).to_series()


def _in_zone(naive: pl.Series, zone: str) -> pl.Series:
    aware = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return aware.dt.epoch("us")


def _start_of_days(midnight: pl.Series, zone: str) -> pl.Series:
    """Return the first instants of days, also of those that begin later than at midnight."""
    time = _in_zone(midnight, zone)
    # A day after the midnight before is the moment at which the clocks were put forward.
    day_before = _in_zone(midnight.dt.offset_by("-1d"), zone)
    later = day_before + DAY
    local = later.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).dt.date()
    # Not the day after, if the zone left out a whole day.
    exists = (local == midnight.dt.date()).fill_null(value=False)
    nothing = pl.Series([None], dtype=pl.Int64)
    return time.zip_with(time.is_not_null(), later.zip_with(exists, nothing))


def _by_format(text: pl.Series, zone: str, form: str) -> tuple[pl.Series, pl.Series]:
    """Return the instants of texts in a form of `strftime`, and which have that form."""
    if re.search(_OFFSET_CODE, form):
        time = text.str.strptime(pl.Datetime("us", "UTC"), form, strict=False).dt.epoch("us")
        return time, time.is_not_null()
    if re.search(_CLOCK_CODE, form):
        naive = text.str.strptime(pl.Datetime("us"), form, strict=False)
        return _in_zone(naive, zone), naive.is_not_null()
    days = text.str.strptime(pl.Date, form, strict=False).cast(pl.Datetime("us"))
    return _start_of_days(days, zone), days.is_not_null()


def _as_written(column: pl.Series) -> pl.Series:
    """Return times as they are in the file: whole numbers, anything else as text."""
    if column.dtype.is_integer():
        return column
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
        return column.dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    return column.cast(pl.String)


def _from_text(
    text: pl.Series, zone: str, *, day_first: bool | None
) -> tuple[pl.Series, pl.Series]:
    """Return the instants, and which values have the form of a time."""
    parts = read_texts(text, day_first=day_first)
    naive = parts["naive"]
    stated = naive.dt.epoch("us") - parts["ahead"] * 60 * MICROSECONDS
    local = _in_zone(naive, zone).zip_with(parts["has_clock"], _start_of_days(naive, zone))
    return stated.zip_with(parts["ahead"].is_not_null(), local), naive.is_not_null()
