"""Identifiers of records: topic ids as text and bytes, derived event ids, and keys; pure."""

import base64
import hashlib

from streaming.events.refusal import excerpt


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
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def record_key(user: str | None, order_id: str | None) -> bytes | None:
    """Return the key by which purchases are partitioned: the user; a guest's order; else none."""
    name = user or order_id
    return name.encode() if name else None
