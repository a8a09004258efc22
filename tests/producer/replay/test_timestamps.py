"""Tests of the times of recordings: forms, time zones, and times that do not exist."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from streaming.errors import UsageError
from streaming.producer.replay.timestamps import read_times, utc_text

LONDON = "Europe/London"
INSTANT = "2010-12-01T08:26:00.000000Z"


def texts(
    values: list[object], zone: str = "UTC", dtype: pl.DataType | None = None
) -> list[object]:
    """Return what is sent for a column of times: its instant in UTC, or what there was."""
    times = read_times(pl.Series("when", values, dtype=dtype), zone)
    written = utc_text(times["time"]).to_list()
    return [text or raw for text, raw in zip(written, times["raw"].to_list(), strict=True)]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("2010-12-01 08:26:00", INSTANT),
        ("2010-12-01 08:26", INSTANT),
        ("2010-12-01 8:26", INSTANT),
        ("2010-12-01T08:26:00Z", INSTANT),
        ("2010-12-01t08:26:00z", INSTANT),
        ("2010-12-01T10:26:00+02:00", INSTANT),
        ("2010-11-30T23:26:00-09:00", INSTANT),
        ("2010-12-01", "2010-12-01T00:00:00.000000Z"),
        ("2010-12-01 08:26:00.5", "2010-12-01T08:26:00.500000Z"),
        ("2010-12-01 08:26:00.123456789", "2010-12-01T08:26:00.123456Z"),
        ("1291191960000", INSTANT),
        ("12/31/2010 8:26", "2010-12-31T08:26:00.000000Z"),
        ("31/12/2010 08:26:07", "2010-12-31T08:26:07.000000Z"),
        ("12/31/10", "2010-12-31T00:00:00.000000Z"),
    ],
)
def test_texts_are_read_in_many_forms(value: str, sent: str) -> None:
    """ISO with or without offset, epoch milliseconds, and slashes where they are unambiguous."""
    assert texts([value]) == [sent]


@pytest.mark.parametrize(
    "value",
    [
        "2010-12-01 24:00:00",
        "2010-12-01 23:59:60",
        "2010-02-30 08:26:00",
        "2010-12-01 08:26:00 CET",
        "2010-12-01 08:26:00+24:00",
        "yesterday",
        "",
        "1e400",
    ],
)
def test_a_text_that_is_no_time_is_sent_as_it_stands(value: str) -> None:
    """For the processor to refuse; the other rows are not disturbed."""
    assert texts(["2010-12-01 08:26:00", value]) == [INSTANT, value]


def test_typed_columns_are_read_exactly() -> None:
    """Naive and aware times of any unit, dates, and whole numbers as epoch milliseconds."""
    naive = datetime(2010, 12, 1, 8, 26)
    aware = datetime(2010, 12, 1, 10, 26, tzinfo=timezone(timedelta(hours=2)))
    for unit in ("ms", "us", "ns"):
        assert texts([naive], dtype=pl.Datetime(unit)) == [INSTANT]
        assert texts([aware], LONDON, dtype=pl.Datetime(unit, "Asia/Tokyo")) == [INSTANT]
    assert texts([date(2010, 12, 1)]) == ["2010-12-01T00:00:00.000000Z"]
    assert texts([1_291_191_960_000]) == [INSTANT]
    assert texts([2**62, 1_291_191_960_000]) == [2**62, INSTANT]


@pytest.mark.parametrize("typed", [True, False])
def test_naive_times_are_in_the_time_zone(typed: bool) -> None:  # noqa: FBT001 - a parameter
    """One that exists twice is the earlier, one that does not exist is sent as its text."""
    values: list[object] = [
        datetime(2011, 3, 27, 0, 59, 59),
        datetime(2011, 3, 27, 1, 30),
        datetime(2011, 3, 27, 2, 0),
        datetime(2011, 10, 30, 1, 30),
        datetime(2011, 10, 30, 2, 0),
        None,
    ]
    if not typed:
        values = [value and str(value) for value in values]
    assert texts(values, LONDON) == [
        "2011-03-27T00:59:59.000000Z",
        "2011-03-27 01:30:00",
        "2011-03-27T01:00:00.000000Z",
        "2011-10-30T00:30:00.000000Z",
        "2011-10-30T02:00:00.000000Z",
        None,
    ]


def test_every_hour_of_a_year_is_where_the_standard_library_has_it() -> None:
    """An independent path over all of London's 2011: `zoneinfo`, with fold 0 for the earlier."""
    from zoneinfo import ZoneInfo

    naive = [datetime(2011, 1, 1) + timedelta(minutes=30 * n) for n in range(365 * 48)]
    expected: list[object] = []
    for time in naive:
        aware = time.replace(tzinfo=ZoneInfo(LONDON)).astimezone(UTC)
        exists = aware.astimezone(ZoneInfo(LONDON)).replace(tzinfo=None) == time
        expected.append(f"{aware:%Y-%m-%dT%H:%M:%S}.000000Z" if exists else str(time))
    assert texts(list(naive), LONDON) == expected
    assert sum(str(text).endswith("Z") for text in expected) == 365 * 48 - 2


def test_the_column_tells_whether_day_or_month_comes_first() -> None:
    """One value that can only be read in one way decides for all."""
    assert texts(["1/2/2011 8:00", "13/2/2011 8:00"])[0] == "2011-02-01T08:00:00.000000Z"
    assert texts(["1/2/2011 8:00", "2/13/2011 8:00"])[0] == "2011-01-02T08:00:00.000000Z"
    assert texts(["2/2/2011 8:00"]) == ["2011-02-02T08:00:00.000000Z"]
    with pytest.raises(UsageError, match=r"'when'.*'1/2/2011 8:00'.*day or the month"):
        texts(["1/2/2011 8:00"])


@pytest.mark.parametrize(
    ("day_first", "first"),
    [(True, "2011-02-01T08:00:00.000000Z"), (False, "2011-01-02T08:00:00.000000Z")],
)
def test_an_option_tells_it_where_the_column_does_not(day_first: bool, first: str) -> None:  # noqa: FBT001 - a parameter
    """What has no such day is sent as it stands; where the form shows the order, it counts."""
    times = read_times(pl.Series("when", ["1/2/2011 8:00"]), "UTC", day_first=day_first)
    assert utc_text(times["time"]).to_list() == [first]
    dotted = read_times(pl.Series("when", ["1.2.2011"]), "UTC", day_first=day_first)
    assert utc_text(dotted["time"]).to_list() == ["2011-02-01T00:00:00.000000Z"]


@pytest.mark.parametrize(
    "values", [["1291191960.5", None, "1291191961"], [1_291_191_960.5, None, 1_291_191_961.0]]
)
def test_seconds_with_decimals_are_seconds(values: list[object]) -> None:
    """As `time.time()` gives them, if the whole column is so."""
    assert texts(values) == ["2010-12-01T08:26:00.500000Z", None, "2010-12-01T08:26:01.000000Z"]


@pytest.mark.parametrize("values", [["HEART", "LANTERN"], [2.55, 3.39], [True]])
def test_a_column_without_one_time_is_the_wrong_column(values: list[object]) -> None:
    """It is named, with an example of what it holds."""
    with pytest.raises(UsageError, match=r"column 'when' is a time .*--map timestamp=COLUMN"):
        texts(values)


def test_a_column_of_nulls_is_sent_as_it_stands() -> None:
    """Nothing shows that it is the wrong column."""
    assert texts([None], dtype=pl.String()) == [None]


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (710_489_600, "seconds since 1970"),
        ("710489600", "seconds since 1970"),
        (710_489_600.25, "seconds since 1970"),
        ("710489600.25", "seconds since 1970"),
        (1_710_489_600_000_000, "microseconds since 1970"),
        ("1710489600000000000", "nanoseconds since 1970"),
        (20_240_315, "days as YYYYMMDD"),
        ("20240315", "days as YYYYMMDD"),
        ("202403150810", "minutes as YYYYMMDDhhmm"),
        (20_240_315_081_000, "seconds as YYYYMMDDhhmmss"),
        ("45366", "day numbers"),
        (19_797, "day numbers"),
    ],
)
def test_numbers_in_another_unit_are_refused_naming_it(value: object, unit: str) -> None:
    """Taken for milliseconds, three days would be stored within 86 ms of January 1970."""
    with pytest.raises(UsageError, match=rf"'when' holds {unit} \({value!r} for example\); write"):
        texts([value, None, value])


@pytest.mark.parametrize("cell", ["n/a", "20240315", "1710489600", "99999999999999999999"])
def test_one_bad_cell_among_milliseconds_is_sent_as_it_stands(cell: str) -> None:
    """It is the processor's to refuse, and takes no other row along."""
    assert texts(["1291191960000", cell, "1291191960000"]) == [INSTANT, cell, INSTANT]


@pytest.mark.parametrize(
    "values",
    [
        [1_291_191_960, None, 1_291_191_961],
        ["1291191960", None, "1291191961"],
        [1291191960.0, None],
    ],
)
def test_a_whole_column_of_ten_digits_is_seconds(values: list[object]) -> None:
    """The commonest unit of programs; beside anything else a number is milliseconds."""
    assert texts(values)[:2] == [INSTANT, None]


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("UTC", "2018-11-04", "2018-11-04T00:00:00.000000Z"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00.000000Z"),
        ("America/Santiago", "2019-09-08", "2019-09-08T04:00:00.000000Z"),
        ("Asia/Beirut", "2021-03-28", "2021-03-27T22:00:00.000000Z"),
        ("Atlantic/Azores", "2021-03-28", "2021-03-28T01:00:00.000000Z"),
        ("America/Havana", "2018-11-04", "2018-11-04T04:00:00.000000Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00.000000Z"),
    ],
)
def test_a_date_alone_is_a_day_in_every_zone(zone: str, day: str, first: str) -> None:
    """From its first instant, where it begins at 01:00 too; a day that was left out is none."""
    assert texts([day], zone) == [first]
    assert texts([date.fromisoformat(day)], zone, pl.Date()) == [first]
    slashed = f"{day[5:7]}/{day[8:]}/{day[:4]}"
    if first != day and int(day[8:]) > 12:
        assert texts([slashed], zone) == [first]
    by_format = read_times(pl.Series("when", [slashed]), zone, "%m/%d/%Y")
    assert utc_text(by_format["time"])[0] == (None if first == day else first)


@pytest.mark.parametrize(
    ("form", "value", "sent"),
    [
        ("%d.%m.%Y %H:%M", "31.10.2014 13:04", "2014-10-31T13:04:00.000000Z"),
        ("%m/%d/%Y %I:%M %p", "03/04/2024 2:05 PM", "2024-03-04T14:05:00.000000Z"),
        ("%d/%m/%Y", "03/04/2024", "2024-04-03T00:00:00.000000Z"),
        ("%b %d, %Y", "Oct 31, 2014", "2014-10-31T00:00:00.000000Z"),
        ("%Y-%m-%d %H:%M:%S %z", "2014-10-31 13:04:09 -0400", "2014-10-31T17:04:09.000000Z"),
        ("%Y%m%d", "20240315", "2024-03-15T00:00:00.000000Z"),
    ],
)
def test_a_form_that_is_named_is_read(form: str, value: str, sent: str) -> None:
    """As strftime spells it; what has another form is sent as it stands."""
    times = read_times(pl.Series("when", [value, "yesterday"]), "UTC", form)
    assert utc_text(times["time"]).to_list() == [sent, None]
    assert times["raw"].to_list() == [None, "yesterday"]
    with pytest.raises(UsageError, match=r"'when' has the form of --date-format .*'yesterday'"):
        read_times(pl.Series("when", ["yesterday"]), "UTC", form)


READ_FORMS = {
    "2024-03-27 10:05:09 -0400": "2024-03-27T14:05:09.000000Z",
    "2024-03-27T10:05:09-0400": "2024-03-27T14:05:09.000000Z",
    "2024-03-27 14:05:09 UTC": "2024-03-27T14:05:09.000000Z",
    "2024-03-27 14:05:09": "2024-03-27T14:05:09.000000Z",
    "2024-03-27T14:05:09": "2024-03-27T14:05:09.000000Z",
    "2024-03-27T14:05:09Z": "2024-03-27T14:05:09.000000Z",
    "2024-03-27T10:05:09-04:00": "2024-03-27T14:05:09.000000Z",
    "2024-03-27 10:05:09 -04:00": "2024-03-27T14:05:09.000000Z",
    "27/03/2024 14:05": "2024-03-27T14:05:00.000000Z",
    "3/27/24 14:05": "2024-03-27T14:05:00.000000Z",
    "27-03-2024 14:05": "2024-03-27T14:05:00.000000Z",
    "27.03.2024": "2024-03-27T00:00:00.000000Z",
    "7.3.2024 14:05": "2024-03-07T14:05:00.000000Z",
    "2024/03/27 14:05": "2024-03-27T14:05:00.000000Z",
    "03/27/2024 2:05 PM": "2024-03-27T14:05:00.000000Z",
    "3/27/2024, 12:05:09\u202fa.m.": "2024-03-27T00:05:09.000000Z",
    "2024-03-27 2:05 PM": "2024-03-27T14:05:00.000000Z",
    "27 Mar 2024": "2024-03-27T00:00:00.000000Z",
    "27-Mar-2024 14:05": "2024-03-27T14:05:00.000000Z",
    "March 27, 2024": "2024-03-27T00:00:00.000000Z",
    "Sept. 7th, 2024 2:05 pm": "2024-09-07T14:05:00.000000Z",
    "Wed, 27 Mar 2024 14:05:09 GMT": "2024-03-27T14:05:09.000000Z",
    "Wed, 27 Mar 2024 10:05:09 -0400": "2024-03-27T14:05:09.000000Z",
}
OTHER_FORMS = [
    "2024-03-27 14:05:09 Europe/London",
    "27.03.2024 14:05 PM",
    "March 2024",
    "27 Mär 2024",
    "20240327T140509Z",
    "2024-W13-3",
]


@pytest.mark.parametrize(("form", "sent"), READ_FORMS.items())
def test_a_form_of_time_is_read_right(form: str, sent: str) -> None:
    """The forms that spreadsheets and databases write most."""
    assert texts([form]) == [sent]


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_another_form_of_time_is_refused_with_the_forms_that_are_read(form: str) -> None:
    """Never taken for another time: the column is refused, and beside read ones the cell is."""
    with pytest.raises(UsageError) as refused:
        texts([form])
    assert f"({form!r} for example); write times as 2011-03-27 13:05" in str(refused.value)
    assert texts(["2010-12-01 08:26:00", form]) == [INSTANT, form]
