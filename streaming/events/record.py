"""A record of `purchases` as the pure functions see it, and its origin.

Pure. The headers `origin.*` and the derived event id are defined here; what a value means is not.
"""

import re
import struct
from collections.abc import Sequence

from msgspec import Struct

from streaming.events.identifiers import derived_id, topic_id_bytes, topic_id_text
from streaming.events.refusal import Reason, RefusalError, excerpt

Header = tuple[str, bytes | None]
Headers = Sequence[Header]
TopicPartition = tuple[str, int]
"""A topic and a partition's number. A client's own object of this name has an offset too."""

ORIGIN = "origin."
ORIGIN_HEADERS = 6
DEAD_LETTER = "dlq."
UNREADABLE: Header = ("origin.unreadable", b"a header's name is not UTF-8")
"""Stands for all headers of a record of which the client cannot read one: none can go along."""
UNREADABLE_DETAIL = "the headers are unreadable: one's name is not UTF-8"
# With its headers and key the published event must fit the 1 MiB that a topic takes by default.
MAX_VALUE_BYTES = 256 * 1024
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
# Far more than anybody sends. The client shows none of a record's headers above 100,000, which a
# dead letter with its own must stay below.
MAX_HEADERS = 1_000
# Headers that anybody may write must not overflow the integer of a database.
MAX_ATTEMPT = INT32_MAX

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}").fullmatch
# Bounded, because reading an integer takes the square of its digits.
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
    """Where a purchase was first recorded; `attempt` counts its refusals so far."""

    topic: str
    topic_id: bytes
    partition: int
    offset: int
    timestamp: int
    attempt: int = 0


def origin_of(record: Record, redrive: str) -> Origin:
    """Return the record's origin: itself, or on the topic `redrive` what its headers say.

    Anybody may write `origin.*` headers to any other topic, so there they say nothing. Raises
    `RefusalError` (`invalid_origin`) if those of a redriven record are incomplete or unreadable,
    and on any topic if the client cannot read the record's headers.
    """
    if record.topic == redrive:
        for name, _ in record.headers:
            if name.startswith(ORIGIN):
                return read_origin(record.headers, ORIGIN)
    elif UNREADABLE in record.headers:
        raise RefusalError(Reason.INVALID_ORIGIN, UNREADABLE_DETAIL)
    return own_origin(record)


def names_origin(headers: Headers) -> bool:
    """Return whether the headers hold a complete and readable origin, whoever wrote it."""
    if not may_have(ORIGIN, headers):
        return False
    try:
        read_origin(headers, ORIGIN)
    except RefusalError:
        return False
    return True


def forwarded_headers(headers: Headers) -> list[Header]:
    """Return the headers that go along to `analytics` and `purchases.dlq`: all but `dlq.*`."""
    if not may_have(DEAD_LETTER, headers):
        return list(headers)
    return [header for header in headers if not header[0].startswith(DEAD_LETTER)]


def may_have(prefix: str, headers: Headers) -> bool:
    """Return False if no header's name begins with the prefix; True if one may.

    A record may have 100,000 headers: one search through all names takes a third of the time.
    """
    return bool(headers) and prefix in "".join([name for name, _ in headers])


def own_origin(record: Record) -> Origin:
    """Return the record itself as its origin."""
    return Origin(record.topic, record.topic_id, record.partition, record.offset, record.timestamp)


def read_origin(headers: Headers, prefix: str) -> Origin:
    """Read an origin from the headers that begin with `prefix` (`origin.` or `dlq.`).

    Raises `RefusalError` (`invalid_origin`) naming the first header that is missing or unreadable.
    """
    if prefix == ORIGIN and UNREADABLE in headers:
        raise RefusalError(Reason.INVALID_ORIGIN, UNREADABLE_DETAIL)
    # Of a name that comes twice the last counts, as in JSON.
    values = {
        name[len(prefix) :]: value or b"" for name, value in headers if name.startswith(prefix)
    }
    try:
        return Origin(
            topic=_topic(values["topic"]),
            topic_id=topic_id_bytes(values["topic_id"].decode()),
            partition=_number(values["partition"], 0, INT32_MAX),
            offset=_number(values["offset"], 0, INT64_MAX),
            timestamp=_number(values["timestamp"], -INT64_MAX - 1, INT64_MAX),
            attempt=_number(values["attempt"], 0, MAX_ATTEMPT),
        )
    except KeyError as missing:
        detail = f"the header {prefix}{missing.args[0]} is missing"
    except ValueError as error:
        detail = f"an {prefix}* header is unreadable: {error}"
    raise RefusalError(Reason.INVALID_ORIGIN, detail)


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


def origin_id(origin: Origin) -> str:
    """Derive the event id of a purchase that came without one."""
    # Byte for byte forever: packed otherwise, a purchase that is redriven would get another id and
    # be stored twice.
    return derived_id(
        origin.timestamp, struct.pack(">16siq", origin.topic_id, origin.partition, origin.offset)
    )


def _topic(value: bytes) -> str:
    text = value.decode()
    if not _TOPIC(text):
        raise ValueError(f"{excerpt(text)} is no topic name")
    return text


def _number(value: bytes, minimum: int, maximum: int) -> int:
    number = int(value) if _NUMBER(value) else None
    if number is None or not minimum <= number <= maximum:
        raise ValueError(f"{excerpt(value)} is not a number from {minimum} to {maximum}")
    return number
