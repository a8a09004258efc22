"""What the records of the topics say, as far as the verification needs it.

The consumer's own decoders are not used on purpose: an error of theirs would go unnoticed.
"""

from collections.abc import Callable
from datetime import datetime
from operator import methodcaller
from typing import Annotated, Final, cast
from uuid import UUID

from confluent_kafka import Message
from msgspec import Meta, Struct
from msgspec.json import Decoder

from streaming.events.record import Headers, Origin, read_origin
from streaming.events.refusal import RefusalError

UUID_BYTES: Final = 16
UUID_LENGTH: Final = 36
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Moment = Annotated[datetime, Meta(tz=True)]
"""A time without an offset could not be compared with the others."""


class PublishedEvent(Struct, gc=False):
    """The fields of an AnalyticsEvent that are compared."""

    event_id: str
    event_time: Moment
    item: str
    quantity: Int64
    processed_at: Moment
    source_topic: str
    source_partition: Int64
    source_offset: Int64
    source_timestamp: Int64
    user: str | None = None
    amount_micros: Int64 | None = None


class _OwnId(Struct):
    event_id: UUID


read_published = Decoder(PublishedEvent).decode
_read_own_id = Decoder(_OwnId).decode
_headers = cast("Callable[[Message], Headers | None]", methodcaller("headers"))
"""Called through C, an error that the client sets without failing surfaces at once."""


def headers_of(message: Message) -> Headers:
    """Return the record's headers, as bytes; none if the client cannot read a name."""
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        # A second look at these headers would end the process (docs/postmortems/0007).
        message.set_headers([])
        return ()
    return headers or ()


def own_event_id(value: bytes) -> bytes | None:
    """Return the event id in a refused value, as `stored_id` does; None if none can be read."""
    try:
        return _read_own_id(value).event_id.bytes
    except (ValueError, RecursionError):
        return None


def stored_id(event_id: str) -> bytes:
    """Return what the store holds in place of an event's id.

    That is the bytes of a UUID in its hyphenated form and lower case, and the UTF-8 of any other
    text.
    """
    digits = event_id.replace("-", "")
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return event_id.encode()
    # Four hyphens at their places, and 32 digits as these bytes are written: nothing else is there.
    is_uuid = len(event_id) == UUID_LENGTH and event_id[8:24:5] == "----"
    return packed if is_uuid and packed.hex() == digits else event_id.encode()


def shown_id(stored: bytes) -> str:
    """Return the event's id of which `stored_id` is stored."""
    if len(stored) != UUID_BYTES:
        return stored.decode()
    text = stored.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def readable_origin(headers: Headers, prefix: str) -> Origin | None:
    """Read an origin from headers; None if there is none, or none that can be read."""
    if not headers or not any(name.startswith(prefix) for name, _ in headers):
        return None
    try:
        return read_origin(headers, prefix)
    except RefusalError:
        return None
