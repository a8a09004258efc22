"""The rules of `timestamp` at their limits, one payload a line.

A row is a name, a value, and the fields that the event must have or the code of its refusal.
"""

import pytest

from tests.events.given import purchase, purchase_at
from tests.events.rows import Row, at, judge


def epoch(digits: str) -> bytes:
    """Write a purchase with a number as timestamp."""
    return purchase(timestamp=digits)


NOON = at("2025-11-24T12:00:00Z")
MICRO = at("2025-11-24T12:00:00.123456Z")

ROWS = [
    # timestamp, as text
    Row("time null", purchase(timestamp="null"), "wrong_type"),
    Row("time in UTC", purchase_at("2025-11-24T12:00:00Z"), NOON),
    Row("time with lower-case letters", purchase_at("2025-11-24t12:00:00z"), NOON),
    Row("time with a space", purchase_at("2025-11-24 12:00:00Z"), NOON),
    Row(
        "time with an offset", purchase_at("2025-11-24T12:00:00+05:30"), at("2025-11-24T06:30:00Z")
    ),
    Row("time with -00:00", purchase_at("2025-11-24T12:00:00-00:00"), NOON),
    Row("time at +23:59", purchase_at("2025-11-24T12:00:00+23:59"), at("2025-11-23T12:01:00Z")),
    Row("time at -23:59", purchase_at("2025-11-24T12:00:00-23:59"), at("2025-11-25T11:59:00Z")),
    Row("time at +24:00", purchase_at("2025-11-24T12:00:00+24:00"), "invalid_timestamp"),
    Row("time at +05:60", purchase_at("2025-11-24T12:00:00+05:60"), "invalid_timestamp"),
    Row("time at +0530", purchase_at("2025-11-24T12:00:00+0530"), "invalid_timestamp"),
    Row("time at +05", purchase_at("2025-11-24T12:00:00+05"), "invalid_timestamp"),
    Row("time at +05:30:30", purchase_at("2025-11-24T12:00:00+05:30:30"), "invalid_timestamp"),
    Row("time at a minus sign", purchase_at("2025-11-24T12:00:00\u221205:30"), "invalid_timestamp"),
    Row("time without offset", purchase_at("2025-11-24T12:00:00"), "invalid_timestamp"),
    Row("time without seconds", purchase_at("2025-11-24T12:00Z"), "invalid_timestamp"),
    Row("time without time", purchase_at("2025-11-24"), "invalid_timestamp"),
    Row("time of no characters", purchase_at(""), "invalid_timestamp"),
    Row("time with a space after", purchase_at("2025-11-24T12:00:00Z "), "invalid_timestamp"),
    Row("time with a line feed after", purchase_at("2025-11-24T12:00:00Z\\n"), "invalid_timestamp"),
    Row("time in basic form", purchase_at("20251124T120000Z"), "invalid_timestamp"),
    Row("time as a week date", purchase_at("2025-W48-1T12:00:00Z"), "invalid_timestamp"),
    Row("time in other digits", purchase_at("٢٠٢٥-11-24T12:00:00Z"), "invalid_timestamp"),
    Row(
        "time with a lone surrogate", purchase_at("2025-11-24T12:00:00\\ud800"), "invalid_timestamp"
    ),
    Row("time with U+0000", purchase_at("2025-11-24T12:00:00Z\\u0000"), "invalid_timestamp"),
    Row("time as text of a number", purchase_at("1763985600000"), "invalid_timestamp"),
    Row("leap second", purchase_at("2016-12-31T23:59:60Z"), "invalid_timestamp"),
    Row("minute 60", purchase_at("2025-11-24T12:60:00Z"), "invalid_timestamp"),
    Row("hour 23", purchase_at("2025-11-24T23:59:59Z"), at("2025-11-24T23:59:59Z")),
    Row("hour 24", purchase_at("2025-11-24T24:00:00Z"), "invalid_timestamp"),
    Row(
        "29 February of a leap year",
        purchase_at("2024-02-29T00:00:00Z"),
        at("2024-02-29T00:00:00Z"),
    ),
    Row("29 February of another", purchase_at("2025-02-29T00:00:00Z"), "invalid_timestamp"),
    Row("month 0", purchase_at("2025-00-01T00:00:00Z"), "invalid_timestamp"),
    Row("month 13", purchase_at("2025-13-01T00:00:00Z"), "invalid_timestamp"),
    Row("day 0", purchase_at("2025-11-00T00:00:00Z"), "invalid_timestamp"),
    Row("day 31 of November", purchase_at("2025-11-31T00:00:00Z"), "invalid_timestamp"),
    Row("fraction of 1 digit", purchase_at("2025-11-24T12:00:00.5Z"), at("2025-11-24T12:00:00.5Z")),
    Row("fraction of 6 digits", purchase_at("2025-11-24T12:00:00.123456Z"), MICRO),
    Row("fraction of 7 digits is cut", purchase_at("2025-11-24T12:00:00.1234569Z"), MICRO),
    Row("fraction of nines is cut", purchase_at(f"2025-11-24T12:00:00.123456{'9' * 100}Z"), MICRO),
    Row("fraction of no digit", purchase_at("2025-11-24T12:00:00.Z"), "invalid_timestamp"),
    Row("fraction after a comma", purchase_at("2025-11-24T12:00:00,5Z"), "invalid_timestamp"),
    Row("year 0", purchase_at("0000-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("year 1", purchase_at("0001-01-01T00:00:00Z"), "timestamp_too_old"),
    Row("year 1, in UTC year 0", purchase_at("0001-01-01T00:00:00+00:01"), "invalid_timestamp"),
    Row("year 9999", purchase_at("9999-12-31T23:59:59.999999Z"), "timestamp_in_future"),
    Row("year 9999, in UTC 10000", purchase_at("9999-12-31T23:59:59-00:01"), "invalid_timestamp"),
    Row("year 10000", purchase_at("10000-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("year -1", purchase_at("-001-01-01T00:00:00Z"), "invalid_timestamp"),
    Row("start of history", purchase_at("2010-01-01T00:00:00Z"), at("2010-01-01T00:00:00Z")),
    Row(
        "before the start of history",
        purchase_at("2009-12-31T23:59:59.999999Z"),
        "timestamp_too_old",
    ),
    Row(
        "start of history by its offset",
        purchase_at("2010-01-01T00:59:59+01:00"),
        "timestamp_too_old",
    ),
    Row("24 h after the record", purchase_at("2025-11-25T16:00:00Z"), at("2025-11-25T16:00:00Z")),
    Row(
        "over 24 h after the record",
        purchase_at("2025-11-25T16:00:00.000001Z"),
        "timestamp_in_future",
    ),
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
