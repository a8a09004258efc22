"""What holds for all tables of rules together: complete, and the same for both readers."""

import pytest

from streaming.events.purchase import decode_any, decode_valid
from streaming.events.refusal import Reason, Refusal
from tests.events import test_price_rules, test_purchase_rules, test_record_rules, test_time_rules
from tests.events.given import read
from tests.events.rows import Row, typed_fields

ROWS = [
    *test_record_rules.ROWS,
    *test_purchase_rules.ROWS,
    *test_time_rules.ROWS,
    *test_price_rules.ROWS,
]
JSON_ROWS = [row for row in ROWS if (row.value or b"").startswith(b"{")]


def test_no_row_hides_another_and_no_code_is_left_out() -> None:
    """Names are unique, and every code of the contract has an example."""
    assert len({row.name for row in ROWS}) == len(ROWS) >= 150
    assert {row.expected for row in ROWS if isinstance(row.expected, str)} == set(Reason) - {
        Reason.NOT_STORABLE,  # of `analytics`, see `test_analytics`
        Reason.UNKNOWN_SCHEMA,  # with a schema registry, see `tests/registry`
        Reason.SCHEMA_MISMATCH,  # likewise
    }


@pytest.mark.parametrize("row", JSON_ROWS, ids=lambda row: row.name)
def test_the_slow_reader_gives_the_same_verdict(row: Row) -> None:
    """A byte order mark sends any JSON to the slow reader, which decides the same."""
    value = row.value or b""
    origin, verdict = read(value, row.key, row.headers, row.topic)
    slow_origin, slow_verdict = read(b"\xef\xbb\xbf" + value, row.key, row.headers, row.topic)
    assert slow_origin == origin
    if isinstance(verdict, Refusal) and isinstance(slow_verdict, Refusal):
        assert slow_verdict.reason == verdict.reason
    elif row.name != "value at 256 KiB":
        assert slow_verdict == verdict


@pytest.mark.parametrize("row", JSON_ROWS, ids=lambda row: row.name)
def test_what_the_fast_reader_accepts_the_slow_one_reads_alike(row: Row) -> None:
    """Both give the same values of the same types."""
    text = (row.value or b"").decode(errors="replace")
    fast = decode_valid(text)
    assert fast is None or typed_fields(fast) == typed_fields(decode_any(text))
