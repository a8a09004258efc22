"""Tests of what is sent of a recording: refused rows, ids and shifts.

That the example gives the published totals is in `tests.docs.test_readme`.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from streaming.events.refusal import Refusal
from streaming.producer.replay.recording import Recording, read_recording
from streaming.producer.replay.row_ids import row_number_id
from streaming.producer.replay.rows import Value, price, quantity, rows
from streaming.units import EPOCH, MICROS, MICROSECOND
from tests.producer.recordings import EXAMPLE, PURCHASE, judge_row, read_csv, sent_values


@pytest.fixture(scope="module")
def example() -> Recording:
    """Return the example in UTC."""
    return read_recording(EXAMPLE, {}, "UTC")


def test_customers_have_no_decimals_and_are_the_key(example: Recording) -> None:
    """`17850.0` is 17850; a guest's key is the order."""
    keys = {row.number: row.key for row in islice(rows(example, 0), 1_444)}
    assert keys[0] == b"17850"
    assert keys[1443] == b"536544"


def test_the_id_of_an_earlier_release_stays() -> None:
    """UUIDv8: ms of the event, then 74 bits of SHA-256 of digest, row and shift, big-endian."""
    import hashlib

    digest, number, shift, micros = bytes(range(32)), 541_908, -3_600_000_000, 1_323_435_000_000_000
    content = digest + number.to_bytes(8, "big") + shift.to_bytes(8, "big", signed=True)
    bits = f"{int.from_bytes(hashlib.sha256(content).digest(), 'big'):0256b}"[:74]
    time = f"{(micros + shift) // 1000:048b}"
    expected = f"{int(time + '1000' + bits[:12] + '10' + bits[12:], 2):032x}"
    assert row_number_id(digest, number, shift, micros).replace("-", "") == expected
    assert row_number_id(digest, number, shift, None).startswith("00000000-0000-8")


def test_a_shift_moves_every_event_and_changes_every_id(tmp_path: Path) -> None:
    """By the same µs, ids included; a time that cannot be read stays its text."""
    lines = [
        PURCHASE,
        PURCHASE.replace("08:26:00", "23:59:59.5"),
        PURCHASE.replace("12-01", "13-01"),
    ]
    recording = read_csv(tmp_path, *lines)
    shift = 5_000 * 86_400 * MICROS + 1
    before, after = sent_values(recording), sent_values(recording, shift)
    for one, other in zip(before[:2], after[:2], strict=True):
        moved = datetime.fromisoformat(other["timestamp"]) - datetime.fromisoformat(
            one["timestamp"]
        )
        assert moved == shift * MICROSECOND
    assert before[2]["timestamp"] == after[2]["timestamp"] == "2010-13-01 08:26:00"
    # Without a time a row is not moved, so it says the same and is the same.
    ids = {row["event_id"] for row in before + after}
    assert len(ids) == 5


def test_rows_that_are_present_come_without_a_value(tmp_path: Path) -> None:
    """Numbers count from the file's first row, also where one begins later."""
    recording = read_csv(tmp_path, *[PURCHASE] * 5)
    present = {row["event_id"] for row in sent_values(recording)[2:4]}
    made = list(rows(recording, 0, 1, lambda _ids, _contents: present))
    assert [(row.number, row.value is None) for row in made] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]


@pytest.mark.parametrize(
    ("field", "cells", "reason"),
    [
        ("quantity", "536365,85123A,HEART,0,2010-12-01 08:26,2.55,1,UK", "invalid_quantity"),
        ("quantity", "536365,85123A,HEART,six,2010-12-01 08:26,2.55,1,UK", "wrong_type"),
        ("quantity", "536365,85123A,HEART,6.5,2010-12-01 08:26,2.55,1,UK", "wrong_type"),
        ("unit_price", '536365,85123A,HEART,6,2010-12-01 08:26,"2,5,5",1,UK', "invalid_price"),
        ("unit_price", "536365,85123A,HEART,6,2010-12-01 08:26,-1,1,UK", "invalid_price"),
        ("unit_price", "536365,85123A,HEART,6,2010-12-01 08:26,1e999,1,UK", "invalid_price"),
        ("item", "536365,,HEART,6,2010-12-01 08:26,2.55,1,UK", "wrong_type"),
        ("timestamp", "536365,85123A,HEART,6,,2.55,1,UK", "wrong_type"),
        ("timestamp", "536365,85123A,HEART,6,2011-03-27 01:30,2.55,1,UK", "invalid_timestamp"),
        ("user", f"536365,85123A,HEART,6,2010-12-01 08:26,2.55,{'x' * 129},UK", "invalid_user"),
    ],
)
def test_a_row_that_breaks_the_rules_is_sent_and_refused(
    tmp_path: Path, field: str, cells: str, reason: str
) -> None:
    """With its broken value, which is one of its cells, or null where that was empty."""
    recording = read_csv(tmp_path, cells, zone="Europe/London")
    verdict = judge_row(next(iter(rows(recording, 0))))
    assert isinstance(verdict, Refusal)
    assert verdict.reason == reason
    value = sent_values(recording)[0][field]
    assert value is None or str(value) in cells


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.55, "2.55"),
        (5.0, "5.0"),
        (0.001, "0.001"),
        (1e-06, "0.000001"),
        (-11062.06, "-11062.06"),
        (0.1 + 0.2, 0.1 + 0.2),
        (1e-07, 1e-07),
        (1e17, "100000000000000000"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (3, "3"),
        (Decimal("2.5500000000"), "2.55"),
        (Decimal("2.550"), "2.550"),
        ("2.50", "2.50"),
        ("2.5500000", 2.55),
        ("1e-05", 1e-05),
        ("£2.55", "£2.55"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        (None, None),
    ],
)
def test_prices_keep_every_digit(value: Value, expected: str | float | None) -> None:
    """Plain decimal text where the contract takes it, else the number, else what there was."""
    assert price(value) == expected
    assert type(price(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (6, 6),
        (-6, -6),
        (6.0, 6),
        (6.5, 6.5),
        (1e300, 1e300),
        (float("inf"), "inf"),
        (Decimal("6.00"), 6),
        ("6", 6),
        ("+6", 6),
        ("-6.0", -6),
        ("6.5", "6.5"),
        ("six", "six"),
        ("9" * 30, "9" * 30),
        (None, None),
    ],
)
def test_quantities_are_integers_where_they_are_whole(
    value: Value, expected: str | float | None
) -> None:
    """Anything else is sent as it stands."""
    assert quantity(value) == expected
    assert type(quantity(value)) is type(expected)


def test_local_times_become_instants(tmp_path: Path) -> None:
    """In the zone of the deployment, not of this machine."""
    row = next(iter(rows(read_csv(tmp_path, PURCHASE, zone="America/New_York"), 0)))
    assert row.micros is not None
    assert EPOCH + row.micros * MICROSECOND == datetime.fromisoformat("2010-12-01T13:26:00Z")
    assert timedelta(0) == datetime.fromisoformat("2010-12-01T13:26:00Z") - EPOCH - timedelta(
        microseconds=row.micros
    )
