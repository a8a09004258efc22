"""Purchases that come over HTTP, made ready for Kafka: split, named, keyed; pure.

What a purchase must be is the processor's matter; nothing here refuses one. Sending is in `door`.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from starlette.requests import Request

from streaming import units
from streaming.api.endpoint import JSON
from streaming.errors import TooLarge, UsageError
from streaming.events import fields
from streaming.events.identifiers import derived_id, record_key
from streaming.events.purchase import MAX_VALUE_BYTES, decode_any
from streaming.events.record import Header
from streaming.events.refusal import RefusalError

MOST_RECORDS: Final = 1_000
KEY_BYTES: Final = 1_024
LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")


class Outgoing(Struct, frozen=True):
    """A record as it is sent; `event_id` is None where it cannot have one."""

    event_id: str | None
    key: bytes | None
    value: bytes


class Batch(Struct, frozen=True):
    """The records of a request, and the headers that go along with each."""

    records: Sequence[Outgoing]
    headers: Sequence[Header]


class _Named(Struct, frozen=True):
    """What of a record decides on its id and key; of any type, as nothing is judged here."""

    event_id: Any = None
    timestamp: Any = None
    user: Any = None
    order_id: Any = None


def read_batch(request: Request, body: bytes) -> Batch:
    """Make the records of a request ready; each has an id, so that a retry stores once.

    Raises `UsageError` where the body is none of the forms or an id is missing, `TooLarge` where
    there are too many, or one is too long. An array that is no JSON is refused as a whole, a line
    that is none goes as it is.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {JSON, *LINES}:
        raise UsageError(f"The content-type is {kind or 'missing'}; use {JSON} or {LINES[0]}.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    records = _json_records(body) if kind == JSON else lines
    _require_sizes(records)
    idempotency_key = request.headers.get("idempotency-key")
    named = [outgoing(r, idempotency_key, index) for index, r in enumerate(records)]
    trace = [
        (name, value.encode("latin-1"))
        for name in ("traceparent", "tracestate")
        if (value := request.headers.get(name))
    ]
    return Batch(named, trace)


def outgoing(record: bytes, idempotency_key: str | None, index: int) -> Outgoing:
    """Give a record its key, and the id that it came with or that the idempotency key gives it.

    Raises `UsageError` where there is neither.
    """
    named = _named(record)
    if named is None:
        return Outgoing(None, None, record)
    key = _key(named)
    if named.event_id is not None:
        return Outgoing(named.event_id if isinstance(named.event_id, str) else None, key, record)
    if not idempotency_key:
        raise UsageError(
            f"Record {index} has no event_id, so that sending it again would store it twice: give"
            " each an event_id (a UUID), or the request an Idempotency-Key."
        )
    return _with_id(record, named.timestamp, idempotency_key, index, key)


def _named(record: bytes) -> _Named | None:
    """Read what decides on id and key; None of what the processor's slow reader refuses too."""
    try:
        return msgspec.json.decode(record, type=_Named)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        wire = decode_any(record.decode())
    except (RefusalError, UnicodeDecodeError):
        return None
    return _Named(wire.event_id, wire.timestamp, wire.user, wire.order_id)


def _with_id(
    record: bytes, timestamp: object, idempotency_key: str, index: int, key: bytes | None
) -> Outgoing:
    """Derive the id from the event's time, the idempotency key and the place in the request."""
    try:
        time = fields.timestamp(timestamp if type(timestamp) is int else str(timestamp))
    except RefusalError:
        return Outgoing(None, key, record)
    content = idempotency_key.encode("latin-1") + struct.pack(">i", index)
    event_id = derived_id(units.micros_of(time) // 1000, content)
    head, _, _ = record.rpartition(b"}")
    comma = b"" if head.rstrip().endswith(b"{") else b","
    return Outgoing(event_id, key, b'%s%s"event_id":"%s"}' % (head, comma, event_id.encode()))


def _key(named: _Named) -> bytes | None:
    user, order_id = (x if isinstance(x, str) else None for x in (named.user, named.order_id))
    key = record_key(user, order_id)
    return key if key and len(key) <= KEY_BYTES else None


def _json_records(body: bytes) -> list[bytes]:
    many = body.lstrip()[:1] == b"["
    try:
        if many:
            return [bytes(record) for record in msgspec.json.decode(body, type=list[Raw])]
        return [bytes(msgspec.json.decode(body, type=Raw))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The body is not JSON, and nothing of it was sent: {error}.") from None


def _require_sizes(records: Sequence[bytes]) -> None:
    if not records:
        raise UsageError("The request has no record.")
    if len(records) > MOST_RECORDS:
        raise TooLarge(f"The request has {len(records):,} records; send {MOST_RECORDS:,} at most.")
    for index, record in enumerate(records):
        if len(record) > MAX_VALUE_BYTES:
            raise TooLarge(
                f"Record {index} has {len(record):,} bytes, over {MAX_VALUE_BYTES:,}; nothing of"
                " the request was sent."
            )
