"""The schemas of our topics, made from their contracts, in three forms.

Pure. Registering and comparing them is in `kafka.registry`. Schemas of others, by which framed
values are read, are in `framing` and `avro`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Struct, inspect

from streaming.events.analytics import AnalyticsEvent
from streaming.events.purchase import PurchaseFields

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""Not every registry can compare a newer one, and nothing of it is needed."""
NAMESPACE: Final = "purchases"

CONTRACTS: Final[Mapping[str, type[Struct]]] = {
    "purchases": PurchaseFields,
    "analytics": AnalyticsEvent,
}
"""By topic, without a namespace."""
NAMES: Final = {"purchases": "Purchase", "analytics": "AnalyticsEvent"}
CLOSED: Final = frozenset({"analytics"})
"""Topics whose schema has all fields there are. Of a closed one a new optional field is compatible;
`purchases` is open, because its unknown fields are ignored."""
AVRO_TYPES: Final = {
    inspect.StrType: "string",
    inspect.IntType: "long",
    inspect.FloatType: "double",
    inspect.NoneType: "null",
}
CONNECT_TYPES: Final = {"string": "string", "long": "int64", "double": "double"}


def json_schema(topic: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a topic's values."""
    reference = msgspec.json.schema(CONTRACTS[topic])
    # It refers to nothing else, and some tools know no references.
    schema: dict[str, Any] = reference["$defs"][CONTRACTS[topic].__name__]
    if topic in CLOSED:
        schema["additionalProperties"] = False
    return {"$schema": DIALECT, **schema, "title": NAMES[topic]}


def avro_schema(topic: str) -> dict[str, Any]:
    """Return an Avro schema of a topic's values; a field that may be of several types is a union.

    What is optional is null by default.
    """
    fields = []
    for field in _fields(topic):
        types = _avro_types(field.type)
        entry: dict[str, Any] = {"name": field.name, "type": types if types[1:] else types[0]}
        if not field.required:
            entry["default"] = None
        fields.append(entry)
    return {"type": "record", "name": NAMES[topic], "namespace": NAMESPACE, "fields": fields}


def connect_schema(topic: str) -> dict[str, Any]:
    """Return Connect's schema of a topic's values, as `schema.content` of its converter takes it.

    Connect has no unions: of a field that may be of several types it is the first, which is text.
    """
    fields = []
    for field in _fields(topic):
        types = _avro_types(field.type)
        kind = next(CONNECT_TYPES[name] for name in types if name != "null")
        optional = "null" in types or not field.required
        fields.append({"field": field.name, "type": kind, "optional": optional})
    return {"type": "struct", "fields": fields}


FORMATS: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "json-schema": json_schema,
    "connect": connect_schema,
    "avro": avro_schema,
}


def _fields(topic: str) -> tuple[inspect.Field, ...]:
    described = cast("inspect.StructType", inspect.type_info(CONTRACTS[topic]))
    return described.fields


def _avro_types(described: inspect.Type) -> list[str]:
    """Return the names of the Avro types of a field, null first."""
    if isinstance(described, inspect.LiteralType):
        return ["string" if isinstance(described.values[0], str) else "long"]
    parts = described.types if isinstance(described, inspect.UnionType) else (described,)
    names = [AVRO_TYPES[type(part)] for part in parts]
    return sorted(names, key=lambda name: name != "null")
