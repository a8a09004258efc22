"""The short way of a purchase that is plainly right: from its bytes to the analytics event.

As few steps and objects as can be. It only ever says yes, and then what `read_purchase` and
`enrich` would say too; of whatever it does not like, they decide.
"""

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from streaming.events import values
from streaming.events.analytics import SCHEMA_VERSION, AnalyticsEvent
from streaming.events.purchase import MAX_AHEAD_MICROS, MAX_VALUE_BYTES, Rules
from streaming.events.record import Record, origin_id, own_position
from streaming.events.refusal import Refused

Name = Annotated[str, Meta(min_length=1, max_length=values.MAX_NAME)]
Text = Annotated[str, Meta(max_length=values.MAX_TEXT)]
Quantity = Annotated[int, Meta(ge=-values.MAX_QUANTITY, le=values.MAX_QUANTITY)]

_REST = re.compile(r"(?:\.\d{1,6})?Z", re.ASCII).fullmatch
_SECOND: Final = len("2010-12-01T08:26:00")
_MICROSECOND: Final = len("2010-12-01T08:26:00.000000Z")
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
    if not value or record.headers:
        return None
    try:
        if not _is_plain(value):
            return None
        return _event(_decode(value), record, rules, processed_at)
    except (ValueError, Refused):
        return None


def _is_plain(value: bytes) -> bool:
    """Tell whether a value can be a flat object of UTF-8 without escapes and U+0000.

    Raises `ValueError` where it is not UTF-8.
    """
    if _BACKSLASH in value or _BRACKET in value or _NUL in value or value.rfind(_OPEN) != 0:
        return False
    if not value.isascii():
        value.decode()
    return len(value) <= MAX_VALUE_BYTES


def _event(
    purchase: PlainPurchase, record: Record, rules: Rules, processed_at: str
) -> AnalyticsEvent | None:
    time = _time_text(purchase.timestamp)
    earliest, latest = _window(rules.history_start, record.timestamp)
    quantity = 1 if purchase.quantity is None else purchase.quantity
    currency, price, event_id = purchase.currency, purchase.unit_price, purchase.event_id
    foreign = currency is not None and currency != rules.currency
    if quantity == 0 or foreign or not earliest <= time <= latest:
        return None
    micros = amount = None
    if price is not None:
        micros = values.unit_price_micros(price)
        amount = values.amount_micros(quantity, micros)
    return AnalyticsEvent(
        origin_id(own_position(record)) if event_id is None else values.event_id(event_id),
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


def _time_text(text: str) -> str:
    """Write a time that ends in `Z` with six decimals. Raises `ValueError` for other texts."""
    values.second_micros(text[:_SECOND])
    if (
        len(text) == _MICROSECOND
        and text[_SECOND::7] == ".Z"
        and text[20:26].isdigit()
        and text.isascii()
    ):
        return text
    if not _REST(text, _SECOND):
        raise ValueError(text)
    return f"{text[:_SECOND]}.{text[_SECOND + 1 : -1]:0<6}Z"


@lru_cache(maxsize=1024)
def _window(history_start: datetime, appended_at: int) -> tuple[str, str]:
    """Give the first and the last time, as text, of a record that was appended at a time (ms).

    Raises `ValueError` where there is no such time.
    """
    try:
        ahead = timedelta(microseconds=appended_at * 1000 + MAX_AHEAD_MICROS)
        latest = values.rfc_3339(values.EPOCH + ahead)
    except OverflowError:
        raise ValueError(appended_at) from None
    return values.rfc_3339(history_start), latest
