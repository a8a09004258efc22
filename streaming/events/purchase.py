"""PurchaseEvent: what anyone may send, from the bytes of a record to an event or a refusal.

Pure. Two decoders have one meaning: `decode_valid` accepts, or leaves the decision to `decode_any`,
which is slower and finds the code of the refusal. Both end in `_normalise`. The rules of single
fields are in `fields`; `fast_path` is quicker than both decoders.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import Struct, structs

from streaming import units
from streaming.events import fields
from streaming.events.framing import SchemaReaders, unframe
from streaming.events.record import (
    MAX_VALUE_BYTES,
    Origin,
    Record,
    names_origin,
    origin_id,
    origin_of,
    own_origin,
)
from streaming.events.refusal import Reason, Refusal, RefusalError, excerpt

# Far below the depth at which Python's JSON reader runs out of stack.
MAX_DEPTH: Final = 64
# Covers clocks that run ahead, and local times sent as if they were UTC.
MAX_AHEAD_MICROS: Final = 24 * 3600 * units.MICROS
# Whatever the record's own time, which a topic may leave to its producer: up to here every zone's
# local time can be computed and stored.
END_OF_TIME: Final = datetime(2200, 1, 1, tzinfo=UTC)
END_OF_TIME_MICROS: Final = units.micros_of(END_OF_TIME)
# Seconds have ten digits from 2001 on.
FIRST_SECOND: Final = 10**9
BYTE_ORDER_MARK: Final = "\ufeff"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
# In pieces: a text that is too deep is mostly so in the first one.
_STEPS_AT_ONCE = 4_096


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
    """What a deployment accepts: its one currency, and the first instant of its history (UTC).

    `max_amount_micros` is the largest magnitude of quantity times price, in millionths of
    `currency`. Headers `origin.*` count on the topic `redrive` alone. Framed values are read by
    `schemas`, which is None without a schema registry.
    """

    currency: str
    history_start: datetime
    max_amount_micros: int
    redrive: str
    schemas: SchemaReaders | None = None


class PurchaseFields(Struct, frozen=True):
    """The JSON of a purchase: typed, not yet checked. The one list of a purchase's fields."""

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


_decode = msgspec.json.Decoder(PurchaseFields).decode

FIELDS: Final = PurchaseFields.__struct_fields__
REQUIRED: Final = tuple(f.name for f in structs.fields(PurchaseFields) if f.required)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    name: get_args(annotation) or (annotation,)
    for name, annotation in get_type_hints(PurchaseFields).items()
}


def read_purchase(record: Record, rules: Rules) -> tuple[Origin, PurchaseEvent | Refusal]:
    """Decide on one record of `purchases`: return its origin, and the event or its refusal.

    Any bytes give one of the two; nothing is raised.
    """
    return read_unframed(record, unframe(record, rules.schemas), rules)


def read_unframed(
    record: Record, plain: Record | Refusal, rules: Rules
) -> tuple[Origin, PurchaseEvent | Refusal]:
    """Do what `read_purchase` does for a record that `unframe` has made `plain`."""
    origin = own = own_origin(record)
    try:
        if record.headers:
            origin = origin_of(record, rules.redrive)
        if isinstance(plain, Refusal):
            return origin, plain
        return origin, _normalise(_decode_value(plain, origin), record, origin, rules)
    except RefusalError as refused:
        # Headers that do not say where the purchase was first leave only where it is now.
        is_own = refused.refusal.reason is Reason.INVALID_ORIGIN
        return own if is_own else origin, refused.refusal


def _decode_value(record: Record, origin: Origin) -> PurchaseFields:
    value = record.value
    if not value:
        raise RefusalError(Reason.EMPTY, "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise RefusalError(
            Reason.TOO_LARGE, f"the value has {len(value)} bytes, over {MAX_VALUE_BYTES}"
        )
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise RefusalError(
            Reason.MALFORMED_JSON, f"the value is not UTF-8 at byte {error.start}"
        ) from None
    # Nearly every value is an object, and is spared the look at the plain form.
    if text[0] != "{" and (plain := _read_key_value_form(record.key, text, origin)):
        return plain
    return decode_valid(text) or decode_any(text)


def _read_key_value_form(key: bytes | None, text: str, origin: Origin) -> PurchaseFields | None:
    """Read `key = user, value = item`, as Confluent's getting-started producer sends it."""
    first = text.removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if not key or not first or first in '{["' or len(text) > fields.MAX_NAME or _CONTROL(text):
        return None
    try:
        user = fields.name("user", key.decode(), Reason.INVALID_USER)
    except (UnicodeDecodeError, RefusalError):
        return None
    return PurchaseFields(user=user, item=text, timestamp=origin.timestamp)


def decode_valid(text: str) -> PurchaseFields | None:
    """Decode a purchase without fault; None means that `decode_any` must decide."""
    if is_too_deep(text):
        return None
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None


def decode_any(text: str) -> PurchaseFields:
    """Decode any text, or say what is wrong with it.

    Raises `RefusalError`: `malformed_json`, `wrong_type` or `missing_field`. Of
    duplicate keys the last counts; unknown fields are ignored.
    """
    members = json_object(text)
    # All at once: who sends them mends them at once.
    if missing := [field for field in REQUIRED if field not in members]:
        verb = "is" if len(missing) == 1 else "are"
        raise RefusalError(Reason.MISSING_FIELD, f"{', '.join(missing)} {verb} missing")
    given = {field: members[field] for field in FIELDS if field in members}
    for field, value in given.items():
        # Compared exactly, because to Python a boolean is an integer too.
        if type(value) not in _TYPES[field]:
            kind = "null" if value is None else type(value).__name__
            raise RefusalError(Reason.WRONG_TYPE, f"{field} is of type {kind}: {excerpt(value)}")
    return PurchaseFields(**given)


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object as Python does; a byte order mark may be before it.

    Raises `RefusalError`: `malformed_json` or `wrong_type`.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    if is_too_deep(text):
        raise RefusalError(Reason.MALFORMED_JSON, f"the JSON is nested over {MAX_DEPTH} deep")
    try:
        members = json.loads(text, parse_int=_any_int, parse_constant=_no_constant)
    except ValueError as error:
        raise RefusalError(Reason.MALFORMED_JSON, f"the value is not JSON: {error}") from None
    if not isinstance(members, dict):
        raise RefusalError(Reason.WRONG_TYPE, "the value is JSON, but not an object")
    return members


def is_too_deep(text: str) -> bool:
    """Return whether brackets outside of strings are nested over `MAX_DEPTH`; any text will do."""
    # Hardly any text has so many brackets that they must be followed.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    # Each step is one call into C: a loop over the tokens took a quarter of a second for 256 KiB
    # of brackets, and a batch of such records longer than the watchdog waits.
    without_escapes = text.replace("\\\\", "").replace('\\"', "")
    outside = "".join(without_escapes.split('"')[::2]).encode("ascii", "ignore")
    steps = memoryview(outside.translate(_STEPS, _NO_BRACKETS)).cast("b")
    depths = [0]
    for start in range(0, len(steps), _STEPS_AT_ONCE):
        depths = list(accumulate(steps[start : start + _STEPS_AT_ONCE], initial=depths[-1]))
        if max(depths) > MAX_DEPTH:
            return True
    return False


def _any_int(digits: str) -> int:
    """Read an integer; of more digits than Python reads, take one that is out of range too."""
    try:
        return int(digits)
    except ValueError:
        return int(digits[:40])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _normalise(
    purchase: PurchaseFields, record: Record, origin: Origin, rules: Rules
) -> PurchaseEvent:
    # The first fault that is met gives the reason. In another order, a record with two faults would
    # be refused for another reason after an upgrade.
    user, price = purchase.user, purchase.unit_price
    if user is not None:
        user = fields.name("user", user, Reason.INVALID_USER)
    item = fields.name("item", purchase.item, Reason.INVALID_ITEM)
    quantity = 1 if purchase.quantity is None else fields.quantity(purchase.quantity)
    micros = None if price is None else fields.unit_price_micros(price)
    if purchase.currency is not None and not _is_currency(purchase.currency, rules.currency):
        raise RefusalError(
            Reason.UNSUPPORTED_CURRENCY,
            f"currency {excerpt(purchase.currency)} is not this deployment's {rules.currency}",
        )
    return PurchaseEvent(
        event_id=_derived_event_id(record, origin, rules.redrive)
        if purchase.event_id is None
        else fields.event_id(purchase.event_id),
        timestamp=_event_time(purchase.timestamp, record.timestamp, rules.history_start),
        user=user,
        item=item,
        quantity=quantity,
        unit_price_micros=micros,
        amount_micros=None
        if micros is None
        else fields.amount_micros(quantity, micros, rules.max_amount_micros),
        currency=rules.currency,
        order_id=fields.text("order_id", purchase.order_id),
        description=fields.text("description", purchase.description),
        country=fields.text("country", purchase.country),
    )


def _is_currency(text: str, currency: str) -> bool:
    """Return whether a text is the code `currency`, in any case: payment services write `gbp`."""
    return text == currency or (text.isascii() and text.upper() == currency)


def _derived_event_id(record: Record, origin: Origin, redrive: str) -> str:
    """Return the event id of a purchase that came without one.

    Raises `RefusalError` (`invalid_origin`) if the record is like one that a release without
    `purchases.redrive` sent again. Such a purchase may be stored already, under an id of its first
    record; an id of this record would store it twice.
    """
    if record.headers and record.topic != redrive and names_origin(record.headers):
        raise RefusalError(
            Reason.INVALID_ORIGIN,
            f"origin.* headers count on {redrive} alone; if an earlier release sent this again,"
            " redrive the dead letter that they name, or give this purchase an event_id",
        )
    return origin_id(origin)


def _if_in_seconds(value: str | int) -> str:
    """Return the question whether a number is in seconds, the commonest mistake of a producer."""
    if not isinstance(value, int) or not FIRST_SECOND <= value < END_OF_TIME_MICROS // units.MICROS:
        return ""
    time = units.EPOCH + timedelta(seconds=value)
    return f"; send milliseconds, because {value} s is {time:%Y-%m-%dT%H:%M:%S}Z"


def _event_time(value: str | int, appended_at: int, history_start: datetime) -> datetime:
    """Check the event time against the record's own time: the result never depends on now."""
    time = fields.timestamp(value)
    if time < history_start:
        raise RefusalError(
            Reason.TIMESTAMP_TOO_OLD,
            f"timestamp {excerpt(value)} is before the start of history, {history_start:%Y-%m-%d}"
            f"{_if_in_seconds(value)}",
        )
    if time >= END_OF_TIME:
        raise RefusalError(
            Reason.TIMESTAMP_IN_FUTURE,
            f"timestamp {excerpt(value)} is not before {END_OF_TIME:%Y-%m-%d}",
        )
    if units.micros_of(time) > appended_at * 1000 + MAX_AHEAD_MICROS:
        raise RefusalError(
            Reason.TIMESTAMP_IN_FUTURE,
            f"timestamp {excerpt(value)} is over 24 h after the record was appended",
        )
    return time
