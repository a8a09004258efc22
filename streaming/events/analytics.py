"""AnalyticsEvent: what the processor promises, made from a valid purchase.

Pure. Encoding and decoding the values of `analytics` are here; storing them is not.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streaming import units
from streaming.errors import Mismatch
from streaming.events import fields
from streaming.events.purchase import PurchaseEvent
from streaming.events.record import Record
from streaming.events.refusal import excerpt

SCHEMA_VERSION: Final = 1

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Quantity = Annotated[int, Meta(ge=-fields.MAX_QUANTITY, le=fields.MAX_QUANTITY)]
Price = Annotated[int, Meta(ge=0, le=fields.MAX_PRICE_MICROS)]
Amount = Annotated[int, Meta(ge=-fields.MAX_AMOUNT_MICROS, le=fields.MAX_AMOUNT_MICROS)]


class AnalyticsEvent(Struct, frozen=True, omit_defaults=True, gc=False):
    """A purchase, enriched. Absent fields are left out of the JSON.

    `event_time` and `processed_at` are RFC 3339 in UTC with six decimals, `source_timestamp` is
    epoch milliseconds, money is in micros; `kind` is `sale`, or `return` for a negative quantity.
    """

    event_id: str
    event_time: str
    kind: Literal["sale", "return"]
    item: str
    quantity: Quantity
    currency: str
    processed_at: str
    source_topic: str
    source_partition: Int64
    source_offset: Int64
    source_timestamp: Int64
    schema_version: int
    user: str | None = None
    unit_price_micros: Price | None = None
    amount_micros: Amount | None = None
    order_id: str | None = None
    description: str | None = None
    country: str | None = None


encode_analytics = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnalyticsEvent).decode


class _Versioned(Struct):
    """The one field that every version has."""

    schema_version: int


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


def decode_analytics(value: bytes | None, currency: str) -> AnalyticsEvent:
    """Read a value of `analytics`.

    Raises `Mismatch` for what this version cannot read: no event, another schema or currency, or
    an event that contradicts itself, which the database would refuse.
    """
    content = value or b""
    try:
        event = _decode(content)
    except (ValueError, RecursionError) as error:
        _refuse_other_version(content)
        raise Mismatch(f"it is no analytics event: {error}") from None
    if event.schema_version != SCHEMA_VERSION:
        _refuse_other_version(content)
    if event.currency != currency:
        raise Mismatch(f"its currency is {excerpt(event.currency)}, not {currency}")
    quantity, kind = event.quantity, event.kind
    if quantity == 0 or (quantity > 0) != (kind == "sale"):
        raise Mismatch(f"its quantity and its kind, {kind}, contradict each other")
    if (event.amount_micros is None) != (event.unit_price_micros is None):
        raise Mismatch("it has one of price and amount without the other")
    return event


def time_micros(text: str) -> int:
    """Read `event_time` or `processed_at` as µs since 1970.

    Raises `Mismatch` for any text but RFC 3339 in UTC with six decimals and `Z`.
    """
    try:
        return units.utc_micros(text)
    except ValueError:
        message = f"its time {excerpt(text)} is not RFC 3339 in UTC with six decimals"
        raise Mismatch(message) from None


def _refuse_other_version(content: bytes) -> None:
    """Raise `Mismatch` if the value says that it is of another version than this one."""
    try:
        version = _decode_version(content).schema_version
    except (ValueError, RecursionError):
        return
    if version != SCHEMA_VERSION:
        raise Mismatch(f"it has schema version {version}, not {SCHEMA_VERSION}")
