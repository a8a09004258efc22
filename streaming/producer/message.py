"""A purchase as it is sent, right or wrong: the JSON that goes to `purchases`, and its key.

What is valid is decided in `streaming.events`, by whoever reads; here a broken value stays broken.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct


class Sent(Struct, omit_defaults=True, gc=False):
    """The fields of a purchase, of whatever type they came in.

    `user` (None: a guest), `item` and `timestamp` are always written; what else is None is left
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


class Message(NamedTuple):
    """Key and value of one record of `purchases`."""

    key: bytes | None
    value: bytes


encode_sent = msgspec.json.Encoder().encode
