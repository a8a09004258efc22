"""A record of `purchases` as the pure functions see it, and its origin.

The headers `origin.*` and `dlq.*` and the derived identifiers are defined here; what a value
means is not.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Sequence

from msgspec import Struct

from streaming.events.refusal import Reason, Refused, shown

Header = tuple[str, bytes | None]
Headers = Sequence[Header]

ORIGIN = "origin."
DEAD_LETTER = "dlq."
UNREADABLE: Header = ("origin.unreadable", b"a header's name is not UTF-8")
"""Stands for all headers of a record of which the client cannot read one: it may be an origin."""
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MAX_ATTEMPT = INT32_MAX

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}").fullmatch
_NUMBER = re.compile(rb"-?[0-9]{1,19}").fullmatch


class Record(Struct, frozen=True, gc=False):
    """One record of a topic. `topic_id` is Kafka's 16 bytes, `timestamp` epoch milliseconds."""

    topic: str
    topic_id: bytes
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Origin(Struct, frozen=True):
    """Where a purchase first stood; `attempt` counts the times it was refused before."""

    topic: str
    topic_id: bytes
    partition: int
    offset: int
    timestamp: int
    attempt: int = 0


def origin_of(record: Record) -> Origin:
    """Give the record's origin: itself, or for a redriven one what its `origin.*` headers say.

    Raises `Refused` (`invalid_origin`) where those headers are unreadable or incomplete.
    """
    for name, _ in record.headers:
        if name.startswith(ORIGIN):
            return read_origin(record.headers, ORIGIN)
    return own_position(record)


def forwarded(headers: Headers) -> list[Header]:
    """Give the headers that go along to `analytics` and to the dead letters: all but `dlq.*`."""
    return [header for header in headers if not header[0].startswith(DEAD_LETTER)]


def own_position(record: Record) -> Origin:
    """Give the record's own place as its origin."""
    return Origin(record.topic, record.topic_id, record.partition, record.offset, record.timestamp)


def read_origin(headers: Headers, prefix: str) -> Origin:
    """Read an origin from the headers that begin with `prefix` (`origin.` or `dlq.`).

    Raises `Refused` (`invalid_origin`) naming the first header that is missing or unreadable.
    """
    if prefix == ORIGIN and UNREADABLE in headers:
        raise Refused(Reason.INVALID_ORIGIN, "the headers are unreadable: one's name is not UTF-8")
    found = {
        name[len(prefix) :]: value or b"" for name, value in headers if name.startswith(prefix)
    }
    try:
        return Origin(
            topic=_topic(found["topic"]),
            topic_id=topic_id_bytes(found["topic_id"].decode()),
            partition=_number(found["partition"], 0, INT32_MAX),
            offset=_number(found["offset"], 0, INT64_MAX),
            timestamp=_number(found["timestamp"], -INT64_MAX - 1, INT64_MAX),
            attempt=_number(found["attempt"], 0, MAX_ATTEMPT),
        )
    except KeyError as missing:
        detail = f"the header {prefix}{missing.args[0]} is missing"
    except ValueError as error:
        detail = f"an {prefix}* header is unreadable: {error}"
    raise Refused(Reason.INVALID_ORIGIN, detail)


def origin_headers(origin: Origin, prefix: str) -> list[Header]:
    """Write an origin as headers that begin with `prefix`; numbers as decimal UTF-8."""
    return [
        (f"{prefix}topic", origin.topic.encode()),
        (f"{prefix}topic_id", topic_id_text(origin.topic_id).encode()),
        (f"{prefix}partition", b"%d" % origin.partition),
        (f"{prefix}offset", b"%d" % origin.offset),
        (f"{prefix}timestamp", b"%d" % origin.timestamp),
        (f"{prefix}attempt", b"%d" % origin.attempt),
    ]


def topic_id_text(topic_id: bytes) -> str:
    """Write a topic id as Kafka's tools do: URL-safe base64 without padding, 22 characters."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def topic_id_bytes(text: str) -> bytes:
    """Read a topic id of 22 characters. Raises `ValueError` for any other text."""
    topic_id = base64.b64decode(f"{text}==", altchars=b"-_", validate=True)
    if topic_id_text(topic_id) != text or len(topic_id) != 16:
        raise ValueError(f"{shown(text)} is no topic id")
    return topic_id


def derived_id(milliseconds: int, content: bytes) -> str:
    """Derive an event id: UUIDv8 of 48 bits of milliseconds and the leading 74 bits of a SHA-256.

    So ids sort by time, and the same content at the same time always has the same id.
    """
    digest = int.from_bytes(hashlib.sha256(content).digest()[:10], "big") >> 6
    time = min(max(milliseconds, 0), 2**48 - 1)
    number = time << 80 | 0x8 << 76 | (digest >> 62) << 64 | 0b10 << 62 | digest & (2**62 - 1)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def origin_id(origin: Origin) -> str:
    """Derive the event id of a purchase that came without one."""
    return derived_id(
        origin.timestamp, struct.pack(">16siq", origin.topic_id, origin.partition, origin.offset)
    )


def record_key(user: str | None, order_id: str | None) -> bytes | None:
    """Give the key by which purchases are partitioned: the user; a guest's order; else none."""
    name = user or order_id
    return name.encode() if name else None


def _topic(value: bytes) -> str:
    text = value.decode()
    if not _TOPIC(text):
        raise ValueError(f"{shown(text)} is no topic name")
    return text


def _number(value: bytes, minimum: int, maximum: int) -> int:
    number = int(value) if _NUMBER(value) else None
    if number is None or not minimum <= number <= maximum:
        raise ValueError(f"{shown(value)} is not a number from {minimum} to {maximum}")
    return number
