"""AnalyticsEvent: what the processor promises, made from a valid purchase.

Pure. Encoding and decoding the values of `analytics` are here; storing them is not.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streaming import units
from streaming.errors import Mismatch
from streaming.events import fields
from streaming.events.purchase import PurchaseEvent
from streaming.events.record import INT32_MAX, INT64_MAX, Record
from streaming.events.refusal import Reason, RefusalError, excerpt

SCHEMA_VERSION: Final = 1
"""A consumer stops at a later version, and an earlier one it cannot store: a version 2 needs a
reader of both, installed before a processor writes it."""

# Every time zone has a date for these: a day of the ledger must not leave the years 1 to 9999.
MIN_EVENT_TIME: Final = units.micros_of(datetime(2, 1, 1, tzinfo=UTC))
MAX_EVENT_TIME: Final = units.micros_of(datetime(9999, 1, 1, tzinfo=UTC))
_BACKSLASH: Final = ord("\\")

# msgspec checks these limits while it decodes, which costs next to nothing.
Int64 = Annotated[int, Meta(ge=-INT64_MAX - 1, le=INT64_MAX)]
Partition = Annotated[int, Meta(ge=0, le=INT32_MAX)]
Offset = Annotated[int, Meta(ge=0, le=INT64_MAX)]
EventId = Annotated[str, Meta(min_length=36, max_length=36)]
Name = Annotated[str, Meta(min_length=1, max_length=fields.MAX_NAME)]
Text = Annotated[str, Meta(max_length=fields.MAX_TEXT)]
Quantity = Annotated[int, Meta(ge=-fields.MAX_QUANTITY, le=fields.MAX_QUANTITY)]
Price = Annotated[int, Meta(ge=0, le=fields.MAX_PRICE_MICROS)]
Amount = Annotated[int, Meta(ge=-fields.MAX_AMOUNT_MICROS, le=fields.MAX_AMOUNT_MICROS)]


# Without garbage collection: it can hold no cycle, and a backlog makes millions of them.
class AnalyticsEvent(Struct, frozen=True, omit_defaults=True, gc=False):
    """A purchase, enriched. Absent fields are left out of the JSON.

    `event_time` and `processed_at` are RFC 3339 in UTC with six decimals, `source_timestamp` is
    epoch milliseconds, money is in micros; `kind` is `sale`, or `return` for a negative quantity.
    """

    event_id: EventId
    event_time: str
    kind: Literal["sale", "return"]
    item: Name
    quantity: Quantity
    currency: str
    processed_at: str
    source_topic: str
    source_partition: Partition
    source_offset: Offset
    source_timestamp: Int64
    schema_version: Literal[1]
    user: Name | None = None
    unit_price_micros: Price | None = None
    amount_micros: Amount | None = None
    order_id: Text | None = None
    description: Text | None = None
    country: Text | None = None


encode_analytics = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnalyticsEvent).decode


class _Versioned(Struct):
    """The one field that every version has."""

    schema_version: Int64


_decode_version = msgspec.json.Decoder(_Versioned).decode


def enrich(purchase: PurchaseEvent, source: Record, processed_at: str) -> AnalyticsEvent:
    """Make the analytics event of a purchase that was recorded as `source`."""
    return AnalyticsEvent(
        event_id=purchase.event_id,
        event_time=units.rfc_3339(purchase.timestamp),
        kind="sale" if purchase.quantity > 0 else "return",
        item=purchase.item,
        quantity=purchase.quantity,
        currency=purchase.currency,
        processed_at=processed_at,
        source_topic=source.topic,
        source_partition=source.partition,
        source_offset=source.offset,
        source_timestamp=source.timestamp,
        schema_version=SCHEMA_VERSION,
        user=purchase.user,
        unit_price_micros=purchase.unit_price_micros,
        amount_micros=purchase.amount_micros,
        order_id=purchase.order_id,
        description=purchase.description,
        country=purchase.country,
    )


class StorableRules(Struct, frozen=True):
    """What a deployment stores: events of its currency, and of the topics its processor reads.

    `source_topics` has the id of each in the store. `decode` reads these alone, and raises
    `ValueError` or `RecursionError` for any other value.
    """

    currency: str
    source_topics: Mapping[str, int]
    decode: Callable[[bytes], AnalyticsEvent]


def storable_rules(currency: str, source_topics: Mapping[str, int]) -> StorableRules:
    """Return the rules of a deployment, whose source topics have these ids in the store."""
    # msgspec compares with these texts while it decodes, and makes no text of its own of them: both
    # together save a tenth of the time that an event takes here.
    fields: list[tuple[str, object]] = [
        ("currency", Literal[currency]),
        ("source_topic", Literal[tuple(source_topics)]),
    ]
    storable = msgspec.defstruct("StorableEvent", fields, bases=(AnalyticsEvent,), kw_only=True)
    decoder: msgspec.json.Decoder[AnalyticsEvent] = msgspec.json.Decoder(storable)
    return StorableRules(currency, source_topics, decoder.decode)


def decode_analytics(value: bytes | None, rules: StorableRules) -> AnalyticsEvent:
    """Read a value of `analytics`.

    Raises `Mismatch` for a newer schema version, which an upgrade can read, and `RefusalError`
    (`not_storable`) for what nobody can store: no event, another currency or deployment, or an
    event that contradicts itself.
    """
    content = value or b""
    try:
        event = rules.decode(content)
    except (ValueError, RecursionError):
        # The quick decoder takes nothing but our own events. Why it did not is asked of the general
        # one, which hardly ever runs.
        event = _decode_any(content)
        _require_ours(event, rules)
    quantity, price = event.quantity, event.unit_price_micros
    # Only an escape can bring U+0000 into a text, and hardly any event has one.
    if (
        not (quantity > 0 if event.kind == "sale" else quantity < 0)
        or event.amount_micros != (None if price is None else quantity * price)
        or _BACKSLASH in content
    ):
        _require_agreement(event)
    return event


def event_time_micros(text: str) -> int:
    """Read `event_time` as µs since 1970.

    Raises what `time_micros` does, also for a time that has no date in some time zone.
    """
    try:
        micros = units.utc_micros(text)
    except ValueError:
        raise _no_time(text) from None
    if MIN_EVENT_TIME <= micros < MAX_EVENT_TIME:
        return micros
    raise not_storable(f"its time {text} is not in the years 2 to 9998")


def time_micros(text: str) -> int:
    """Read `event_time` or `processed_at` as µs since 1970.

    Raises `RefusalError` (`not_storable`) for any text but RFC 3339 in UTC with six decimals.
    """
    try:
        return units.utc_micros(text)
    except ValueError:
        raise _no_time(text) from None


def not_storable(detail: str) -> RefusalError:
    """Return the refusal of a record of `analytics`, to be raised."""
    return RefusalError(Reason.NOT_STORABLE, detail)


def _no_time(text: str) -> RefusalError:
    return not_storable(f"its time {excerpt(text)} is not RFC 3339 in UTC with six decimals")


def _decode_any(content: bytes) -> AnalyticsEvent:
    """Decode an event of any deployment. Raises what `decode_analytics` does for no event."""
    try:
        return _decode(content)
    except (ValueError, RecursionError) as error:
        # Asked only now, because a newer version may have other types in fields of these names.
        _require_present_version(_read_version(content))
        raise not_storable(f"it is no analytics event: {error}") from None


def _require_ours(event: AnalyticsEvent, rules: StorableRules) -> None:
    if event.currency != rules.currency:
        raise not_storable(f"its currency is {excerpt(event.currency)}, not {rules.currency}")
    if event.source_topic not in rules.source_topics:
        raise not_storable(f"it was made of a record of {excerpt(event.source_topic)}")


def _require_agreement(event: AnalyticsEvent) -> None:
    """Refuse what the constraints of the database, or the audit of a day, would refuse."""
    quantity, price, kind = event.quantity, event.unit_price_micros, event.kind
    if quantity == 0 or (quantity > 0) != (kind == "sale"):
        raise not_storable(f"its quantity and its kind, {kind}, contradict each other")
    if (event.amount_micros is None) != (price is None):
        raise not_storable("it has one of price and amount without the other")
    if price is not None and event.amount_micros != quantity * price:
        raise not_storable("its amount is not quantity times price")
    if "\0" in "".join(_texts(event)):
        raise not_storable("a text of it holds U+0000")


def _texts(event: AnalyticsEvent) -> list[str]:
    optional = (event.user, event.order_id, event.description, event.country)
    return [event.event_id, event.item, *(text for text in optional if text)]


def _read_version(content: bytes) -> int:
    """Return the version that a value says it has; this one if it says none."""
    try:
        return _decode_version(content).schema_version
    except (ValueError, RecursionError):
        return SCHEMA_VERSION


def _require_present_version(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise Mismatch(f"it has schema version {version}, not {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        raise not_storable(f"it has schema version {version}, not {SCHEMA_VERSION}")
