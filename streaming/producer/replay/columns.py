"""What gives the fields of a purchase: columns of the same name, Online Retail's, or `--map`.

Pure, and of names only; what is in the columns is read in `recording`.
"""

import csv
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from streaming.errors import UsageError
from streaming.events.purchase import FIELDS, REQUIRED

# A replay derives the event id from the row, so that it has the same one each time.
COLUMN_FIELDS: Final = tuple(field for field in FIELDS if field != "event_id")
LINE_TOTAL: Final = "line_total"
"""No field of a purchase: divided by the quantity it is `unit_price`."""
MAPPED: Final = (*COLUMN_FIELDS, LINE_TOTAL)
JOIN: Final = "+"
ONLINE_RETAIL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "user": "CustomerID",
        "item": "StockCode",
        "timestamp": "InvoiceDate",
        "quantity": "Quantity",
        "unit_price": "UnitPrice",
        "order_id": "InvoiceNo",
        "description": "Description",
        "country": "Country",
    }
)


class Constant(NamedTuple):
    """The value of a field in every row."""

    value: str

    def __str__(self) -> str:
        return f"{self.value!r} in every row"


class Columns(NamedTuple):
    """Columns of a file, whose texts make a field: one, or several with a blank between."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return JOIN.join(self.names)


Source = Columns | Constant


def read_mapping(options: Sequence[str]) -> dict[str, str | Constant]:
    """Read `field=column` and `field:=value`; an empty column leaves the field out.

    Raises `UsageError` for another form, an unknown field or a field that is named twice.
    """
    mapping: dict[str, str | Constant] = {}
    for option in options:
        name, separator, column = option.partition("=")
        field = name.removesuffix(":")
        if not separator:
            raise UsageError(
                f"--map {option}: write it as field=column, such as user=CustomerID, or as"
                " field:=value for all rows."
            )
        if field not in MAPPED:
            hint = " (--id names the columns that it is made of)" if field == "event_id" else ""
            raise UsageError(
                f"--map {option}: {field!r} is not a field that can be mapped{hint};"
                f" the fields are {', '.join(MAPPED)}."
            )
        if field in mapping:
            raise UsageError(f"--map {option}: {field} is mapped twice.")
        # Without customers every purchase is a guest's.
        if field in REQUIRED and field != "user" and not column:
            raise UsageError(f"--map {option}: {field} cannot be left out; name its column.")
        mapping[field] = Constant(column) if name != field and column else column
    if mapping.get(LINE_TOTAL) and mapping.get("unit_price"):
        raise UsageError(f"--map {LINE_TOTAL}: it gives unit_price, which is mapped too; map one.")
    return mapping


def read_id_columns(option: str | None) -> list[str]:
    """Read `COLUMN[,COLUMN]`; a name that holds a comma is quoted as in CSV.

    Raises `UsageError` for an empty name.
    """
    if option is None:
        return []
    columns = next(csv.reader([option]), [])
    if not columns or not all(columns):
        raise UsageError(f"--id {option}: name a column, or several with a comma between.")
    return columns


def require_columns(columns: Sequence[str], there: Sequence[str], name: str) -> None:
    """Raise `UsageError` if a file `name` lacks one of the columns of `--id`."""
    for column in columns:
        if column not in there:
            raise UsageError(
                f"--id {column}: {name} has no column {column!r}; it has {_list(there)}."
            )


def _require_one(column: str, there: Sequence[str], name: str) -> None:
    if there.count(column) > 1:
        raise UsageError(f"{name} has two columns {column!r}; rename one of them.")


def sources_by_field(
    mapping: Mapping[str, str | Constant], columns: Sequence[str], name: str
) -> dict[str, Source]:
    """Return what gives each field in a file `name` that has `columns`.

    Fields that `mapping` does not name are in the column of the same name, in any case, or else in
    Online Retail's. If user, item and timestamp are there without it, the file is another's: then
    the rest may be missing. Raises `UsageError` naming the first missing column, its field, and the
    columns that are there.
    """
    same = {field: _same_name(field, columns) for field in COLUMN_FIELDS}
    own = all(field in mapping or same[field] for field in REQUIRED)
    retail = any(ONLINE_RETAIL[field] in columns for field in REQUIRED)
    if mapping.get(LINE_TOTAL):
        mapping = {**mapping, "unit_price": ""}
    sources: dict[str, Source] = {}
    for field in MAPPED:
        if field in mapping:
            if source := _mapped_source(field, mapping[field], columns, name):
                sources[field] = source
            continue
        column = same.get(field) or ONLINE_RETAIL.get(field, "")
        if column in columns:
            _require_one(column, columns, name)
            sources[field] = Columns((column,))
        elif column and not own and (retail or field in REQUIRED):
            raise UsageError(_missing_sentence(field, column if retail else field, columns, name))
    return sources


def _mapped_source(
    field: str, mapped: str | Constant, columns: Sequence[str], name: str
) -> Source | None:
    """Return what `--map` names; None if it leaves the field out."""
    if isinstance(mapped, Constant):
        return mapped
    if not mapped:
        return None
    # A column's own name may hold the sign.
    parts = (mapped,) if mapped in columns else tuple(mapped.split(JOIN))
    for part in parts:
        if part not in columns:
            raise UsageError(
                f"--map {field}={mapped}: {name} has no column {part!r}; it has {_list(columns)}."
            )
        _require_one(part, columns, name)
    return Columns(parts)


def _same_name(field: str, columns: Sequence[str]) -> str | None:
    """Return the column that is called as the field; in another case only if it is one."""
    if field in columns:
        return field
    alike = [column for column in columns if column.strip().lower() == field]
    return alike[0] if len(alike) == 1 else None


def _missing_sentence(field: str, column: str, columns: Sequence[str], name: str) -> str:
    leave_out = "" if field in REQUIRED else f", or leave it out with --map {field}="
    return (
        f"{name} has no column {column!r} for {field}; name another with --map {field}=COLUMN"
        f"{leave_out}. It has {_list(columns)}."
    )


def _list(columns: Sequence[str]) -> str:
    return ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
