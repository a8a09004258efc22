"""Values written by an Avro schema, made into the JSON that a purchase is read from.

Pure. The schema is foreign: whoever may register one could otherwise end a worker by it. So it is
read by a copy, of those types alone that are known here: one that refers to itself, is too large,
or describes more than it takes bytes, is not read.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from itertools import count
from math import isfinite
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from streaming.events.framing import ValueReader
from streaming.events.purchase import FIELDS, MAX_DEPTH, is_too_deep
from streaming.events.refusal import excerpt
from streaming.units import EPOCH, rfc_3339

MAX_NODES: Final = 3_000
"""Types in a schema, those of a name counted each time: a value of all takes less than a
millisecond."""
NODE_BYTES: Final = 32
"""Of a name, which JSON has again in each element: so many count as another type."""
MAX_NODES_OF_BYTE: Final = 4
"""Of an element of an array or map, for each byte that it takes at least. A value of 256 KiB is
then a million objects at most, and some 30 MiB of JSON."""
MAX_DECIMAL_BYTES: Final = 32
"""More digits than any price has; to write a number takes the square of its digits."""
MAX_BRANCHES: Final = 64
"""Of a union of records: which one it is takes a byte."""

MAX_SCALE: Final = 64
"""Decimals of a number: a schema could name millions, and each would be a zero to write."""
TOO_LARGE: Final = f"has over {MAX_NODES:,} types, or too long names"
BYTES: Final[Mapping[str, int]] = {
    "null": 0,
    "boolean": 1,
    "int": 1,
    "long": 1,
    "float": 4,
    "double": 8,
    "bytes": 1,
    "string": 1,
}
"""Of a value of each primitive type, at least."""
RECORDS: Final = ("record", "error")
"""An error of Avro's protocols is a record."""

Converter = Callable[[Any], Any]
_encode = msgspec.json.Encoder().encode


class UnreadableSchemaError(ValueError):
    """A schema that is not read here; the message says why, as the end of a sentence."""


def avro_reader(texts: Sequence[str]) -> ValueReader:
    """Return the reader of values of the last of `texts`, which refers to those before it.

    It is of a record, or of a union of records. Raises `UnreadableSchemaError` for a schema that is
    none, or that may not be read. Needs fastavro.
    """
    # Imported here: most deployments never see Avro.
    from fastavro import parse_schema

    named: dict[str, Any] = {}
    try:
        # Expanded: a name that is left is that of a type inside of itself.
        *_, parsed = [parse_schema(_load(text), named, expand=True) for text in texts]
        if isinstance(parsed, list):
            return _union_reader([_record_reader(branch) for branch in parsed[: MAX_BRANCHES + 1]])
        return _record_reader(parsed)
    except UnreadableSchemaError:
        raise
    except Exception as error:  # noqa: BLE001 - what is wrong with a foreign schema may be anything
        raise UnreadableSchemaError(f"is no Avro schema: {excerpt(str(error))}") from None


def _load(text: str) -> Any:  # noqa: ANN401 - JSON of any form
    """Read the JSON of a schema, before anything follows its nesting."""
    if is_too_deep(text):
        raise UnreadableSchemaError("is nested too deep")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableSchemaError(f"is no JSON: {excerpt(str(error))}") from None


def _union_reader(branches: Sequence[ValueReader]) -> ValueReader:
    """Return the reader of a topic with several types of event."""
    if not 0 < len(branches) <= MAX_BRANCHES:
        raise UnreadableSchemaError(f"is a union of none, or of over {MAX_BRANCHES} records")

    def read(value: bytes) -> bytes:
        # The number of the branch is doubled; an odd one would be negative.
        branch, odd = divmod(value[0], 2) if value else (0, 1)
        if odd or branch >= len(branches):
            raise ValueError(f"it is of none of the {len(branches)} types")
        return branches[branch](value[1:])

    return read


def _record_reader(schema: Any) -> ValueReader:  # noqa: ANN401 - JSON of any form
    from fastavro import parse_schema, schemaless_reader

    if not isinstance(schema, dict) or schema["type"] not in RECORDS:
        raise UnreadableSchemaError("is no record, and no union of records")
    # We convert the few fields that matter: fastavro's own logical types take twice as long.
    copy = _copy_type(schema, count())
    if copy.nodes > MAX_NODES:
        raise UnreadableSchemaError(TOO_LARGE)
    plain = parse_schema(copy.schema)
    converters = _converters(schema["fields"])

    def read(value: bytes) -> bytes:
        file = BytesIO(value)
        try:
            members: Any = schemaless_reader(file, plain, None)
            for name, of_type in converters:
                convert = of_type.get(type(members[name]))
                if convert is not None:
                    members[name] = convert(members[name])
            text = _encode(members)
        except Exception as error:  # noqa: BLE001 - any bytes come here
            raise ValueError(f"{type(error).__name__} {excerpt(str(error))}") from None
        # A value that is longer than its schema was written by another one.
        if file.tell() != len(value):
            raise ValueError(f"{len(value) - file.tell()} bytes are left over")
        return text

    return read


class _Copy(NamedTuple):
    """A type as it is read, how many types are in one value, and how many bytes it takes at least.

    Long names count as types.
    """

    schema: Any
    nodes: int
    size: int


_Copier = Callable[[Any], _Copy]


def _copy_type(
    schema: Any,  # noqa: ANN401 - JSON of any form
    numbers: Iterator[int],
    depth: int = 0,
) -> _Copy:
    """Copy a type without its logical types. Raises `UnreadableSchemaError` if it may not be read.

    `numbers` counts the types, and gives each a name of its own.
    """
    number = next(numbers)
    # While it is copied: types of a name are expanded, so a few lines can describe exponentially
    # many.
    if number > MAX_NODES:
        raise UnreadableSchemaError(TOO_LARGE)
    if depth > MAX_DEPTH:
        raise UnreadableSchemaError("is nested too deep")
    copied = partial(_copy_type, numbers=numbers, depth=depth + 1)
    if isinstance(schema, list):
        return _union(list(map(copied, schema)))
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in RECORDS:
        return _record(schema, f"T{number}", copied)
    if kind in {"array", "map"}:
        return _collection(schema, kind, copied)
    if kind in {"enum", "fixed"}:
        return _enum_or_fixed(schema, kind, f"T{number}")
    if kind not in BYTES:
        raise UnreadableSchemaError(f"refers to itself in {excerpt(kind)}")
    return _Copy(kind, 1, BYTES[kind])


def _union(branches: Sequence[_Copy]) -> _Copy:
    if not branches:
        raise UnreadableSchemaError("has a union of no types")
    # A value may be of the branch with the most objects, or of the one with the fewest bytes.
    nodes, size = max(of.nodes for of in branches), min(of.size for of in branches)
    return _Copy([of.schema for of in branches], 1 + nodes, 1 + size)


def _record(schema: Mapping[str, Any], name: str, copied: _Copier) -> _Copy:
    fields = {field["name"]: copied(field["type"]) for field in schema["fields"]}
    if len(fields) < len(schema["fields"]):
        raise UnreadableSchemaError("has a record with two fields of one name")
    members = [{"name": field, "type": of.schema} for field, of in fields.items()]
    nodes = 1 + sum(of.nodes + _nodes_of_name(field) for field, of in fields.items())
    size = sum(of.size for of in fields.values())
    return _Copy({"type": "record", "name": name, "fields": members}, nodes, size)


def _collection(schema: Mapping[str, Any], kind: str, copied: _Copier) -> _Copy:
    inner = "items" if kind == "array" else "values"
    of = copied(schema[inner])
    # A key of a map takes a byte at least.
    if of.nodes > MAX_NODES_OF_BYTE * (of.size + (kind == "map")):
        raise UnreadableSchemaError(
            f"has an {kind} of elements that take too few bytes for their types and names"
        )
    return _Copy({"type": kind, inner: of.schema}, 1 + of.nodes, 1)


def _enum_or_fixed(schema: Mapping[str, Any], kind: str, name: str) -> _Copy:
    if kind == "enum":
        symbols = schema["symbols"]
        nodes = 1 + max(map(_nodes_of_name, symbols), default=0)
        return _Copy({"type": kind, "name": name, "symbols": symbols}, nodes, 1)
    size = schema["size"]
    if not isinstance(size, int) or size < 0:
        raise UnreadableSchemaError(f"has a type of {excerpt(size)} bytes")
    return _Copy({"type": kind, "name": name, "size": size}, 1, size)


def _nodes_of_name(name: str) -> int:
    """Return as how many types a name counts. Raises `TypeError` if it is no text."""
    return len(_encode("" + name)) // NODE_BYTES


def _converters(fields: Sequence[Any]) -> list[tuple[str, Mapping[type, Converter]]]:
    """Return for each field of a purchase how a value of each Python type becomes JSON.

    Raises `UnreadableSchemaError` for a union of which the value does not say what it is.
    """
    converters: list[tuple[str, Mapping[type, Converter]]] = []
    for name, kind in ((field["name"], field["type"]) for field in fields):
        if name not in FIELDS:
            continue
        of_type: dict[type, Converter] = {}
        for branch in kind if isinstance(kind, list) else [kind]:
            python_type, convert = _converter(branch)
            if of_type.setdefault(python_type, convert) is not convert:
                raise UnreadableSchemaError(f"has a union in {name} of two types that look alike")
        converters.append((name, {t: c for t, c in of_type.items() if c is not _as_it_is}))
    return converters


def _converter(schema: Any) -> tuple[type, Converter]:  # noqa: ANN401 - JSON of any form
    """Return the Python type of a type's values, and how they become JSON."""
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = None if isinstance(schema, str) else schema.get("logicalType")
    if kind in {"int", "long"}:
        return int, TIMES.get(logical, _as_it_is)
    if kind in {"float", "double"}:
        return float, _number_or_text
    if kind in {"bytes", "fixed"}:
        if logical == "decimal":
            return bytes, partial(_decimal, int(schema.get("scale", 0)))
        return bytes, _uuid if logical == "uuid" else _byte_count
    return object, _as_it_is


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - of any type
    return value


def _number_or_text(value: float) -> float | str:
    """Return a number, but NaN and infinity as text, which JSON would otherwise have as null."""
    return value if isfinite(value) else str(value)


def _byte_count(value: bytes) -> dict[str, int]:
    """Return what no field of a purchase takes: bytes as text would be taken for a name."""
    return {"bytes": len(value)}


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


def _decimal(scale: int, value: bytes) -> str:
    """Return a decimal as its exact text, without zeros at its end."""
    if not 0 < len(value) <= MAX_DECIMAL_BYTES or not 0 <= scale <= MAX_SCALE:
        return f"a decimal of {len(value)} bytes"
    # Made of text: what is computed with decimals has 28 digits at most.
    text = f"{Decimal(f'{int.from_bytes(value, signed=True)}e-{scale}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _millis(value: int) -> str:
    return _time(value * 1000)


def _nanos(value: int) -> str:
    return _time(value // 1000)


def _time(micros: int) -> str:
    """Return a time as RFC 3339; as the number's text, which no rule accepts, if it is none."""
    try:
        return rfc_3339(EPOCH + timedelta(microseconds=micros))
    except OverflowError:
        return str(micros)


def _day(days: int) -> str:
    return _time(days * 86_400_000_000)[:10]


TIMES: Final[Mapping[str | None, Converter]] = {
    "timestamp-millis": _millis,
    "timestamp-micros": _time,
    "timestamp-nanos": _nanos,
    # Without an offset these are no moments, and the rules say so.
    "local-timestamp-millis": lambda value: _millis(value).removesuffix("Z"),
    "local-timestamp-micros": lambda value: _time(value).removesuffix("Z"),
    "local-timestamp-nanos": lambda value: _nanos(value).removesuffix("Z"),
    "date": _day,
}
"""Of a whole number with such a logical type: what its text is."""
