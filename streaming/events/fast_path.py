"""The short way of a purchase that is plainly right: from its bytes to the analytics event.

As few steps and objects as can be. It only ever says yes, and then what `read_purchase` and
`enrich` would say too; of whatever it does not like, they decide.
"""

import re
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from streaming import units
from streaming.events import fields
from streaming.events.analytics import SCHEMA_VERSION, AnalyticsEvent
from streaming.events.purchase import MAX_AHEAD_MICROS, MAX_VALUE_BYTES, Rules
from streaming.events.record import Record, origin_id, own_position
from streaming.events.refusal import Refused

Name = Annotated[str, Meta(min_length=1, max_length=fields.MAX_NAME)]
Text = Annotated[str, Meta(max_length=fields.MAX_TEXT)]
Quantity = Annotated[int, Meta(ge=-fields.MAX_QUANTITY, le=fields.MAX_QUANTITY)]

_REST = re.compile(r"(?:\.\d{1,6})?Z", re.ASCII).fullmatch
_micros_of = lru_cache(maxsize=8)(units.micros_of)
_BACKSLASH, _OPEN, _BRACKET, _NUL = b"\\{[\0"


class PlainPurchase(Struct, gc=False):
    """The JSON of a purchase within the limits of its fields; `timestamp` is text."""

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


_decode = msgspec.json.Decoder(PlainPurchase).decode


def plain_event(record: Record, rules: Rules, processed_at: str) -> AnalyticsEvent | None:
    """Give the analytics event of a record that is plainly right; None where others must decide."""
    value = record.value
    if not value or record.headers or not _is_plain(value):
        return None
    try:
        return _event(_decode(value), record, rules, processed_at)
    except (ValueError, Refused):
        return None


def _is_plain(value: bytes) -> bool:
    """Tell whether a value can be a flat object without escapes and U+0000."""
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
    purchase: PlainPurchase, record: Record, rules: Rules, processed_at: str
) -> AnalyticsEvent | None:
    time, quantity, currency = purchase.timestamp, purchase.quantity, purchase.currency
    if len(time) != units.TIME_LENGTH:
        time = _with_six_decimals(time)
    latest = record.timestamp * 1000 + MAX_AHEAD_MICROS
    if not _micros_of(rules.history_start) <= units.utc_micros(time) <= latest:
        return None
    if quantity is None:
        quantity = 1
    if quantity == 0 or (currency is not None and currency != rules.currency):
        return None
    price, event_id = purchase.unit_price, purchase.event_id
    micros = amount = None
    if price is not None:
        micros = fields.unit_price_micros(price)
        amount = fields.amount_micros(quantity, micros)
    return AnalyticsEvent(
        origin_id(own_position(record)) if event_id is None else fields.event_id(event_id),
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
    if not _REST(text, units.SECOND_LENGTH):
        raise ValueError(text)
    return f"{text[: units.SECOND_LENGTH]}.{text[units.SECOND_LENGTH + 1 : -1]:0<6}Z"
