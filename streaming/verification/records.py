"""What the records of the topics say, as far as the proof needs it."""

from collections.abc import Callable
from datetime import datetime
from operator import methodcaller
from typing import cast

from confluent_kafka import Message
from msgspec import Struct
from msgspec.json import Decoder

from streaming.events.record import Headers, Origin, read_origin
from streaming.events.refusal import RefusalError


class Published(Struct, gc=False):
    """The fields of an AnalyticsEvent that are compared."""

    event_id: str
    event_time: datetime
    item: str
    quantity: int
    processed_at: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp: int
    user: str | None = None
    amount_micros: int | None = None


read_published = Decoder(Published).decode
_headers = cast("Callable[[Message], Headers | None]", methodcaller("headers"))
"""So Python sees that the client failed; by the method itself it does not always."""


def headers_of(message: Message) -> Headers:
    """Give the record's headers, as bytes; none where the client cannot read a name."""
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        message.set_headers([])
        return ()
    return headers or ()


def readable_origin(headers: Headers, prefix: str) -> Origin | None:
    """Read an origin from headers; None where there is none, or none that can be read."""
    if not headers or not any(name.startswith(prefix) for name, _ in headers):
        return None
    try:
        return read_origin(headers, prefix)
    except RefusalError:
        return None
