"""Dead letters: what `purchases.dlq` keeps of a refused record, and how its headers are read.

Pure. The form of the headers `dlq.*` is here; sending, storing and redriving are not.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from streaming.events.record import (
    DEAD_LETTER,
    MAX_ATTEMPT,
    MAX_HEADERS,
    Header,
    Headers,
    Origin,
    Record,
    forwarded_headers,
    origin_headers,
    read_origin,
)
from streaming.events.refusal import Refusal, RefusalError

VERSION: Final = b"1"
# Of each of value, key and headers, if the whole is too large: enough to recognise the record.
KEPT_BYTES: Final = 64 * 1024
# Of a key or a header where it is shown, and of the key in the database.
MAX_CHARACTERS: Final = 1024

# Kafka's batch header, and a record's own lengths and deltas at their longest.
_BATCH_OVERHEAD: Final = 61 + 36
# Of a header: the lengths of name and value, at their longest.
_HEADER_OVERHEAD: Final = 10
_LENGTH: Final = struct.Struct(">i")
_ABSENT: Final = _LENGTH.pack(-1)


class DeadLetter(Struct, frozen=True):
    """What goes to `purchases.dlq`: key and value as they came, headers with the refusal."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]


class DeadLetterHeaders(Struct, frozen=True):
    """What a dead letter's `dlq.*` headers say; `origin.attempt` counts this refusal too.

    `reason` is a text, because a newer version may know more codes than this one.
    """

    origin: Origin
    reason: str
    detail: str


def dead_letter(record: Record, origin: Origin, refusal: Refusal, maximum_bytes: int) -> DeadLetter:
    """Make the dead letter of a refused record, of at most `maximum_bytes` as Kafka counts them.

    Key and value are unchanged; headers go along, `origin.*` too, except incoming `dlq.*` and what
    is over 1,000. Of what is too large, each of value, key and headers that is over 64 KiB is cut
    to that. Of what is cut, size and SHA-256 are kept: `dlq.truncated` and `dlq.sha256`, with
    `.key` or `.headers` for those. `maximum_bytes` is at least 16 KiB.
    """
    carried = forwarded_headers(record.headers)
    refused = _refusal_headers(origin, refusal)
    few = carried[:MAX_HEADERS]
    marks = _cut_mark(".headers", _pack_headers(carried)) if len(few) < len(carried) else []
    whole = DeadLetter(record.key, record.value, [*few, *refused, *marks])
    if size_in_bytes(whole) <= maximum_bytes:
        return whole
    # Three parts may be cut to it, and the fourth quarter is for the headers `dlq.*`.
    kept = min(KEPT_BYTES, maximum_bytes // 4)
    return DeadLetter(
        key=record.key and record.key[:kept],
        value=record.value and record.value[:kept],
        headers=[*_leading_headers(few, kept), *refused, *_cut_marks(record, carried, kept)],
    )


def read_dead_letter_headers(headers: Headers) -> DeadLetterHeaders | Refusal:
    """Read the `dlq.*` headers; a `Refusal` if they are not of this project's making.

    Nothing is raised. Any database holds the texts: they are without U+0000, and of at most 1,024
    characters.
    """
    try:
        origin = read_origin(headers, DEAD_LETTER)
    except RefusalError as refused:
        return refused.refusal
    texts = dict(headers)
    return DeadLetterHeaders(
        origin=origin,
        reason=escaped_text(texts.get(f"{DEAD_LETTER}reason")) or "",
        detail=escaped_text(texts.get(f"{DEAD_LETTER}detail")) or "",
    )


def escaped_text(content: bytes | None) -> str | None:
    """Return bytes (such as a key) as text of at most 1,024 characters; other bytes are escaped."""
    if content is None:
        return None
    # A character has 4 bytes at most, and a key may have a megabyte.
    text = content[: 4 * MAX_CHARACTERS].decode(errors="backslashreplace")
    return text.replace("\0", "\\x00")[:MAX_CHARACTERS]


def size_in_bytes(dead_letter: DeadLetter) -> int:
    """Return an upper bound of the bytes that the record takes in a batch of its own."""
    headers = sum(
        len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD
        for name, value in dead_letter.headers
    )
    return _BATCH_OVERHEAD + len(dead_letter.key or b"") + len(dead_letter.value or b"") + headers


def _refusal_headers(origin: Origin, refusal: Refusal) -> list[Header]:
    refused_again = Origin(
        origin.topic,
        origin.topic_id,
        origin.partition,
        origin.offset,
        origin.timestamp,
        min(origin.attempt + 1, MAX_ATTEMPT),
    )
    return [
        (f"{DEAD_LETTER}reason", refusal.reason.encode()),
        (f"{DEAD_LETTER}detail", refusal.detail.encode()),
        (f"{DEAD_LETTER}version", VERSION),
        *origin_headers(refused_again, DEAD_LETTER),
    ]


def _cut_marks(record: Record, carried: list[Header], kept: int) -> list[Header]:
    """Return the size and the SHA-256 of each part that is cut to `kept` bytes."""
    parts = {"": record.value or b"", ".key": record.key or b"", ".headers": _pack_headers(carried)}
    marks: list[Header] = []
    for part, content in parts.items():
        if len(content) > kept or (part == ".headers" and len(carried) > MAX_HEADERS):
            marks += _cut_mark(part, content)
    return marks


def _cut_mark(part: str, content: bytes) -> list[Header]:
    digest = hashlib.sha256(content).hexdigest()
    return [
        (f"{DEAD_LETTER}truncated{part}", b"%d" % len(content)),
        (f"{DEAD_LETTER}sha256{part}", digest.encode()),
    ]


def _leading_headers(headers: Iterable[Header], kept: int) -> list[Header]:
    """Return the leading headers that take at most `kept` bytes; each is whole."""
    leading: list[Header] = []
    for header in headers:
        kept -= len(_pack_header(header))
        if kept < 0:
            break
        leading.append(header)
    return leading


def _pack_headers(headers: Iterable[Header]) -> bytes:
    """Return all headers packed; a record may have 100,000, so no function is called for each."""
    length = _LENGTH.pack
    parts: list[bytes] = []
    for text, value in headers:
        name = text.encode()
        parts += (
            length(len(name)),
            name,
            _ABSENT if value is None else length(len(value)),
            value or b"",
        )
    return b"".join(parts)


def _pack_header(header: Header) -> bytes:
    """Return a header as int32 length ‖ name ‖ int32 length ‖ value, big-endian; -1 is no value."""
    return _pack_headers([header])
