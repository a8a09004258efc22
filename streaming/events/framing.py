"""Framings of a schema registry: how a value says which schema it was written by.

Pure. Which schemas are known is the caller's matter: `kafka.registry` looks them up, and `avro`
reads by them. Without a registry a framed value is refused with its schema's id, before its bytes
are taken for a text.
"""

import codecs
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from streaming.events.record import MAX_VALUE_BYTES, Headers, Record
from streaming.events.refusal import Reason, Refusal, excerpt

VALUE_SCHEMA: Final = "__value_schema_id"
KEY_SCHEMA: Final = "__key_schema_id"
_BY_NUMBER, _BY_GUID = 0, 1
_NUMBER_LENGTH, _GUID_LENGTH = 5, 17

SchemaId = int | UUID
"""A registry counts its schemas, and newer ones give each a GUID too."""
ValueReader = Callable[[bytes], bytes]
"""Makes the JSON of a value without its frame; raises `ValueError` if it is not of the schema."""
SchemaReaders = Mapping[SchemaId, ValueReader | Refusal]
"""The schemas that were looked up: how their values are read, or why they are not."""


class Framing(Struct, frozen=True):
    """Where a record names a schema, as text too; what is framed begins at `start` of the value.

    `schema` is None if the id is unreadable, or if it is that of the key (`of_key`).
    """

    schema: SchemaId | None
    text: str
    start: int = 0
    of_key: bool = False


def read_framing(record: Record) -> Framing | None:
    """Return the framing of a record; None without one."""
    value, names = record.value or b"", dict(record.headers)
    # Before magic byte 0: the value that comes with a header may begin with any byte.
    if VALUE_SCHEMA in names:
        marked = names[VALUE_SCHEMA]
        return Framing(_schema_id(marked), f"header {VALUE_SCHEMA}, {_schema(marked)}")
    if value[:1] == b"\0" and len(value) >= _NUMBER_LENGTH:
        marked = value[:_NUMBER_LENGTH]
        return Framing(_schema_id(marked), f"magic byte 0, {_schema(marked)}", _NUMBER_LENGTH)
    # In the plain form the key is the user.
    if KEY_SCHEMA in names:
        return Framing(None, f"header {KEY_SCHEMA}, {_schema(names[KEY_SCHEMA])}", of_key=True)
    return None


def unframe(record: Record, schemas: SchemaReaders | None) -> Record | Refusal:
    """Return the record with its value as JSON, without frame and headers of schema ids.

    A record that is not framed stays as it is. `schemas` is None without a registry: then only JSON
    objects that come with a header are read.
    """
    value = record.value
    # A value that is too large is refused unread, so it is not decoded first.
    if not value or (value[0] and not record.headers) or len(value) > MAX_VALUE_BYTES:
        return record
    framing = read_framing(record)
    if framing is None:
        return record
    plain = _plain_value(value, framing, schemas)
    if isinstance(plain, Refusal):
        return plain
    return structs.replace(record, value=plain, headers=without_schema_ids(record.headers))


def without_schema_ids(headers: Headers) -> Headers:
    """Return the headers without those of a schema's id, which say nothing of another value."""
    return [header for header in headers if header[0] not in {VALUE_SCHEMA, KEY_SCHEMA}]


def read_json_value(value: bytes) -> bytes:
    """Return a value of a JSON Schema, which is JSON already; a `ValueReader`.

    It is not validated: the rules of a purchase decide. Raises `ValueError` for no JSON object,
    which would be taken for the plain form.
    """
    if not _begins_object(value):
        raise ValueError("it is no JSON object")
    return value


def _plain_value(value: bytes, framing: Framing, schemas: SchemaReaders | None) -> bytes | Refusal:
    """Return the JSON of a framed value, or why there is none."""
    schema = None
    if schemas is not None and framing.schema is not None:
        schema = schemas.get(framing.schema)
    if schema is not None and not isinstance(schema, Refusal):
        try:
            return schema(value[framing.start :])
        except ValueError as error:
            detail = f"the value is not of its schema ({framing.text}): {error}"
            return Refusal(Reason.SCHEMA_MISMATCH, detail)
    # Serializers of JSON Schema send plain JSON objects with a header, which say what they are.
    if not framing.start and _begins_object(value):
        return value
    if schemas is None or framing.of_key:
        remedy = "send it as JSON without"
        if not framing.of_key:
            remedy = f"set PURCHASES_SCHEMA_REGISTRY_URL, or {remedy}"
        detail = f"the value is framed for a schema registry ({framing.text}); {remedy}"
        return Refusal(Reason.MALFORMED_JSON, detail)
    if framing.schema is None:
        return Refusal(Reason.UNKNOWN_SCHEMA, f"the record names no schema: {framing.text}")
    return schema or Refusal(
        Reason.UNKNOWN_SCHEMA,
        f"the schema registry was not asked for {framing.text}, because too many unknown ids came;"
        " redrive it",
    )


def _begins_object(value: bytes) -> bool:
    return value.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def _schema_id(marked: bytes | None) -> SchemaId | None:
    """Read a magic byte and an id; None if it is neither a number nor a GUID."""
    if marked and marked[0] == _BY_NUMBER and len(marked) == _NUMBER_LENGTH:
        return int.from_bytes(marked[1:])
    if marked and marked[0] == _BY_GUID and len(marked) == _GUID_LENGTH:
        return UUID(bytes=marked[1:])
    return None


def _schema(marked: bytes | None) -> str:
    """Return the schema that a magic byte and an id name, as text."""
    schema = _schema_id(marked)
    return f"schema id {excerpt(marked) if schema is None else schema}"
