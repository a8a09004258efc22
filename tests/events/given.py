"""What the tests of events start from: one record, one set of rules, JSON written by hand."""

from datetime import UTC, datetime

from hypothesis import settings
from msgspec import json
from msgspec.structs import asdict

from streaming.events.fields import MAX_AMOUNT_MICROS
from streaming.events.purchase import PurchaseEvent, Rules, read_purchase
from streaming.events.record import Headers, Origin, Record
from streaming.events.refusal import Refusal
from streaming.units import decimal_text, rfc_3339

REDRIVE = "purchases.redrive"
RULES = Rules("GBP", datetime(2010, 1, 1, tzinfo=UTC), MAX_AMOUNT_MICROS, REDRIVE)
TOPIC_ID = bytes(range(16))
TOPIC_ID_TEXT = b"AAECAwQFBgcICQoLDA0ODw"
APPENDED = 1_764_000_000_000  # 2025-11-24T16:00:00Z
OWN_ID = "019ab697-e800-830d-9f67-0b4cd658947f"
REDRIVEN_ID = "019ab0a2-0700-8be5-b25c-b3939531b8cf"
THEN = '"2025-11-24T12:00:00Z"'

thorough = settings(max_examples=500, deadline=None)


def purchase(**fields: str | None) -> bytes:
    """Write a valid purchase with each of `fields` as the JSON text given; None leaves it out."""
    literals = {"user": '"u"', "item": '"i"', "timestamp": THEN, **fields}
    members = (f'"{name}":{text}' for name, text in literals.items() if text is not None)
    return f"{{{','.join(members)}}}".encode()


def purchase_at(text: str) -> bytes:
    """Write a purchase with the timestamp `text`."""
    return purchase(timestamp=f'"{text}"')


def record(
    value: bytes | None, key: bytes | None = None, headers: Headers = (), topic: str = "purchases"
) -> Record:
    """Place a value on `topic`, partition 3, offset 42."""
    return Record(topic, TOPIC_ID, 3, 42, APPENDED, key, value, headers)


def read(
    value: bytes | None, key: bytes | None = None, headers: Headers = (), topic: str = "purchases"
) -> tuple[Origin, PurchaseEvent | Refusal]:
    """Decide on a value as the processor does."""
    return read_purchase(record(value, key, headers, topic), RULES)


def encode_purchase(event: PurchaseEvent) -> bytes:
    """Write an event as anyone would send it: JSON with every known field, the price as text."""
    members = asdict(event)
    price = members.pop("unit_price_micros")
    del members["amount_micros"]
    members["timestamp"] = rfc_3339(event.timestamp)
    members["unit_price"] = None if price is None else decimal_text(price)
    return json.encode(members)


def origin_fields(prefix: str = "origin.", /, **changed: bytes | None) -> Headers:
    """Return the headers of a redriven record that stood at partition 1, offset 7."""
    fields = {
        "topic": b"purchases",
        "topic_id": TOPIC_ID_TEXT,
        "partition": b"1",
        "offset": b"7",
        "timestamp": b"1763900000000",
        "attempt": b"2",
        **changed,
    }
    return [(prefix + name, value) for name, value in fields.items() if value is not None]
