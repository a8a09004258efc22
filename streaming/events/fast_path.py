"""The fast path: from the bytes of a purchase without fault to the analytics event.

Pure. It takes as few steps and objects as possible, and accepts only what `read_purchase` and
`enrich` accept, with the same event. What it does not accept goes to them; it refuses nothing.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from streaming import units
from streaming.events import fields
from streaming.events.analytics import SCHEMA_VERSION, AnalyticsEvent
from streaming.events.purchase import (
    END_OF_TIME_MICROS,
    MAX_AHEAD_MICROS,
    Rules,
)
from streaming.events.record import MAX_VALUE_BYTES, Record, origin_id, own_origin
from streaming.events.refusal import RefusalError
from streaming.events.unknown_fields import unknown_names

Name = Annotated[str, Meta(min_length=1, max_length=fields.MAX_NAME)]
Text = Annotated[str, Meta(max_length=fields.MAX_TEXT)]
Quantity = Annotated[int, Meta(ge=-fields.MAX_QUANTITY, le=fields.MAX_QUANTITY)]

_REST = re.compile(r"(?:\.\d{1,6})?Z", re.ASCII).fullmatch
# Called with the start of history for each event; it is the same for the whole process.
_micros_of = lru_cache(maxsize=8)(units.micros_of)
_BACKSLASH, _OPEN, _BRACKET, _NUL = b"\\{[\0"


class BoundedFields(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`PurchaseFields` whose limits msgspec checks while it decodes; `timestamp` is text."""

    user: Name | None
    item: Name
    timestamp: str
    event_id: str | None = None
    quantity: Quantity | None = None
    unit_price: str | int | float | None = None
    currency: str | None = None
    order_id: Text | None = None
    description: Text | None = None
    country: Text | None = None


class _AnyFields(BoundedFields, frozen=True, gc=False, forbid_unknown_fields=False):
    """`BoundedFields` beside which others may stand."""


_decode = msgspec.json.Decoder(BoundedFields).decode
_decode_any = msgspec.json.Decoder(_AnyFields).decode


def read_event_fast(
    record: Record, rules: Rules, processed_at: str
) -> tuple[AnalyticsEvent, Sequence[str]] | None:
    """Return the analytics event of a record and the names of its unknown fields.

    None means that `read_purchase` must decide.
    """
    value = record.value
    if not value or record.headers or not _may_be_flat_object(value):
        return None
    unknown: Sequence[str] = ()
    try:
        try:
            purchase = _decode(value)
        except msgspec.ValidationError as error:
            # A purchase without unknown fields pays nothing for them: only msgspec's error says
            # that there is one. Other errors are decided elsewhere, without a second try here.
            if "unknown field" not in error.args[0]:
                return None
            purchase, unknown = _decode_any(value), unknown_names(value)
        event = _event(purchase, record, rules, processed_at)
    except (ValueError, RefusalError):
        return None
    return None if event is None else (event, unknown)


def _may_be_flat_object(value: bytes) -> bool:
    """Return whether a value can be a flat object in UTF-8 without escapes and U+0000."""
    # Searching for bytes is quicker than decoding: what passes can hide no nesting, no duplicate
    # key spelt with escapes, and no character that a text field refuses.
    return (
        value.rfind(_OPEN) == 0
        and _BACKSLASH not in value
        and _BRACKET not in value
        and _NUL not in value
        and len(value) <= MAX_VALUE_BYTES
        and (value.isascii() or _is_utf_8(value))
    )


def _is_utf_8(value: bytes) -> bool:
    try:
        value.decode()
    except ValueError:
        return False
    return True


def _event(
    purchase: BoundedFields, record: Record, rules: Rules, processed_at: str
) -> AnalyticsEvent | None:
    time, quantity, currency = purchase.timestamp, purchase.quantity, purchase.currency
    if len(time) != units.TIME_LENGTH:
        time = _with_six_decimals(time)
    event_micros, latest = units.utc_micros(time), record.timestamp * 1000 + MAX_AHEAD_MICROS
    if not _micros_of(rules.history_start) <= event_micros <= latest:
        return None
    if event_micros >= END_OF_TIME_MICROS:
        return None
    if quantity is None:
        quantity = 1
    # The currency in another case, such as `gbp`, is left to `read_purchase`, which accepts it.
    if quantity == 0 or (currency is not None and currency != rules.currency):
        return None
    price, event_id = purchase.unit_price, purchase.event_id
    micros = amount = None
    if price is not None:
        micros = fields.unit_price_micros(price)
        amount = fields.amount_micros(quantity, micros, rules.max_amount_micros)
    # By position: this runs for each event, and keyword arguments cost more.
    return AnalyticsEvent(
        # A redriven record has headers and never comes here, so the record is its own origin.
        origin_id(own_origin(record)) if event_id is None else fields.event_id(event_id),
        time,
        "sale" if quantity > 0 else "return",
        purchase.item,
        quantity,
        rules.currency,
        processed_at,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        SCHEMA_VERSION,
        purchase.user,
        micros,
        amount,
        purchase.order_id,
        purchase.description,
        purchase.country,
    )


def _with_six_decimals(text: str) -> str:
    """Write a time that ends in `Z` with six decimals. Raises `ValueError` for other texts."""
    # The seconds are checked later by `utc_micros`; only what follows them varies.
    if not _REST(text, units.SECOND_LENGTH):
        raise ValueError(text)
    return f"{text[: units.SECOND_LENGTH]}.{text[units.SECOND_LENGTH + 1 : -1]:0<6}Z"
