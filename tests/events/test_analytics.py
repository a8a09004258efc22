"""AnalyticsEvent: what the processor promises is what the consumer reads."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from streaming import units
from streaming.errors import Mismatch
from streaming.events.analytics import (
    AnalyticsEvent,
    decode_analytics,
    encode_analytics,
    enrich,
    event_time_micros,
    storable_rules,
    time_micros,
)
from streaming.events.purchase import PurchaseEvent
from streaming.events.refusal import Reason, RefusalError
from tests.events.given import purchase, read, record, thorough
from tests.events.strategies import INT64, events, well_formed

STORABLE = storable_rules("GBP", {"purchases": 1})
PROCESSED = "2025-11-24T16:00:01.000002Z"


def enrich_value(value: bytes) -> AnalyticsEvent:
    """Return the analytics event of a valid purchase."""
    event = read(value)[1]
    assert isinstance(event, PurchaseEvent)
    return enrich(event, record(value), PROCESSED)


LEAST = enrich_value(purchase(user="null"))
WHOLE = {
    "event_id": "0193bd4e-8f0e-8abc-9def-0123456789ab",
    "event_time": "2025-11-24T12:00:00.500000Z",
    "kind": "return",
    "item": "i",
    "quantity": -6,
    "currency": "GBP",
    "processed_at": PROCESSED,
    "source_topic": "purchases",
    "source_partition": 3,
    "source_offset": 42,
    "source_timestamp": 1_764_000_000_000,
    "schema_version": 1,
    "user": "u",
    "unit_price_micros": 2_550_000,
    "amount_micros": -15_300_000,
    "order_id": "7",
    "description": "d",
    "country": "c",
}


def test_the_json_is_what_the_contract_says() -> None:
    """Every field by its name, times in UTC with six decimals, money in micros."""
    value = purchase(
        timestamp='"2025-11-24T13:00:00.5+01:00"',
        event_id='"0193BD4E-8F0E-8ABC-9DEF-0123456789AB"',
        quantity="-6",
        unit_price="2.55",
        order_id='"7"',
        description='"d"',
        country='"c"',
    )
    assert json.loads(encode_analytics(enrich_value(value))) == WHOLE


def test_absent_fields_are_left_out() -> None:
    """A guest, an unknown price and no texts leave no nulls behind."""
    optional = {"user", "unit_price_micros", "amount_micros", "order_id", "description", "country"}
    assert set(json.loads(encode_analytics(LEAST))) == set(WHOLE) - optional


@thorough
@given(events(), st.datetimes(timezones=st.just(UTC)))
def test_an_encoded_event_is_decoded_as_itself(event: PurchaseEvent, processed: datetime) -> None:
    """Encode, then decode: the identity; and its times are those that went in."""
    analytics = enrich(event, record(b"{}"), units.rfc_3339(processed))
    decoded = decode_analytics(encode_analytics(analytics), STORABLE)
    assert asdict(decoded) == asdict(analytics)
    assert time_micros(decoded.event_time) == units.micros_of(event.timestamp)
    assert time_micros(decoded.processed_at) == units.micros_of(processed)


def change_fields(**fields: object) -> bytes:
    """Write the whole event with some fields changed."""
    return json.dumps(WHOLE | fields).encode()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "no analytics event"),
        (b"", "no analytics event"),
        (b"{", "no analytics event"),
        (b"[]", "no analytics event"),
        (b"{}", "no analytics event"),
        (b"\xff", "no analytics event"),
        (b"[" * 100_000, "no analytics event"),
        (b'{"x":' + b"[" * 100_000, "no analytics event"),
        (purchase(), "no analytics event"),
        (change_fields(kind="gift"), "no analytics event"),
        (change_fields(user=1), "no analytics event"),
        (change_fields(quantity=2**63), "no analytics event"),
        (change_fields(amount_micros=-(2**63) - 1), "no analytics event"),
        (change_fields(source_offset=2**64), "no analytics event"),
        (change_fields(quantity=1.5), "no analytics event"),
        (change_fields(schema_version="1"), "no analytics event"),
        (change_fields(schema_version=0), "schema version 0"),
        (change_fields(schema_version=2**64), "no analytics event"),
        (change_fields(currency="EUR"), "currency is 'EUR', not GBP"),
        (change_fields(quantity=6), "quantity and its kind, return, contradict"),
        (change_fields(quantity=0), "quantity and its kind, return, contradict"),
        (change_fields(kind="sale"), "quantity and its kind, sale, contradict"),
        (change_fields(amount_micros=None), "one of price and amount"),
        (change_fields(unit_price_micros=None), "one of price and amount"),
        (change_fields(quantity=-(10**6) - 1), "no analytics event"),
        (change_fields(unit_price_micros=-1), "no analytics event"),
        (change_fields(amount_micros=10**15 + 1), "no analytics event"),
        (change_fields(amount_micros=-15_300_001), "amount is not quantity times price"),
        (change_fields(source_topic="other.purchases"), "made of a record of 'other.purchases'"),
        (change_fields(event_id="7"), "no analytics event"),
        (change_fields(item=""), "no analytics event"),
        (change_fields(description="d" * 1025), "no analytics event"),
        (change_fields(country="\0"), "holds U\\+0000"),
        (change_fields(user="\ud800"), "no analytics event"),
        (change_fields(source_partition=-1), "no analytics event"),
    ],
)
def test_what_nobody_can_store_is_refused(value: bytes | None, message: str) -> None:
    """Nothing else is raised, and the message says what is wrong."""
    with pytest.raises(RefusalError, match=message) as refused:
        decode_analytics(value, STORABLE)
    assert refused.value.refusal.reason is Reason.NOT_STORABLE


@pytest.mark.parametrize(
    "value", [change_fields(schema_version=2), b'{"schema_version":2,"event":{}}']
)
def test_a_newer_schema_is_a_mismatch(value: bytes) -> None:
    """An upgrade can read it, so it is not refused, whatever else it says."""
    with pytest.raises(Mismatch, match="schema version 2"):
        decode_analytics(value, STORABLE)


def test_unknown_fields_of_the_same_schema_are_ignored() -> None:
    """A field that was added without a new schema version does not stop the store."""
    assert asdict(decode_analytics(change_fields(added=[1]), STORABLE)) == WHOLE


@thorough
@given(st.binary() | well_formed().map(str.encode) | st.builds(change_fields, quantity=INT64))
def test_any_bytes_are_an_event_or_a_refusal(value: bytes) -> None:
    """Whatever stands on the topic, nothing else is raised."""
    try:
        event = decode_analytics(value, STORABLE)
    except RefusalError:
        return
    assert decode_analytics(encode_analytics(event), STORABLE) == event


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-11-24T12:00:00Z",
        "2025-11-24T12:00:00.000000",
        "2025-11-24T12:00:00.000000+00:00",
        "2025-02-30T12:00:00.000000Z",
        "2025-11-24T24:00:00.000000Z",
        "two thousand and twenty-fiZ",
        "\ud8002025-11-24T12:00:00.0000Z",
    ],
)
def test_a_time_in_any_other_form_is_refused(text: str) -> None:
    """Only what the processor writes is read."""
    with pytest.raises(RefusalError, match="not RFC 3339"):
        time_micros(text)


@pytest.mark.parametrize("time", ["0001-12-31T23:59:59.999999Z", "9999-01-01T00:00:00.000000Z"])
def test_a_time_without_a_date_in_some_zone_is_refused(time: str) -> None:
    """In the first and the last hours of the calendar some zones are outside of it."""
    with pytest.raises(RefusalError, match="years 2 to 9998"):
        event_time_micros(time)
