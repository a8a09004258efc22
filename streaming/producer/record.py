"""A purchase as it is sent, valid or not: the JSON that goes to `purchases`, and its key.

What is valid is decided in `streaming.events` by whoever reads; an invalid value is sent as it is.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct


class RawPurchase(Struct, frozen=True, omit_defaults=True, gc=False):
    """`PurchaseFields` of whatever type they came in, in the same order.

    `user` (None: a guest), `item` and `timestamp` are always written; others that are None are left
    out.
    """

    user: str | None
    item: str | None
    timestamp: str | int | float | None
    event_id: str | None = None
    quantity: str | int | float | None = None
    unit_price: str | int | float | None = None
    currency: str | None = None
    order_id: str | None = None
    description: str | None = None
    country: str | None = None


class ProducerRecord(NamedTuple):
    """Key and value of one record of `purchases`."""

    key: bytes | None
    value: bytes


encode_purchase = msgspec.json.Encoder().encode
