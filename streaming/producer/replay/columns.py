"""The columns of a recording by field of a purchase: Online Retail's, or by `--map`.

Pure, and of names only; what is in the columns is read in `recording`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from streaming.errors import UsageError
from streaming.events.purchase import FIELDS, REQUIRED

# A replay derives the event id from the file, so that a row has the same one each time.
COLUMN_FIELDS: Final = tuple(field for field in FIELDS if field != "event_id")
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


def read_mapping(options: Sequence[str]) -> dict[str, str]:
    """Read `field=column` texts; an empty column leaves the field out.

    Raises `UsageError` for another form, an unknown field or a field that is named twice.
    """
    mapping: dict[str, str] = {}
    for option in options:
        field, separator, column = option.partition("=")
        if not separator:
            raise UsageError(f"--map {option}: write it as field=column, such as user=CustomerID.")
        if field not in COLUMN_FIELDS:
            hint = " (a replay derives it from the file)" if field == "event_id" else ""
            raise UsageError(
                f"--map {option}: {field!r} is not a field that can be mapped{hint};"
                f" the fields are {', '.join(COLUMN_FIELDS)}."
            )
        if field in mapping:
            raise UsageError(f"--map {option}: {field} is mapped twice.")
        if field in REQUIRED and not column:
            raise UsageError(f"--map {option}: {field} cannot be left out; name its column.")
        mapping[field] = column
    return mapping


def columns_by_field(
    mapping: Mapping[str, str], columns: Sequence[str], name: str
) -> dict[str, str]:
    """Return the column of each field in a file `name` that has `columns`.

    Fields that `mapping` does not name are Online Retail's. If it names user, item and timestamp,
    the file is another's: then the rest may be missing. Raises `UsageError` naming the
    first missing column, its field, and the columns that are there.
    """
    own = all(field in mapping for field in REQUIRED)
    found: dict[str, str] = {}
    for field, column in {**ONLINE_RETAIL, **mapping}.items():
        if column in columns:
            found[field] = column
        elif column and (field in mapping or not own):
            raise UsageError(_missing(field, column, columns, name, given=field in mapping))
    return found


def _missing(field: str, column: str, columns: Sequence[str], name: str, *, given: bool) -> str:
    there = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    if given:
        return f"--map {field}={column}: {name} has no column {column!r}; it has {there}."
    leave_out = "" if field in REQUIRED else f", or leave it out with --map {field}="
    return (
        f"{name} has no column {column!r} for {field}; name another with --map {field}=COLUMN"
        f"{leave_out}. It has {there}."
    )
