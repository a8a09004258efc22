"""The rules of `timestamp` at their limits, one payload a line.

A row is a name, a value, and the fields that the event must have or the code of its refusal.
"""

import pytest

from tests.events.given import purchase, then
from tests.events.rows import Row, at, judge


def epoch(digits: str) -> bytes:
    """Write a purchase with a number as timestamp."""
    return purchase(timestamp=digits)


NOON = at("2025-11-24T12:00:00Z")
MICRO = at("2025-11-24T12:00:00.123456Z")

ROWS = [
    # timestamp, as text
    Row("time null", purchase(timestamp="null"), "wrong_type"),
    Row("time in UTC", then("2025-11-24T12:00:00Z"), NOON),
    Row("time with lower-case letters", then("2025-11-24t12:00:00z"), NOON),
    Row("time with a space", then("2025-11-24 12:00:00Z"), NOON),
    Row("time with an offset", then("2025-11-24T12:00:00+05:30"), at("2025-11-24T06:30:00Z")),
    Row("time with -00:00", then("2025-11-24T12:00:00-00:00"), NOON),
    Row("time at +23:59", then("2025-11-24T12:00:00+23:59"), at("2025-11-23T12:01:00Z")),
    Row("time at -23:59", then("2025-11-24T12:00:00-23:59"), at("2025-11-25T11:59:00Z")),
    Row("time at +24:00", then("2025-11-24T12:00:00+24:00"), "invalid_timestamp"),
    Row("time at +05:60", then("2025-11-24T12:00:00+05:60"), "invalid_timestamp"),
    Row("time at +0530", then("2025-11-24T12:00:00+0530"), "invalid_timestamp"),
    Row("time at +05", then("2025-11-24T12:00:00+05"), "invalid_timestamp"),
    Row("time at +05:30:30", then("2025-11-24T12:00:00+05:30:30"), "invalid_timestamp"),
    Row("time at a minus sign", then("2025-11-24T12:00:00\u221205:30"), "invalid_timestamp"),
    Row("time without offset", then("2025-11-24T12:00:00"), "invalid_timestamp"),
    Row("time without seconds", then("2025-11-24T12:00Z"), "invalid_timestamp"),
    Row("time without time", then("2025-11-24"), "invalid_timestamp"),
    Row("time of no characters", then(""), "invalid_timestamp"),
    Row("time with a space after", then("2025-11-24T12:00:00Z "), "invalid_timestamp"),
    Row("time with a line feed after", then("2025-11-24T12:00:00Z\\n"), "invalid_timestamp"),
    Row("time in basic form", then("20251124T120000Z"), "invalid_timestamp"),
    Row("time as a week date", then("2025-W48-1T12:00:00Z"), "invalid_timestamp"),
    Row("time in other digits", then("٢٠٢٥-11-24T12:00:00Z"), "invalid_timestamp"),
    Row("time with a lone surrogate", then("2025-11-24T12:00:00\\ud800"), "invalid_timestamp"),
    Row("time with U+0000", then("2025-11-24T12:00:00Z\\u0000"), "invalid_timestamp"),
    Row("time as text of a number", then("1763985600000"), "invalid_timestamp"),
    Row("leap second", then("2016-12-31T23:59:60Z"), "invalid_timestamp"),
    Row("minute 60", then("2025-11-24T12:60:00Z"), "invalid_timestamp"),
    Row("hour 23", then("2025-11-24T23:59:59Z"), at("2025-11-24T23:59:59Z")),
    Row("hour 24", then("2025-11-24T24:00:00Z"), "invalid_timestamp"),
    Row("29 February of a leap year", then("2024-02-29T00:00:00Z"), at("2024-02-29T00:00:00Z")),
    Row("29 February of another", then("2025-02-29T00:00:00Z"), "invalid_timestamp"),
    Row("month 0", then("2025-00-01T00:00:00Z"), "invalid_timestamp"),
    Row("month 13", then("2025-13-01T00:00:00Z"), "invalid_timestamp"),
    Row("day 0", then("2025-11-00T00:00:00Z"), "invalid_timestamp"),
    Row("day 31 of November", then("2025-11-31T00:00:00Z"), "invalid_timestamp"),
    Row("fraction of 1 digit", then("2025-11-24T12:00:00.5Z"), at("2025-11-24T12:00:00.5Z")),
    Row("fraction of 6 digits", then("2025-11-24T12:00:00.123456Z"), MICRO),
    Row("fraction of 7 digits is cut", then("2025-11-24T12:00:00.1234569Z"), MICRO),
    Row("fraction of nines is cut", then(f"2025-11-24T12:00:00.123456{'9' * 100}Z"), MICRO),
    Row("fraction of no digit", then("2025-11-24T12:00:00.Z"), "invalid_timestamp"),
    Row("fraction after a comma", then("2025-11-24T12:00:00,5Z"), "invalid_timestamp"),
    Row("year 0", then("0000-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("year 1", then("0001-01-01T00:00:00Z"), "timestamp_too_old"),
    Row("year 1, in UTC year 0", then("0001-01-01T00:00:00+00:01"), "invalid_timestamp"),
    Row("year 9999", then("9999-12-31T23:59:59.999999Z"), "timestamp_in_future"),
    Row("year 9999, in UTC 10000", then("9999-12-31T23:59:59-00:01"), "invalid_timestamp"),
    Row("year 10000", then("10000-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("year -1", then("-001-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("start of history", then("2010-01-01T00:00:00Z"), at("2010-01-01T00:00:00Z")),
    Row("before the start of history", then("2009-12-31T23:59:59.999999Z"), "timestamp_too_old"),
    Row("start of history by its offset", then("2010-01-01T00:59:59+01:00"), "timestamp_too_old"),
    Row("24 h after the record", then("2025-11-25T16:00:00Z"), at("2025-11-25T16:00:00Z")),
    Row("over 24 h after the record", then("2025-11-25T16:00:00.000001Z"), "timestamp_in_future"),
    # timestamp, as epoch milliseconds
    Row("epoch 0", epoch("0"), "timestamp_too_old"),
    Row("epoch -0", epoch("-0"), "timestamp_too_old"),
    Row("epoch -1", epoch("-1"), "timestamp_too_old"),
    Row("epoch of a millisecond", epoch("1763985600001"), at("2025-11-24T12:00:00.001Z")),
    Row("epoch of the start of history", epoch("1262304000000"), at("2010-01-01T00:00:00Z")),
    Row("epoch before the start of history", epoch("1262303999999"), "timestamp_too_old"),
    Row("epoch 24 h after the record", epoch("1764086400000"), at("2025-11-25T16:00:00Z")),
    Row("epoch over 24 h after the record", epoch("1764086400001"), "timestamp_in_future"),
    Row("epoch in microseconds", epoch("1763985600000000"), "invalid_timestamp"),
    Row("epoch of the last millisecond", epoch("253402300799999"), "timestamp_in_future"),
    Row("epoch of the year 10000", epoch("253402300800000"), "invalid_timestamp"),
    Row("epoch of the year 1", epoch("-62135596800000"), "timestamp_too_old"),
    Row("epoch before the year 1", epoch("-62135596800001"), "invalid_timestamp"),
    Row("epoch 2^63 - 1", epoch("9223372036854775807"), "invalid_timestamp"),
    Row("epoch 2^63", epoch("9223372036854775808"), "invalid_timestamp"),
    Row("epoch -2^63 - 1", epoch("-9223372036854775809"), "invalid_timestamp"),
    Row("epoch 2^64", epoch("18446744073709551616"), "invalid_timestamp"),
    Row("epoch of 400 digits", epoch("1" * 400), "invalid_timestamp"),
    Row("epoch of 5,000 digits", epoch("1" * 5_000), "invalid_timestamp"),
    Row("epoch with a point", epoch("1763985600000.0"), "wrong_type"),
    Row("epoch with an exponent", epoch("1763985600e3"), "wrong_type"),
    Row("epoch 1e400", epoch("1e400"), "wrong_type"),
    Row("epoch NaN", epoch("NaN"), "malformed_json"),
    Row("epoch true", epoch("true"), "wrong_type"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_timestamp_becomes_what_the_rules_say(row: Row) -> None:
    """The purchase has the fields of its row, or is refused with that code."""
    judge(row)
