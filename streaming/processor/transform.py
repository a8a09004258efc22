"""The processor's pure middle: a record of a purchase in, the record to publish out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from streaming.events.analytics import encode_analytics, enrich
from streaming.events.dead_letter import dead_letter
from streaming.events.fast_path import read_event_fast
from streaming.events.framing import unframe
from streaming.events.identifiers import record_key
from streaming.events.purchase import Rules, read_unframed
from streaming.events.record import (
    MAX_HEADERS,
    ORIGIN,
    ORIGIN_HEADERS,
    Record,
    forwarded_headers,
    may_have,
)
from streaming.events.refusal import Reason, Refusal
from streaming.events.unknown_fields import list_unknown_fields

MAX_CARRIED_BYTES: Final = 512 * 1024
"""With a value of at most 256 KiB this stays below the 1 MiB that a topic takes by default."""


class Output(Struct, frozen=True, gc=False):
    """What a record became: a value for `analytics`, or a dead letter with its `reason`.

    Of an accepted purchase it says whether the price is unknown, and the names of unknown fields.
    """

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    reason: Reason | None = None
    without_price: bool = False
    unknown_fields: Sequence[str] = ()


@dataclass
class BatchSummary:
    """What a batch's records became: the refused ones, and what is odd about the others."""

    refused: list[Output] = field(default_factory=list)
    without_price: int = 0
    unknown_fields: Counter[str] = field(default_factory=Counter)


def transform(record: Record, rules: Rules, processed_at: str, dead_letter_bytes: int) -> Output:
    """Validate and enrich one record, or make its dead letter of at most `dead_letter_bytes`.

    `processed_at` is RFC 3339. Nothing is raised: any record becomes one or the other.
    """
    key, value = record.key, record.value
    # A framing is a first byte of 0, or a header. Nearly every record has neither.
    is_plain = value and value[0] and not record.headers
    unframed = record if is_plain else unframe(record, rules.schemas)
    plain = record if isinstance(unframed, Refusal) else unframed
    fast = read_event_fast(plain, rules, processed_at)
    # Only the key can be too large to be carried here: the fast path takes no headers.
    if fast is not None and (key is None or len(key) <= MAX_CARRIED_BYTES):
        event, unknown = fast
        return Output(
            record_key(event.user, event.order_id) or key,
            encode_analytics(event),
            (),
            None,
            event.unit_price_micros is None,
            unknown,
        )
    # The fast path has no headers and refuses nothing, so all refusals come from here.
    origin, verdict = read_unframed(record, unframed, rules)
    headers = record.headers
    if headers or len(key or b"") > MAX_CARRIED_BYTES:
        # Over any verdict on the value: repairing that would not make the record fit.
        verdict = _too_much_carried(record) or verdict
    if isinstance(verdict, Refusal):
        refused_record = dead_letter(record, origin, verdict, dead_letter_bytes)
        return Output(
            refused_record.key, refused_record.value, refused_record.headers, verdict.reason
        )
    return Output(
        # By customer, whatever the sender keyed by: a customer's events keep their order.
        key=record_key(verdict.user, verdict.order_id) or key,
        value=encode_analytics(enrich(verdict, record, processed_at)),
        headers=forwarded_headers(plain.headers) if plain.headers else plain.headers,
        without_price=verdict.unit_price_micros is None,
        unknown_fields=list_unknown_fields(plain.value or b""),
    )


def _too_much_carried(record: Record) -> Refusal | None:
    """Return the refusal of headers and key that are too many or too large to be passed on."""
    count = carried_headers(record)
    if count > MAX_HEADERS:
        return Refusal(Reason.TOO_LARGE, f"the record has {count} headers, over {MAX_HEADERS}")
    if carried_bytes(record) > MAX_CARRIED_BYTES:
        return Refusal(Reason.TOO_LARGE, f"headers and key are over {MAX_CARRIED_BYTES} bytes")
    return None


def carried_headers(record: Record) -> int:
    """Return the number of headers that are the sender's; a redrive adds six of its own."""
    if not may_have(ORIGIN, record.headers):
        return len(record.headers)
    origins = sum(name.startswith(ORIGIN) for name, _ in record.headers)
    # Six at most: of more, somebody else wrote the others.
    return len(record.headers) - min(origins, ORIGIN_HEADERS)


def carried_bytes(record: Record) -> int:
    """Return the bytes of key and headers, which are passed on to `analytics` as they are."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + headers
