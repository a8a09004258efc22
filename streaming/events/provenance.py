"""The provenance of a published record: which purchase's record it was made of.

Pure. What else an event or a dead letter says is read by `analytics` and `dead_letter`.
"""

import msgspec
from msgspec import Struct

from streaming.events.record import DEAD_LETTER, Headers, TopicPartition, read_origin
from streaming.events.refusal import RefusalError


class _Provenance(Struct):
    source_topic: str
    source_partition: int
    source_offset: int


_decode = msgspec.json.Decoder(_Provenance).decode


def read_provenance(value: bytes | None, headers: Headers) -> tuple[TopicPartition, int] | None:
    """Return the purchase's topic partition and offset; None for a record that others wrote."""
    try:
        # Only a dead letter has these headers: the processor leaves them out of what it publishes.
        if any(name.startswith(DEAD_LETTER) for name, _ in headers):
            origin = read_origin(headers, DEAD_LETTER)
            return (origin.topic, origin.partition), origin.offset
        provenance = _decode(value or b"")
    except (RefusalError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (provenance.source_topic, provenance.source_partition), provenance.source_offset
