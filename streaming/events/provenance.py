"""Where the purchase stood that a published record was made of, an event or a dead letter.

Only that; what the record says of the purchase is read by `analytics` and `dead_letter`.
"""

import msgspec
from msgspec import Struct

from streaming.events.record import DEAD_LETTER, Headers, read_origin
from streaming.events.refusal import Refused


class _Source(Struct):
    source_partition: int
    source_offset: int


_decode = msgspec.json.Decoder(_Source).decode


def source_of(value: bytes | None, headers: Headers) -> tuple[int, int] | None:
    """Give the partition and offset of the purchase; None of a record that others wrote."""
    try:
        if any(name.startswith(DEAD_LETTER) for name, _ in headers):
            origin = read_origin(headers, DEAD_LETTER)
            return origin.partition, origin.offset
        source = _decode(value or b"")
    except (Refused, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return source.source_partition, source.source_offset
