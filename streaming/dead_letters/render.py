"""Dead letters for people and for programs: what store and topic hold, as records and as text.

Pure. The records are the JSON of the commands and of the API.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from streaming.dead_letters.reader import DeadLetterRecord
from streaming.events.dead_letter import escaped_text
from streaming.events.framing import read_framing
from streaming.events.record import DEAD_LETTER, Headers
from streaming.events.refusal import Reason
from streaming.formatting import printable_text
from streaming.store.dead_letters import StoredDeadLetter
from streaming.units import rfc_3339

HEX_COLUMNS: Final = 16
# As much as a cut dead letter keeps; more of a text helps nobody at a terminal.
SHOWN_BYTES: Final = 64 * 1024
SIZE: Final = re.compile(rb"[0-9]{1,19}").fullmatch


class Attempt(Struct, frozen=True):
    """One refusal of a record, from its dead letter; times are RFC 3339 in UTC."""

    attempt: int
    refused_at: str
    reason: str
    detail: str
    dlq_partition: int
    dlq_offset: int


class TextHeader(Struct, frozen=True):
    """A header as text, in which bytes that are none are escaped; a value may be absent."""

    name: str
    value: str | None


class DeadLetterDetails(Struct, frozen=True):
    """A dead letter with what the topic holds of it; null if that is no longer there.

    `value` and `key` are text in which other bytes are escaped, `value_hex` has all bytes. Headers
    are those that the record came with, in their order: Kafka allows a name several times.
    `framing` names the schema by which a value was written, and `decoded` is its JSON, null if no
    schema registry can be asked for it.
    """

    id: str
    state: str
    reason: str | None
    detail: str | None
    attempts: int
    refused_at: str | None
    dropped_because: str | None
    origin_topic: str
    origin_partition: int
    origin_offset: int
    origin_timestamp: str
    in_topic: bool
    truncated_bytes: int | None
    key: str | None
    headers: tuple[TextHeader, ...]
    value: str | None
    value_hex: str | None
    framing: str | None
    decoded: str | None
    refusals: tuple[Attempt, ...]


class DeadLetterSummary(Struct, frozen=True):
    """A dead letter as `dlq list --json` prints it; times are RFC 3339 in UTC."""

    id: str
    state: str
    reason: str | None
    detail: str | None
    key: str | None
    attempts: int
    refused_at: str | None
    dropped_because: str | None


class DeadLetterList(Struct, frozen=True):
    """What `dlq list --json` prints."""

    counts: Mapping[str, int]
    dead_letters: Sequence[DeadLetterSummary]


def summary(dead_letter: StoredDeadLetter) -> DeadLetterSummary:
    """Return the dead letter as a list shows it."""
    return DeadLetterSummary(
        dead_letter.id,
        dead_letter.state,
        dead_letter.reason,
        dead_letter.detail,
        dead_letter.key,
        dead_letter.attempts,
        _time(dead_letter.refused_at),
        dead_letter.dropped_because,
    )


def details(
    dead_letter: StoredDeadLetter,
    last: DeadLetterRecord | None,
    attempts: Iterable[DeadLetterRecord],
    decoded: bytes | None,
) -> DeadLetterDetails:
    """Combine what store and topic hold of a dead letter.

    `last` is its last attempt, and `decoded` the JSON of its value if that is framed.
    """
    record = None if last is None else last.record
    value = None if record is None else record.value
    headers = () if record is None else record.headers
    truncated = dict(headers).get(f"{DEAD_LETTER}truncated")
    framing = None if record is None else read_framing(record)
    return DeadLetterDetails(
        id=dead_letter.id,
        state=dead_letter.state,
        reason=dead_letter.reason,
        detail=dead_letter.detail,
        attempts=dead_letter.attempts,
        refused_at=_time(dead_letter.refused_at),
        dropped_because=dead_letter.dropped_because,
        origin_topic=dead_letter.topic,
        origin_partition=dead_letter.partition,
        origin_offset=dead_letter.offset,
        origin_timestamp=_time(dead_letter.timestamp * 1000) or "",
        in_topic=record is not None,
        truncated_bytes=_truncated_bytes(truncated),
        key=dead_letter.key if record is None else escaped_text(record.key),
        headers=_other_headers(headers),
        value=None if value is None else value.decode(errors="backslashreplace"),
        value_hex=None if value is None else value.hex(),
        framing=None if framing is None else framing.text,
        decoded=None if decoded is None else decoded.decode(errors="backslashreplace"),
        refusals=tuple(_attempt(attempt) for attempt in attempts),
    )


def lines(dead_letter: DeadLetterDetails) -> str:
    """Return lines of a name and what it is, then the value as text and as hex."""
    because = f": {dead_letter.dropped_because}" if dead_letter.dropped_because else ""
    origin = (
        f"{dead_letter.origin_topic}-{dead_letter.origin_partition} at {dead_letter.origin_offset}"
    )
    named = [
        ("dead letter", dead_letter.id),
        ("state", dead_letter.state + because),
        ("reason", dead_letter.reason or ""),
        ("detail", dead_letter.detail or ""),
        ("refused at", dead_letter.refused_at or ""),
        ("came as", f"{origin} ({dead_letter.origin_timestamp})"),
        ("key", "none" if dead_letter.key is None else dead_letter.key),
        *((f"header {header.name}", header.value or "") for header in dead_letter.headers),
        *([("framing", dead_letter.framing)] if dead_letter.framing else []),
        *([("by schema", dead_letter.decoded[:SHOWN_BYTES])] if dead_letter.decoded else []),
    ]
    text = [f"{printable_text(name):<13} {printable_text(value)}".rstrip() for name, value in named]
    text += [
        f"attempt {a.attempt:<5} {a.refused_at} {printable_text(f'{a.reason}: {a.detail}')}"
        for a in dead_letter.refusals
    ]
    if dead_letter.reason == Reason.NOT_STORABLE:
        return "\n".join(
            [*text, "", f"Its value is the record of {origin}, and is kept nowhere else."]
        )
    if not dead_letter.in_topic:
        return "\n".join([*text, "", "The topic no longer holds its value (it keeps 30 days)."])
    if dead_letter.truncated_bytes is not None:
        text.append(
            f"size          {dead_letter.truncated_bytes:,} bytes, of which the first are kept"
        )
    if dead_letter.value is None or dead_letter.value_hex is None:
        return "\n".join([*text, "", "It has no value."])
    content = bytes.fromhex(dead_letter.value_hex)
    more = [] if len(content) <= SHOWN_BYTES else [f"… {len(content):,} bytes in all"]
    value = printable_text(content[:SHOWN_BYTES].decode(errors="backslashreplace"))
    return "\n".join([*text, "", value, "", *_hex_lines(content[:SHOWN_BYTES]), *more])


def _hex_lines(content: bytes) -> list[str]:
    lines = []
    for start in range(0, len(content), HEX_COLUMNS):
        row = content[start : start + HEX_COLUMNS]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {row.hex(' '):<{HEX_COLUMNS * 3}} {text}")
    return lines


def _attempt(attempt: DeadLetterRecord) -> Attempt:
    record, headers = attempt
    return Attempt(
        headers.origin.attempt,
        _time(record.timestamp * 1000) or "",
        headers.reason,
        headers.detail,
        record.partition,
        record.offset,
    )


def _truncated_bytes(size: bytes | None) -> int | None:
    # Any writer may put any bytes into the header, and `int` refuses very many digits.
    return int(size) if size is not None and SIZE(size) else None


def _other_headers(headers: Headers) -> tuple[TextHeader, ...]:
    return tuple(
        TextHeader(name, escaped_text(value))
        for name, value in headers
        if not name.startswith(DEAD_LETTER)
    )


def _time(micros: int | None) -> str | None:
    if micros is None:
        return None
    try:
        return rfc_3339(datetime.fromtimestamp(micros / 1_000_000, UTC))
    except (ValueError, OverflowError):
        # A header of any writer may hold a time that no calendar has.
        return f"{micros // 1000} ms"
