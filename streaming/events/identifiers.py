"""Identifiers of records: topic ids and event ids as text and bytes, and keys; pure."""

import base64
import hashlib
from binascii import unhexlify
from typing import Final

from streaming.events.refusal import excerpt

_HEX_AS_ZERO: Final = bytes.maketrans(b"0123456789abcdef", b"0" * 16)
_UUID_SHAPE: Final = b"00000000-0000-0000-0000-000000000000"
_UUID_BYTES: Final = 16


def topic_id_text(topic_id: bytes) -> str:
    """Write a topic id as Kafka's tools do: URL-safe base64 without padding, 22 characters."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def topic_id_bytes(text: str) -> bytes:
    """Read a topic id of 22 characters. Raises `ValueError` for any other text."""
    topic_id = base64.b64decode(f"{text}==", altchars=b"-_", validate=True)
    # 22 characters hold 4 bits more than 16 bytes: only one of the texts is the id's.
    if topic_id_text(topic_id) != text or len(topic_id) != 16:
        raise ValueError(f"{excerpt(text)} is no topic id")
    return topic_id


def derived_id(milliseconds: int, content: bytes) -> str:
    """Derive an event id: UUIDv8 of 48 bits of milliseconds and the leading 74 bits of a SHA-256.

    So ids sort by time, and the same content at the same time always has the same id.
    """
    # 80 bits, of which 74 fit beside the version and the variant.
    digest = int.from_bytes(hashlib.sha256(content).digest()[:10], "big") >> 6
    # A record's own time may be any number of 64 bits, and UUIDv8 has room for 48.
    time = min(max(milliseconds, 0), 2**48 - 1)
    number = time << 80 | 0x8 << 76 | (digest >> 62) << 64 | 0b10 << 62 | digest & (2**62 - 1)
    return _insert_hyphens(f"{number:032x}")


def has_uuid_form(text: bytes) -> bool:
    """Return whether the text is a UUID in its hyphenated form and lower case."""
    # A translation table takes half as long as a regular expression, and this runs for each event.
    return text.translate(_HEX_AS_ZERO) == _UUID_SHAPE


def pack_event_id(event_id: str) -> bytes:
    """Return an event id as it is stored: 16 bytes for a UUID in lower case, else its UTF-8.

    An event id has 36 characters, so only a UUID has 16 bytes, and `event_id_text` returns exactly
    what was packed.
    """
    text = event_id.encode()
    return unhexlify(text.replace(b"-", b"")) if has_uuid_form(text) else text


def event_id_text(packed: bytes) -> str:
    """Return the event id that `pack_event_id` packed."""
    return _insert_hyphens(packed.hex()) if len(packed) == _UUID_BYTES else packed.decode()


def _insert_hyphens(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def record_key(user: str | None, order_id: str | None) -> bytes | None:
    """Return the key by which purchases are partitioned: the user; a guest's order; else none."""
    name = user or order_id
    return name.encode() if name else None
