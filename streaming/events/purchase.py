"""PurchaseEvent: what anyone may send, from a record's bytes to a typed event or a refusal.

Two decoders, one meaning: msgspec reads what is plainly right, and only ever says yes; whatever it
does not like goes to the slower reader below, which finds the code. Both end in `_normalised`.
"""

import json
import re
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from streaming import units
from streaming.events import fields
from streaming.events.record import Origin, Record, origin_id, origin_of, own_position
from streaming.events.refusal import Reason, Refusal, Refused, shown

MAX_VALUE_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 64
MAX_AHEAD_MICROS: Final = 24 * 3600 * units.MICROS
BYTE_ORDER_MARK: Final = "\ufeff"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


class PurchaseEvent(Struct, frozen=True, gc=False):
    """A valid purchase, normalised. `user` is None for a guest, a price of None is unknown.

    `timestamp` is in UTC with µs, `unit_price_micros` and `amount_micros` are millionths of
    `currency`; `quantity` is negative for a return.
    """

    event_id: str
    timestamp: datetime
    user: str | None
    item: str
    quantity: int
    unit_price_micros: int | None
    amount_micros: int | None
    currency: str
    order_id: str | None
    description: str | None
    country: str | None


class Rules(Struct, frozen=True):
    """What a deployment accepts: its one currency, and the first instant of its history (UTC)."""

    currency: str
    history_start: datetime


class Wire(Struct, omit_defaults=True):
    """The JSON of a purchase, typed but not yet judged."""

    user: str | None
    item: str
    timestamp: str | int
    event_id: str | None = None
    quantity: int | None = None
    unit_price: str | int | float | None = None
    currency: str | None = None
    order_id: str | None = None
    description: str | None = None
    country: str | None = None


_decode = msgspec.json.Decoder(Wire).decode
_encode = msgspec.json.Encoder().encode

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "user": (str, type(None)),
    "item": (str,),
    "timestamp": (str, int),
    "event_id": (str, type(None)),
    "quantity": (int, type(None)),
    "unit_price": (str, int, float, type(None)),
    "currency": (str, type(None)),
    "order_id": (str, type(None)),
    "description": (str, type(None)),
    "country": (str, type(None)),
}
_REQUIRED: Final = ("user", "item", "timestamp")


def read_purchase(record: Record, rules: Rules) -> tuple[Origin, PurchaseEvent | Refusal]:
    """Decide on one record of `purchases`: its origin, and the event or why there is none.

    Any bytes give one or the other; nothing is raised.
    """
    origin = own = own_position(record)
    try:
        if record.headers:
            origin = origin_of(record)
        return origin, _normalised(_wire(record, origin), record, origin, rules)
    except Refused as refused:
        is_own = refused.refusal.reason is Reason.INVALID_ORIGIN
        return own if is_own else origin, refused.refusal


def encode_purchase(event: PurchaseEvent) -> bytes:
    """Write an event as anyone would send it: JSON with every known field, the price as text."""
    price = event.unit_price_micros
    return _encode(
        Wire(
            user=event.user,
            item=event.item,
            timestamp=units.rfc_3339(event.timestamp),
            event_id=event.event_id,
            quantity=event.quantity,
            unit_price=None if price is None else units.decimal_text(price),
            currency=event.currency,
            order_id=event.order_id,
            description=event.description,
            country=event.country,
        )
    )


def _wire(record: Record, origin: Origin) -> Wire:
    value = record.value
    if not value:
        raise Refused(Reason.EMPTY, "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise Refused(Reason.TOO_LARGE, f"the value has {len(value)} bytes, over {MAX_VALUE_BYTES}")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            Reason.MALFORMED_JSON, f"the value is not UTF-8 at byte {error.start}"
        ) from None
    if text[0] != "{" and (plain := _plain_form(record.key, text, origin)):
        return plain
    return decode_fast(text) or decode_slow(text)


def _plain_form(key: bytes | None, text: str, origin: Origin) -> Wire | None:
    """Read `key = user, value = item`, as Confluent's getting-started producer sends it."""
    first = text.removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if not key or not first or first in '{["' or len(text) > fields.MAX_NAME or _CONTROL(text):
        return None
    try:
        user = fields.name("user", key.decode(), Reason.INVALID_USER)
    except (UnicodeDecodeError, Refused):
        return None
    return Wire(user=user, item=text, timestamp=origin.timestamp)


def decode_fast(text: str) -> Wire | None:
    """Read what is plainly right; None means only that the slow reader must decide."""
    if _brackets(text) > MAX_DEPTH:
        return None
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None


def decode_slow(text: str) -> Wire:
    """Read any JSON and find what is wrong with it.

    Raises `Refused`: `malformed_json`, `wrong_type` or `missing_field`. Of duplicate keys the last
    counts; unknown fields are ignored.
    """
    fields = _json_object(text.removeprefix(BYTE_ORDER_MARK))
    for field in _REQUIRED:
        if field not in fields:
            raise Refused(Reason.MISSING_FIELD, f"the field {field} is missing")
    known = {field: fields[field] for field in _TYPES if field in fields}
    for field, value in known.items():
        if type(value) not in _TYPES[field]:
            kind = "null" if value is None else type(value).__name__
            raise Refused(Reason.WRONG_TYPE, f"{field} is of type {kind}: {shown(value)}")
    return Wire(**known)


def _json_object(text: str) -> dict[str, Any]:
    if _brackets(text) > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Refused(Reason.MALFORMED_JSON, f"the JSON is nested over {MAX_DEPTH} deep")
    try:
        fields = json.loads(text, parse_int=_any_int, parse_constant=_no_constant)
    except ValueError as error:
        raise Refused(Reason.MALFORMED_JSON, f"the value is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise Refused(Reason.WRONG_TYPE, "the value is JSON, but not an object")
    return fields


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{")


def _depth(text: str) -> int:
    """Give how deep the brackets outside of strings are nested, whether or not it is JSON."""
    depth = deepest = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _any_int(digits: str) -> int:
    """Read an integer; one of more digits than Python reads as any that is far out of range."""
    try:
        return int(digits)
    except ValueError:
        return int(digits[:40])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _normalised(wire: Wire, record: Record, origin: Origin, rules: Rules) -> PurchaseEvent:
    user, price = wire.user, wire.unit_price
    if user is not None:
        user = fields.name("user", user, Reason.INVALID_USER)
    item = fields.name("item", wire.item, Reason.INVALID_ITEM)
    quantity = 1 if wire.quantity is None else fields.quantity(wire.quantity)
    micros = None if price is None else fields.unit_price_micros(price)
    if wire.currency is not None and wire.currency != rules.currency:
        raise Refused(
            Reason.UNSUPPORTED_CURRENCY,
            f"currency {shown(wire.currency)} is not this deployment's {rules.currency}",
        )
    return PurchaseEvent(
        event_id=origin_id(origin) if wire.event_id is None else fields.event_id(wire.event_id),
        timestamp=_event_time(wire.timestamp, record.timestamp, rules.history_start),
        user=user,
        item=item,
        quantity=quantity,
        unit_price_micros=micros,
        amount_micros=None if micros is None else fields.amount_micros(quantity, micros),
        currency=rules.currency,
        order_id=fields.text("order_id", wire.order_id),
        description=fields.text("description", wire.description),
        country=fields.text("country", wire.country),
    )


def _event_time(value: str | int, appended_at: int, history_start: datetime) -> datetime:
    """Judge the event time by the record's own time, so that the verdict never depends on now."""
    time = fields.timestamp(value)
    if time < history_start:
        raise Refused(
            Reason.TIMESTAMP_TOO_OLD,
            f"timestamp {shown(value)} is before the start of history, {history_start:%Y-%m-%d}",
        )
    if units.micros_of(time) > appended_at * 1000 + MAX_AHEAD_MICROS:
        raise Refused(
            Reason.TIMESTAMP_IN_FUTURE,
            f"timestamp {shown(value)} is over 24 h after the record was appended",
        )
    return time
