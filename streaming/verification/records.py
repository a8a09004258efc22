"""What the records of the topics say, as far as the proof needs it."""

from datetime import datetime

from confluent_kafka import Message
from msgspec import Struct
from msgspec.json import Decoder

from streaming.events.record import Headers, Origin, read_origin
from streaming.events.refusal import Refused


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


def headers_of(message: Message) -> Headers:
    """Give the record's headers, as bytes."""
    headers = message.headers()
    return headers or ()  # type: ignore[return-value]  # values come as bytes


def readable_origin(headers: Headers, prefix: str) -> Origin | None:
    """Read an origin from headers; None where there is none, or none that can be read."""
    if not headers or not any(name.startswith(prefix) for name, _ in headers):
        return None
    try:
        return read_origin(headers, prefix)
    except Refused:
        return None
