"""Corruption: errors put into purchases on purpose, so that refusals can be watched.

Pure. Whatever a deployment's settings, the processor refuses each corruption with its reason here.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from streaming.events.fields import MAX_NAME, MAX_QUANTITY
from streaming.events.refusal import Reason
from streaming.producer.record import RawPurchase, encode_purchase


class Corruption(Struct, frozen=True):
    """One error: how it is put into a purchase, and the reason of the refusal."""

    reason: Reason
    value: Callable[[RawPurchase], bytes]


def _with(**fields: object) -> Callable[[RawPurchase], bytes]:
    return lambda purchase: msgspec.json.encode({**_fields(purchase), **fields})


def _omit_field(field: str) -> Callable[[RawPurchase], bytes]:
    return lambda purchase: msgspec.json.encode(
        {name: value for name, value in _fields(purchase).items() if name != field}
    )


def _fields(purchase: RawPurchase) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(purchase)
    return fields


CORRUPTIONS: Final = (
    Corruption(Reason.INVALID_QUANTITY, _with(quantity=0)),
    Corruption(Reason.MALFORMED_JSON, lambda purchase: encode_purchase(purchase)[:-9]),
    Corruption(Reason.MISSING_FIELD, _omit_field("item")),
    Corruption(Reason.INVALID_PRICE, _with(unit_price="-1.00")),
    Corruption(Reason.TIMESTAMP_IN_FUTURE, _with(timestamp="2999-01-01T00:00:00Z")),
    Corruption(Reason.WRONG_TYPE, _with(item=22_197)),
    Corruption(Reason.INVALID_TIMESTAMP, _with(timestamp="2011-03-27 01:30:00")),
    Corruption(Reason.INVALID_PRICE, _with(unit_price="2,50")),
    Corruption(Reason.INVALID_ITEM, _with(item="")),
    Corruption(Reason.UNSUPPORTED_CURRENCY, _with(currency="XTS")),
    Corruption(Reason.MISSING_FIELD, _omit_field("user")),
    Corruption(Reason.INVALID_EVENT_ID, _with(event_id="order-17")),
    Corruption(Reason.INVALID_USER, _with(user="x" * (MAX_NAME + 1))),
    Corruption(Reason.TIMESTAMP_TOO_OLD, _with(timestamp="0001-01-01T00:00:00Z")),
    Corruption(Reason.INVALID_QUANTITY, _with(quantity=MAX_QUANTITY + 1)),
    Corruption(Reason.INVALID_TEXT, _with(country="United\0Kingdom")),
    Corruption(Reason.EMPTY, lambda _: b""),
)


def count_corrupted(number: int, share: float) -> int:
    """Return how many of the first `number` purchases are corrupted: their share, rounded down."""
    # 0.29 * 100 is 28.999999999999996.
    return int(number * share + 1e-9)


def corrupted_value(purchase: RawPurchase, turn: int) -> bytes:
    """Return the value of a purchase with the corruption whose turn it is."""
    return CORRUPTIONS[turn % len(CORRUPTIONS)].value(purchase)
