"""The short way says what the long one says, or nothing."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given

from streaming.events.analytics import AnalyticsEvent, enrich
from streaming.events.fast_path import read_event_fast
from streaming.events.purchase import PurchaseEvent, read_purchase
from streaming.events.record import Record
from streaming.events.unknown_fields import list_unknown_fields
from streaming.processor.transform import transform
from tests.events.given import RULES, record, thorough
from tests.events.rows import Row
from tests.events.strategies import RECORDS
from tests.events.test_tables import JSON_ROWS

AT = "2024-05-01T12:00:00.000000Z"
PLAIN = b'{"user":"u1","item":"i1","timestamp":"2024-05-01T10:00:00.25Z"}'


def long_way(given_record: Record) -> AnalyticsEvent | None:
    """Return the analytics event as the two readers and `enrich` make it; None for a refusal."""
    _, verdict = read_purchase(given_record, RULES)
    return enrich(verdict, given_record, AT) if isinstance(verdict, PurchaseEvent) else None


def unknown_of(given_record: Record) -> Sequence[str]:
    """Return the unknown fields as the long way has them; none is an empty tuple."""
    return list_unknown_fields(given_record.value or b"") or ()


def require_same(given_record: Record) -> None:
    """Assert that the short way gives nothing, or what the long one gives."""
    short = read_event_fast(given_record, RULES, AT)
    assert short is None or short == (long_way(given_record), unknown_of(given_record))


@pytest.mark.parametrize("row", JSON_ROWS, ids=lambda row: row.name)
def test_the_short_way_never_says_otherwise(row: Row) -> None:
    """Whatever the contract's examples hold, both ways give the same event."""
    require_same(record(row.value, row.key, row.headers, row.topic))


@thorough
@given(RECORDS)
def test_no_record_is_read_otherwise(given_record: Record) -> None:
    """Of any record that the short way accepts the long one makes the same event."""
    require_same(given_record)


@pytest.mark.parametrize(
    "more",
    [
        b'"event_id":"0189d3a0-0000-7000-8000-0000000000AB"',
        b'"quantity":-3,"unit_price":"2.50","country":"\xc3\x85land","currency":"GBP"',
        b'"unit_price":1.5,"order_id":"1","description":null,"unknown":true',
        b'"timestamp":"2024-05-01T10:00:00Z"',
        b'"timestamp":"2024-05-01T10:00:00.123456Z"',
    ],
)
def test_what_is_plainly_right_goes_the_short_way(more: bytes) -> None:
    """The usual forms are accepted, so that the long way is the exception."""
    given_record = record(PLAIN[:-1] + b"," + more + b"}")
    short = read_event_fast(given_record, RULES, AT)
    assert short is not None
    require_same(given_record)


@pytest.mark.parametrize(
    "more",
    [
        b'"unknown":{"deep":1}',
        b'"unknown":[1]',
        b'"description":"\\u0041"',
        b'"description":"\x00"',
        b'"description":"\xff"',
        b'"timestamp":"2024-05-01T10:00:00.1234567Z"',
        b'"timestamp":"2024-05-01T10:00:00+00:00"',
        b'"timestamp":"2024-02-30T10:00:00Z"',
        b'"timestamp":"2009-12-31T23:59:59Z"',
        b'"timestamp":"2999-01-01T00:00:00Z"',
        b'"quantity":0',
        b'"currency":"EUR"',
        b'"unit_price":"-5"',
    ],
)
def test_what_may_be_wrong_goes_the_long_way(more: bytes) -> None:
    """The short way decides nothing about it, neither yes nor no."""
    assert read_event_fast(record(PLAIN[:-1] + b"," + more + b"}"), RULES, AT) is None


def test_a_record_with_headers_goes_the_long_way() -> None:
    """Headers may say that it was redriven, which the short way does not know."""
    assert read_event_fast(record(PLAIN), RULES, AT) is not None
    assert read_event_fast(record(PLAIN, headers=[("trace", b"1")]), RULES, AT) is None


@pytest.mark.parametrize("appended_at", [-(2**63), -1, 2**53, 2**63 - 1])
def test_a_record_may_say_any_time_of_itself(appended_at: int) -> None:
    """A producer's clock is the record's own, which Kafka takes as it comes."""
    given_record = msgspec.structs.replace(record(PLAIN), timestamp=appended_at)
    require_same(given_record)
    output = transform(given_record, RULES, AT, 1024)
    assert (output.reason is None) == (long_way(given_record) is not None)
