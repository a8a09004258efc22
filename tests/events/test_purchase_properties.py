"""What holds for any purchase: a verdict whatever the bytes, one meaning for both readers."""

from hypothesis import given
from hypothesis import strategies as st

from streaming import units
from streaming.events import fields
from streaming.events.purchase import (
    PurchaseEvent,
    decode_any,
    decode_valid,
    read_purchase,
)
from streaming.events.record import Record, own_origin
from streaming.events.refusal import Reason, Refusal
from tests.events.given import RULES, encode_purchase, read, record, thorough
from tests.events.rows import typed_fields
from tests.events.strategies import KEYS, RECORDS, events, headers, json_like


def obeys_the_rules(event: PurchaseEvent) -> bool:
    """Return whether an event is what the contract promises of every event."""
    texts = [event.item, event.user, event.order_id, event.description, event.country]
    price = event.unit_price_micros
    return (
        all("\0" not in text and len(text.encode()) <= 4 * 1024 for text in texts if text)
        and all(1 <= len(name) <= 128 for name in (event.item, event.user) if name is not None)
        and 1 <= abs(event.quantity) <= 1_000_000
        and (price is None or 0 <= price <= fields.MAX_PRICE_MICROS)
        and event.amount_micros == (None if price is None else price * event.quantity)
        and abs(event.amount_micros or 0) <= fields.MAX_AMOUNT_MICROS
        and event.timestamp >= RULES.history_start
        and event.timestamp.utcoffset() is not None
        and event.currency == RULES.currency
    )


@thorough
@given(RECORDS)
def test_any_record_gives_an_event_or_a_refusal(given_record: Record) -> None:
    """Nothing is raised; an event obeys the rules, a refusal is short and can be a header."""
    origin, verdict = read_purchase(given_record, RULES)
    if isinstance(verdict, Refusal):
        assert 0 < len(verdict.detail.encode()) <= 300
        assert verdict.reason is not Reason.INVALID_ORIGIN or origin == own_origin(given_record)
    else:
        assert obeys_the_rules(verdict)


@thorough
@given(json_like(), KEYS, headers())
def test_any_mutation_of_a_purchase_gives_a_verdict_that_does_not_change(
    text: str, key: bytes | None, given_headers: list[tuple[str, bytes | None]]
) -> None:
    """Nothing is raised, and asking twice gives the same."""
    placed = record(text.encode(), key, given_headers)
    assert read_purchase(placed, RULES) == read_purchase(placed, RULES)


@thorough
@given(json_like())
def test_what_the_fast_reader_accepts_the_slow_one_reads_alike(text: str) -> None:
    """The fast reader only ever says yes, and then with the same values of the same types."""
    fast = decode_valid(text)
    assert fast is None or typed_fields(fast) == typed_fields(decode_any(text))


@thorough
@given(json_like(), KEYS)
def test_both_ways_through_end_in_the_same_verdict(text: str, key: bytes | None) -> None:
    """A byte order mark sends JSON to the slow reader, and nothing else changes."""
    if text.startswith("{"):
        assert read(b"\xef\xbb\xbf" + text.encode(), key) == read(text.encode(), key)


@thorough
@given(events(), KEYS)
def test_an_encoded_event_is_read_as_itself(event: PurchaseEvent, key: bytes | None) -> None:
    """Encode, then read: the identity, whatever the key."""
    assert read(encode_purchase(event), key)[1] == event


@thorough
@given(st.integers(0, fields.MAX_PRICE_MICROS))
def test_a_price_written_as_text_or_number_is_read_as_itself(micros: int) -> None:
    """Every price in micros survives as decimal text, and as the double nearest to it."""
    assert fields.unit_price_micros(units.decimal_text(micros)) == micros
    assert fields.unit_price_micros(micros / units.MICROS) == micros
