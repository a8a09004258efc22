"""What an endpoint answers as a file, in units of the currency: the same rows, the same figures.

Files of whole tables, with the tables' own columns and micros, are in `export`.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Final, Literal

from msgspec import Struct
from starlette.responses import Response

from streaming.errors import UsageError

FileFormat = Literal["json", "csv", "parquet"]

MAX_ROWS: Final = 100_000
"""Rows of a file; they are records in memory, of a few hundred bytes each."""
MICROS: Final = "_micros"
FIRST: Final = frozenset({"at", "rank", "name", "description"})
"""The columns that say whose figures a row has."""
MONEY: Final = frozenset({"gross_revenue", "net_revenue", "unit_price", "average_order"})


def require_few_rows(total: int) -> None:
    """Raise `UsageError` if a file would have more than `MAX_ROWS` rows: none is left out."""
    if total > MAX_ROWS:
        raise UsageError(
            f"The file would have {total:,} rows, and {MAX_ROWS:,} are the most. Choose fewer days,"
            " or use `purchases export`."
        )


def build_file(rows: Sequence[Struct], kind: type[Struct], form: FileFormat, name: str) -> Response:
    """Return records of a kind as a file: CSV for spreadsheets, or exact Parquet.

    Amounts are decimals in units of the currency, so fields in micros are left out. Raises
    `UsageError` if there are too many rows.
    """
    require_few_rows(len(rows))
    # Importing polars takes longer than most answers.
    import polars as pl

    from assets.queries.file_formats import MEDIA_TYPES, Format, escape_formulas

    fields = [field for field in kind.__struct_fields__ if not field.endswith(MICROS)]
    # A sort is stable: within both halves the fields stay in their order.
    names = sorted(fields, key=lambda field: field not in FIRST)
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    money = MONEY & columns.keys()
    amounts = {
        name: [None if text is None else Decimal(text) for text in columns[name]] for name in money
    }
    scale = max((_decimals(a) for column in amounts.values() for a in column if a), default=2)
    frame = pl.DataFrame(
        {**columns, **amounts},
        schema_overrides=dict.fromkeys(money, pl.Decimal(38, scale)),
        infer_schema_length=None,
    )
    if form == "csv":
        chosen = Format.SPREADSHEET
        body = BOM_UTF8 + escape_formulas(frame).write_csv().encode()
    else:
        chosen, buffer = Format.PARQUET, BytesIO()
        frame.write_parquet(buffer)
        body = buffer.getvalue()
    headers = {"content-disposition": f'attachment; filename="{name}.{chosen.extension}"'}
    return Response(body, media_type=MEDIA_TYPES[chosen], headers=headers)


def file_name(kind: str, subject: Iterable[str | None], first: date, last: date) -> str:
    """Return the name of a file without its extension: what is in it, of whom, of which days."""
    # A header's value: of what others named their items only plain characters.
    names = [re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-") for name in subject if name]
    return "-".join([kind, *filter(None, names), first.isoformat(), last.isoformat()])


def _decimals(amount: Decimal) -> int:
    return max(2, -int(amount.as_tuple().exponent))
