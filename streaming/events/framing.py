"""Framings of a schema registry: how a value says which schema it was written by.

Pure. A framed value is only recognised here, because no registry is asked: so it is refused with
its schema's id, before its bytes are taken for a text.
"""

import codecs
import uuid
from typing import Final

from streaming.events.record import Headers
from streaming.events.refusal import excerpt

SCHEMA_ID_HEADERS: Final = ("__value_schema_id", "__key_schema_id")
"""A key counts too: in the plain form it is the user."""
_BY_NUMBER, _BY_GUID = 0, 1
_NUMBER_LENGTH, _GUID_LENGTH = 5, 17


def read_framing(value: bytes, headers: Headers) -> str | None:
    """Return the framing of a value (never empty) and the id of its schema; None without one.

    A value after magic byte 0 and four bytes of id is framed. So is one that comes with a header of
    `SCHEMA_ID_HEADERS`, unless it begins as a JSON object does, which says itself what it is.
    """
    if value[0] == _BY_NUMBER and len(value) >= _NUMBER_LENGTH:
        return f"magic byte 0, {_schema(value[:_NUMBER_LENGTH])}"
    # Serializers of JSON Schema send plain JSON objects with such a header.
    if headers and not value.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        for name, content in headers:
            if name in SCHEMA_ID_HEADERS:
                return f"header {name}, {_schema(content)}"
    return None


def _schema(marked: bytes | None) -> str:
    """Return the schema that a magic byte and an id name."""
    if marked and marked[0] == _BY_NUMBER and len(marked) == _NUMBER_LENGTH:
        return f"schema id {int.from_bytes(marked[1:])}"
    if marked and marked[0] == _BY_GUID and len(marked) == _GUID_LENGTH:
        return f"schema id {uuid.UUID(bytes=marked[1:])}"
    return f"schema id {excerpt(marked)}"
