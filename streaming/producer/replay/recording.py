"""A recording of purchases: the rows of a file as a frame with one column per field.

Files are opened in `files`, times read in `timestamps`; what is sent of a row is in `rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from streaming.errors import UsageError
from streaming.producer.replay.columns import columns_by_field, require_columns
from streaming.producer.replay.files import FileFormat, open_columns
from streaming.producer.replay.timestamps import read_times

NUMBERS: Final = frozenset({"quantity", "unit_price"})
WHOLE_FLOAT: Final = r"^([0-9]+)\.0$"
"""What spreadsheets make of a customer's number in a column with gaps."""
GROUPED: Final = {
    ",": r"^-?[0-9]{1,3}(?:\.[0-9]{3})*(?:,[0-9]+)?$|^-?[0-9]+(?:,[0-9]+)?$",
    ".": r"^-?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?$|^-?[0-9]+(?:\.[0-9]+)?$",
}
"""Numbers by their decimal sign; the other sign may group thousands."""
ID: Final = "id "
"""Begins the columns that name a row; no field is called so."""


@dataclass(frozen=True)
class Recording:
    """The rows of a file, in its order.

    `digest` is the SHA-256 of the file's bytes, `columns` are by field, `unused` those that give
    none, `zone` is the IANA time zone of naive times. `frame` has `time` and `raw` (see
    `read_times`), and the fields that the file has: texts as text, `quantity` and `unit_price` as
    they came; `id` is the texts of `id_columns`.
    """

    path: Path
    digest: bytes
    columns: Mapping[str, str]
    unused: Sequence[str]
    zone: str
    frame: pl.DataFrame
    id_columns: Sequence[str] = ()
    form: FileFormat = field(default_factory=FileFormat)

    @property
    def last_micros(self) -> int | None:
        """The time of the last event, in µs since 1970 UTC; None if no row has one."""
        last = self.frame["time"].max()
        return last if isinstance(last, int) else None

    def days(self, shift_micros: int) -> tuple[date, date] | None:
        """Return the days of the first and the last event, each moved by `shift_micros`."""
        times = self.frame["time"].drop_nulls()
        if times.is_empty():
            return None
        ends = pl.Series([times.min(), times.max()], dtype=pl.Int64) + shift_micros
        local = ends.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(self.zone)
        first, last = local.dt.date()
        return first, last


def read_recording(
    path: Path,
    mapping: Mapping[str, str],
    zone: str,
    id_columns: Sequence[str] = (),
    form: FileFormat | None = None,
) -> Recording:
    """Read a file whole; naive times are in the IANA time zone `zone`.

    Raises `UsageError` if there is no such file, it is of no form that is read, a column is
    missing, it has no rows, or `id_columns` name two different rows alike.
    """
    form = form or FileFormat()
    try:
        file = open_columns(path, form)
        columns = columns_by_field(mapping, file.names, path.name)
        require_columns(id_columns, file.names, path.name)
        named = {**columns, **{f"{ID}{column}": column for column in id_columns}}
        frame = file.scan.select(pl.col(name).alias(as_) for as_, name in named.items()).collect()
        if frame.is_empty():
            raise UsageError(f"{path} has no rows.")
        times = read_times(frame["timestamp"].alias(columns["timestamp"]), zone, form.date_format)
        texts = [_as_sent(column, form.decimal) for column in frame.drop("timestamp")]
    except PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{path} cannot be read as Parquet or CSV: {reason}.") from None
    fields = pl.DataFrame([*texts, *times])
    if "user" not in fields.columns:
        fields = fields.with_columns(user=pl.lit(None, dtype=pl.String))
    unused = [name for name in file.names if name not in named.values()]
    return Recording(
        path, file.digest, columns, unused, zone, _with_ids(fields, id_columns), id_columns, form
    )


def _with_ids(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Join the columns that name a row to `id`.

    Raises `UsageError` if one is empty, or two rows that differ have one id.
    """
    if not columns:
        return frame
    parts = [f"{ID}{column}" for column in columns]
    option = f"--id {','.join(columns)}"
    empty = frame.select(pl.any_horizontal(pl.col(parts).is_null()))[:, 0].arg_true()
    if len(empty):
        raise UsageError(f"{option}: row {empty[0] + 1:,} has none; name columns that are filled.")
    shared = frame.unique().filter(pl.struct(parts).is_duplicated())
    if not shared.is_empty():
        example = ", ".join(shared.select(parts).row(0))
        raise UsageError(
            f"{option}: {shared.height:,} different rows share an id with another, such as"
            f" {example!r}; name another column as well."
        )
    return frame.with_columns(id=pl.concat_list(parts)).drop(parts)


def _as_sent(column: pl.Series, decimal: str | None) -> pl.Series:
    """Return a column as text, or as the numbers that it holds if numbers are due."""
    if column.name not in NUMBERS:
        text = _as_text(column)
        return text.str.to_uppercase() if column.name == "currency" else text
    if column.dtype.is_numeric():
        return column
    text = column.cast(pl.String).str.strip_chars()
    if decimal is None:
        return text
    group = "." if decimal == "," else ","
    plain = text.str.replace_all(group, "", literal=True).str.replace(",", ".", literal=True)
    return plain.zip_with(text.str.contains(GROUPED[decimal]).fill_null(value=False), text)


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; a whole number that was kept as a float is written as one.

    So the customer `17850.0`, a float because others are missing, is `17850`.
    """
    text = column.cast(pl.String)
    if column.dtype.is_float() or column.name == "user":
        return text.str.replace(WHOLE_FLOAT, "$1")
    return text
