"""Purchases broken on purpose, one way after another, so that refusals can be watched.

Each way is refused by the processor with the reason given here, whatever a deployment's settings.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from streaming.events.fields import MAX_NAME, MAX_QUANTITY
from streaming.events.refusal import Reason
from streaming.producer.record import RawPurchase, encode_purchase


class Way(Struct, frozen=True):
    """One way to break a purchase, and the reason for which it is then refused."""

    reason: Reason
    value: Callable[[RawPurchase], bytes]


def _with(**fields: object) -> Callable[[RawPurchase], bytes]:
    return lambda sent: msgspec.json.encode({**_fields(sent), **fields})


def _without(field: str) -> Callable[[RawPurchase], bytes]:
    return lambda sent: msgspec.json.encode(
        {name: value for name, value in _fields(sent).items() if name != field}
    )


def _fields(sent: RawPurchase) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(sent)
    return fields


WAYS: Final = (
    Way(Reason.INVALID_QUANTITY, _with(quantity=0)),
    Way(Reason.MALFORMED_JSON, lambda sent: encode_purchase(sent)[:-9]),
    Way(Reason.MISSING_FIELD, _without("item")),
    Way(Reason.INVALID_PRICE, _with(unit_price="-1.00")),
    Way(Reason.TIMESTAMP_IN_FUTURE, _with(timestamp="2999-01-01T00:00:00Z")),
    Way(Reason.WRONG_TYPE, _with(item=22_197)),
    Way(Reason.INVALID_TIMESTAMP, _with(timestamp="2011-03-27 01:30:00")),
    Way(Reason.INVALID_PRICE, _with(unit_price="2,50")),
    Way(Reason.INVALID_ITEM, _with(item="")),
    Way(Reason.UNSUPPORTED_CURRENCY, _with(currency="XTS")),
    Way(Reason.MISSING_FIELD, _without("user")),
    Way(Reason.INVALID_EVENT_ID, _with(event_id="order-17")),
    Way(Reason.INVALID_USER, _with(user="x" * (MAX_NAME + 1))),
    Way(Reason.TIMESTAMP_TOO_OLD, _with(timestamp="0001-01-01T00:00:00Z")),
    Way(Reason.INVALID_QUANTITY, _with(quantity=MAX_QUANTITY + 1)),
    Way(Reason.INVALID_TEXT, _with(country="United\0Kingdom")),
    Way(Reason.EMPTY, lambda _: b""),
)


def bad_before(number: int, share: float) -> int:
    """Give how many of the first `number` purchases are broken: their share, rounded down."""
    return int(number * share + 1e-9)


def spoiled(sent: RawPurchase, turn: int) -> bytes:
    """Break a purchase in the way whose turn it is."""
    return WAYS[turn % len(WAYS)].value(sent)
