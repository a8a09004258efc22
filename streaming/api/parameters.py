"""Parameters of a request, from its path, query or body, as the record of an endpoint.

What is done with them is in `endpoint`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request

from streaming.errors import UsageError
from streaming.events.refusal import excerpt

REMEDIES: Final = {
    "Invalid RFC3339 encoded date": "write a date such as 2026-11-29",
    "Expected `int`, got `str`": "write a whole number",
}
"""What to do about a fault, by msgspec's words for it."""


def parse_body(kind: type[Struct], body: bytes) -> Struct:
    """Return a body, which may be empty, as a record.

    Raises `UsageError` if it does not fit the record, or has a NUL character.
    """
    try:
        record = msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"The body does not fit this endpoint: {error}.") from None
    return _require_no_nul(record)


def parse_parameters(kind: type[Struct], request: Request) -> Struct:
    """Return the parameters of path and query as a record.

    Raises `UsageError` if one is unknown, missing, given twice, of another type, or has a NUL.
    """
    values: dict[str, Any] = dict(request.path_params)
    lists = {f.encode_name for f in msgspec.structs.fields(kind) if _is_list(f.type)}
    for name, value in request.query_params.multi_items():
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise UsageError(f"The parameter {name} is given twice.")
        else:
            values[name] = value
    try:
        # Of a query everything is text, so numbers are read from it.
        record = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(_wrong_parameter(kind, values, str(error))) from None
    return _require_no_nul(record)


def _require_no_nul(record: Struct) -> Struct:
    """Return the record. PostgreSQL takes no text with a NUL, and no stored one has it."""
    for name, value in msgspec.structs.asdict(record).items():
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise UsageError(f"The parameter {name} has a NUL character, which no stored text has.")
    return record


def _wrong_parameter(kind: type[Struct], values: Mapping[str, Any], error: str) -> str:
    """Return what is wrong with one of the parameters, by name and value if msgspec says where."""
    fault, _, position = error.partition(" - at `$.")
    name = position.rstrip("`")
    if name not in values:
        return f"The parameters do not fit this endpoint: {error}."
    definition = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"][name]
    choices = ", ".join(map(str, definition.get("enum", ())))
    remedy = f"use one of {choices}" if choices else REMEDIES.get(fault, fault)
    return f"The parameter {name} is {excerpt(values[name])}: {remedy}."


def _is_list(kind: object) -> bool:
    return getattr(kind, "__origin__", None) in {list, tuple}
