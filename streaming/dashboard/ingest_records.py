"""The records of an ingest request, prepared for Kafka: split, with event ids and keys; pure.

Sending them is in `ingest`. Whether a purchase is valid is the processor's decision: nothing here
refuses one.
"""

import io
import struct
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, defstruct, structs
from starlette.requests import Request

from streaming import units
from streaming.api.endpoint import JSON
from streaming.errors import TooLarge, UsageError
from streaming.events import fields as event_fields
from streaming.events.identifiers import derived_id, record_key
from streaming.events.purchase import decode_any
from streaming.events.record import MAX_VALUE_BYTES, Header
from streaming.events.refusal import RefusalError

MAX_RECORDS: Final = 1_000
"""As many as Kafka acknowledges well within the ten seconds of a request."""
MAX_KEY_BYTES: Final = 1_024
"""Longer than any valid user or order id, 128 characters of 4 bytes each."""
LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")


_ARRAY: Final = msgspec.json.Decoder(
    # A record of so many fields instead of a list: it ends at the first element too many. A list of
    # two bytes an element would be a gigabyte of objects before it is counted.
    defstruct(
        "Array",
        [(f"record_{index}", Raw, Raw(b"")) for index in range(MAX_RECORDS)],
        array_like=True,
        forbid_unknown_fields=True,
    )
)


class IngestRecord(Struct, frozen=True):
    """A record as it is sent; `event_id` is None if it cannot have one."""

    event_id: str | None
    key: bytes | None
    value: bytes


class IngestBatch(Struct, frozen=True):
    """The records of a request, and the Kafka headers of each."""

    records: Sequence[IngestRecord]
    headers: Sequence[Header]


class _IdentityFields(Struct, frozen=True):
    """The fields that event id and key are made of; of any type, because nothing is judged here."""

    event_id: Any = None
    timestamp: Any = None
    user: Any = None
    order_id: Any = None


def read_batch(request: Request, body: bytes) -> IngestBatch:
    """Return the records of a request; each has an event id, so that a retry stores once.

    An array that is not JSON is refused as a whole; a line that is not JSON is sent as it is.
    Raises `UsageError` if the content type is another or an id is missing, `TooLarge` if there are
    too many records or one is too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {JSON, *LINES}:
        raise UsageError(f"The content-type is {kind or 'missing'}; use {JSON} or {LINES[0]}.")
    records = _json_records(body) if kind == JSON else _line_records(body)
    _require_sizes(records)
    idempotency_key = request.headers.get("idempotency-key")
    prepared = [
        prepare_record(record, idempotency_key, index) for index, record in enumerate(records)
    ]
    trace = [
        (name, value.encode("latin-1"))
        for name in ("traceparent", "tracestate")
        if (value := request.headers.get(name))
    ]
    return IngestBatch(prepared, trace)


def prepare_record(record: bytes, idempotency_key: str | None, index: int) -> IngestRecord:
    """Return a record with its key, and with its own event id or one of the idempotency key.

    Raises `UsageError` if there is neither.
    """
    fields = _identity_fields(record)
    if fields is None:
        return IngestRecord(None, None, record)
    key = _key(fields)
    if fields.event_id is not None:
        # What is no id is sent as it is, for the processor to refuse. Half a surrogate pair among
        # it could not be written into the answer.
        is_text = isinstance(fields.event_id, str) and fields.event_id.isascii()
        return IngestRecord(fields.event_id if is_text else None, key, record)
    if not idempotency_key:
        raise UsageError(
            f"Record {index} has no event_id, and a retry would store it twice: give each record an"
            " event_id (a UUID), or the request an Idempotency-Key."
        )
    return _add_event_id(record, fields.timestamp, idempotency_key, index, key)


def _identity_fields(record: bytes) -> _IdentityFields | None:
    """Return the identity fields; None if the processor's full decoder refuses the record too."""
    try:
        return msgspec.json.decode(record, type=_IdentityFields)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        wire = decode_any(record.decode())
    except (RefusalError, UnicodeDecodeError):
        return None
    return _IdentityFields(wire.event_id, wire.timestamp, wire.user, wire.order_id)


def _add_event_id(
    record: bytes, timestamp: object, idempotency_key: str, index: int, key: bytes | None
) -> IngestRecord:
    """Return a record with the id of its event time, idempotency key and index in the request."""
    try:
        # Not `isinstance`: for Python `true` is an integer too.
        time = event_fields.timestamp(timestamp if type(timestamp) is int else str(timestamp))
    except RefusalError:
        # Without a time there is no id, but the processor refuses the record: nothing is stored
        # twice.
        return IngestRecord(None, key, record)
    content = idempotency_key.encode("latin-1") + struct.pack(">i", index)
    event_id = derived_id(units.micros_of(time) // 1000, content)
    # The id is put into the bytes, because JSON that is written again may change numbers.
    head, _, _ = record.rpartition(b"}")
    comma = b"" if head.rstrip().endswith(b"{") else b","
    return IngestRecord(event_id, key, b'%s%s"event_id":"%s"}' % (head, comma, event_id.encode()))


def _key(fields: _IdentityFields) -> bytes | None:
    user, order_id = (x if isinstance(x, str) else None for x in (fields.user, fields.order_id))
    try:
        key = record_key(user, order_id)
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can escape, is no text: the processor refuses it.
        return None
    return key if key and len(key) <= MAX_KEY_BYTES else None


def _json_records(body: bytes) -> list[bytes]:
    """Return the record, or those of an array.

    Raises `UsageError` if the body is not JSON, `TooLarge` if an array is too long.
    """
    is_array = body.lstrip()[:1] == b"["
    try:
        if not is_array:
            return [bytes(msgspec.json.decode(body, type=Raw))]
        records = (bytes(record) for record in structs.astuple(_ARRAY.decode(body)))
        return [record for record in records if record]
    except msgspec.ValidationError:
        raise TooLarge(f"The request has over {MAX_RECORDS:,} records; send fewer.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The body is not JSON: {error}. Nothing of it was sent.") from None


def _line_records(body: bytes) -> list[bytes]:
    """Return the lines that are not blank, `MAX_RECORDS` and one at most."""
    # Not `splitlines`, which also cuts at a lone carriage return, and that is white space in JSON.
    lines = (line.removesuffix(b"\n") for line in io.BytesIO(body))
    return list(islice((line for line in lines if line.strip()), MAX_RECORDS + 1))


def _require_sizes(records: Sequence[bytes]) -> None:
    if not records:
        raise UsageError("The request has no record.")
    if len(records) > MAX_RECORDS:
        raise TooLarge(f"The request has over {MAX_RECORDS:,} records; send fewer.")
    for index, record in enumerate(records):
        if len(record) > MAX_VALUE_BYTES:
            raise TooLarge(
                f"Record {index} has {len(record):,} bytes, over {MAX_VALUE_BYTES:,}; nothing of"
                " the request was sent."
            )
