"""Values written by an Avro schema, made into the JSON that a purchase is read from.

Pure. The schema is foreign: whoever may register one could otherwise end a worker by it. So one
that refers to itself, is too large, or describes more values than it takes bytes, is not read.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from math import isfinite
from typing import Any, Final
from uuid import UUID

import msgspec

from streaming.events.framing import ValueReader
from streaming.events.purchase import FIELDS, is_too_deep
from streaming.events.refusal import excerpt
from streaming.units import EPOCH, rfc_3339

MAX_NODES: Final = 2_000
"""Types in a schema, those of a name counted each time: a value of all takes less than a
millisecond."""
MAX_NODES_OF_BYTE: Final = 4
"""Of an element of an array or map, for each byte that it takes at least. A value of 256 KiB is
then a million objects at most."""
MAX_DECIMAL_BYTES: Final = 32
"""More digits than any price has; to write a number takes the square of its digits."""

MAX_SCALE: Final = 64

Converter = Callable[[Any], Any]
_encode = msgspec.json.Encoder().encode


class UnreadableSchemaError(ValueError):
    """A schema that is not read here; the message says why, as the end of a sentence."""


def avro_reader(texts: Sequence[str]) -> ValueReader:
    """Return the reader of values of the last of `texts`, which refers to those before it.

    Raises `UnreadableSchemaError` for a schema that is none, or that may not be read. Needs
    fastavro.
    """
    # Imported here: most deployments never see Avro.
    from fastavro import parse_schema, schemaless_reader

    schemas = [_load(text) for text in texts]
    named: dict[str, Any] = {}
    plain_named: dict[str, Any] = {}
    try:
        *_, parsed = [parse_schema(schema, named) for schema in schemas]
        # We convert the few fields that matter: fastavro's own logical types take twice as long.
        *_, plain = [parse_schema(_without_logical(schema), plain_named) for schema in schemas]
    except Exception as error:  # noqa: BLE001 - what is wrong with a foreign schema may be anything
        raise UnreadableSchemaError(f"is no Avro schema: {excerpt(str(error))}") from None
    if _Size(named).of(parsed)[0] > MAX_NODES:
        raise UnreadableSchemaError(f"has over {MAX_NODES:,} types")
    converters = _converters(parsed, named)

    def read(value: bytes) -> bytes:
        file = BytesIO(value)
        try:
            found: Any = schemaless_reader(file, plain, None)
        except Exception as error:  # noqa: BLE001 - any bytes come here
            raise ValueError(f"{type(error).__name__} {excerpt(str(error))}") from None
        if file.tell() != len(value):
            raise ValueError(f"{len(value) - file.tell()} bytes are left over")
        for name, of_type in converters:
            convert = of_type.get(type(found[name]))
            if convert is not None:
                found[name] = convert(found[name])
        try:
            return _encode(found)
        except RecursionError:
            raise ValueError("it is nested too deep") from None

    return read


def _load(text: str) -> Any:  # noqa: ANN401 - JSON of any form
    """Read the JSON of a schema, before anything follows its nesting."""
    if is_too_deep(text):
        raise UnreadableSchemaError("is nested too deep")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableSchemaError(f"is no JSON: {excerpt(str(error))}") from None


def _without_logical(schema: Any) -> Any:  # noqa: ANN401 - JSON of any form
    if isinstance(schema, list):
        return list(map(_without_logical, schema))
    if isinstance(schema, dict):
        return {n: _without_logical(s) for n, s in schema.items() if n != "logicalType"}
    return schema


class _Size:
    """The size of types: how many there are in one value, and how many bytes it takes at least."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, tuple[int, int] | None] = {}

    def of(self, schema: Any) -> tuple[int, int]:  # noqa: ANN401 - JSON of any form
        """Return both. Raises `UnreadableSchemaError` for a type that may not be read."""
        if isinstance(schema, str):
            return self._of_name(schema)
        if isinstance(schema, list):
            sizes = list(map(self.of, schema))
            return 1 + max(n for n, _ in sizes), 1 + min(b for _, b in sizes)
        kind = schema["type"]
        if kind in {"array", "map"}:
            nodes, size = self.of(schema["items" if kind == "array" else "values"])
            # A key of a map takes a byte at least.
            size += kind == "map"
            if nodes > MAX_NODES_OF_BYTE * size:
                raise UnreadableSchemaError(f"has an {kind} of elements that take too few bytes")
            return 1 + nodes, 1
        if kind == "record":
            return self._of_record(schema)
        if kind == "fixed":
            return 1, int(schema["size"])
        return (1, 1) if kind == "enum" else self.of(kind)

    def _of_name(self, name: str) -> tuple[int, int]:
        if name not in self._named:
            return 1, 0 if name == "null" else 1
        if name not in self._known:
            return self.of(self._named[name])
        size = self._known[name]
        if size is None:
            raise UnreadableSchemaError(f"refers to itself in {excerpt(name)}")
        return size

    def _of_record(self, schema: Mapping[str, Any]) -> tuple[int, int]:
        name = str(schema["name"])
        # None while it is looked at: who meets it then is inside of it.
        self._known[name] = None
        sizes = [self.of(field["type"]) for field in schema["fields"]]
        nodes = 1 + sum(n for n, _ in sizes)
        self._known[name] = size = nodes, sum(b for _, b in sizes)
        return size


def _converters(
    schema: Any,  # noqa: ANN401 - JSON of any form
    named: Mapping[str, Any],
) -> list[tuple[str, Mapping[type, Converter]]]:
    """Return for each field of a purchase how a value of each Python type becomes JSON.

    Raises `UnreadableSchemaError` for a union of which the value does not say what it is.
    """
    converters: list[tuple[str, Mapping[type, Converter]]] = []
    fields = schema["fields"] if isinstance(schema, dict) and "fields" in schema else ()
    for name, kind in ((field["name"], field["type"]) for field in fields):
        if name not in FIELDS:
            continue
        of_type: dict[type, Converter] = {}
        for branch in kind if isinstance(kind, list) else [kind]:
            resolved = named.get(branch, branch) if isinstance(branch, str) else branch
            python_type, convert = _converter(resolved)
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
        return float, _finite
    if kind in {"bytes", "fixed"}:
        if logical == "decimal":
            return bytes, partial(_decimal, int(schema.get("scale", 0)))
        return bytes, _uuid if logical == "uuid" else _described
    return object, _as_it_is


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - of any type
    return value


def _finite(value: float) -> float | str:
    """Return a number, but NaN and infinity as text, which JSON would otherwise have as null."""
    return value if isfinite(value) else str(value)


def _described(value: bytes) -> dict[str, int]:
    """Return what no field of a purchase takes: bytes as text would be taken for a name."""
    return {"bytes": len(value)}


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


def _decimal(scale: int, value: bytes) -> str:
    """Return a decimal as text, without zeros at its end."""
    if len(value) > MAX_DECIMAL_BYTES or not 0 <= scale <= MAX_SCALE:
        return f"a decimal of {len(value)} bytes"
    text = f"{Decimal(int.from_bytes(value, signed=True)).scaleb(-scale):f}"
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
