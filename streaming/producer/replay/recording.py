"""A recording of purchases: a Parquet or CSV file as a frame with one column per field.

Reading and refusing files is here; what is sent of a row is in `rows`.
"""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from streaming.errors import UsageError
from streaming.producer.replay.columns import columns_by_field
from streaming.producer.replay.timestamps import read_times

PARQUET_MAGIC: Final = b"PAR1"
HEAD_BYTES: Final = 64 * 1024
"""Longer than a first line, which has the names and the separator."""
TAIL_BYTES: Final = 64 * 1024
"""Longer than a last line of any purchase."""
SEPARATORS: Final = ",;\t|"
"""The more usual first: of two that would do the first is taken."""
NUMBERS: Final = frozenset({"quantity", "unit_price"})
WHOLE_FLOAT: Final = r"^([0-9]+)\.0$"
"""What spreadsheets make of a customer's number in a column with gaps."""


@dataclass(frozen=True)
class Recording:
    """The rows of a file, in its order.

    `digest` is the SHA-256 of the file's bytes, `columns` are by field, `zone` is the IANA time
    zone of naive times. `frame` has `time` and
    `raw` (see `read_times`), and the fields that the file has: texts as text, `quantity` and
    `unit_price` as they came.
    """

    path: Path
    digest: bytes
    columns: Mapping[str, str]
    zone: str
    frame: pl.DataFrame

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


def read_recording(path: Path, mapping: Mapping[str, str], zone: str) -> Recording:
    """Read a file whole; naive times are in the IANA time zone `zone`.

    Raises `UsageError` if there is no such file, it is neither Parquet nor CSV, a column is
    missing, or it has no rows.
    """
    digest, head = _digest_and_head(path)
    try:
        if head.startswith(PARQUET_MAGIC):
            columns, frame = _from_parquet(path, mapping)
        else:
            columns, frame = _from_csv(path, head, mapping)
        if frame.is_empty():
            raise UsageError(f"{path} has no rows.")
        times = read_times(frame["timestamp"], zone)
        texts = [
            _as_text(column)
            for column in frame.drop("timestamp")
            if column.name not in NUMBERS or not column.dtype.is_numeric()
        ]
    except PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{path} cannot be read as Parquet or CSV: {reason}.") from None
    fields = frame.drop("timestamp").with_columns(*texts, *times)
    return Recording(path, digest, columns, zone, fields)


def _digest_and_head(path: Path) -> tuple[bytes, bytes]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            return digest, file.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _from_parquet(path: Path, mapping: Mapping[str, str]) -> tuple[dict[str, str], pl.DataFrame]:
    # `glob=False`, because a file's name may hold a bracket or an asterisk.
    scan = pl.scan_parquet(path, glob=False)
    columns = columns_by_field(mapping, scan.collect_schema().names(), path.name)
    return columns, _by_field(scan, columns).collect()


def _from_csv(
    path: Path, head: bytes, mapping: Mapping[str, str]
) -> tuple[dict[str, str], pl.DataFrame]:
    """Read every cell as text: a guessed type would lose the zeros of `00123`.

    A cell without text is null, and a row without any is no row.
    """
    names, separator = _header(path, head)
    _require_whole_last_line(path, separator, len(names))
    columns = columns_by_field(mapping, names, path.name)
    scan = pl.scan_csv(path, separator=separator, infer_schema=False, glob=False)
    cells = scan.select(pl.when(pl.all() != "").then(pl.all()))
    filled = cells.filter(~pl.all_horizontal(pl.all().is_null()))
    return columns, _by_field(filled, columns).collect()


def _header(path: Path, head: bytes) -> tuple[list[str], str]:
    """Return the column names, and the separator: the one that makes most of them."""
    try:
        # Up to a line end: the head may end within a character, which is no UTF-8.
        line = head.rpartition(b"\n")[0] or head
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip() or "\0" in text:
        raise UsageError(f"{path} is neither a Parquet file nor CSV in UTF-8.")
    best: tuple[list[str], str] = ([], ",")
    for separator in SEPARATORS:
        names = next(csv.reader(text.splitlines(), delimiter=separator))
        if len(names) > len(best[0]):
            best = names, separator
    if len(best[0]) < 2:
        raise UsageError(f"{path} is neither a Parquet file nor CSV with a line of column names.")
    return best


def _require_whole_last_line(path: Path, separator: str, columns: int) -> None:
    """Raise `UsageError` if the last line ends early, as in a file whose copy was interrupted.

    Other lines may end early: some programs leave out the separators of empty cells. Only a line
    without a line end can have been cut.
    """
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
        pieces = file.read().decode(errors="replace").split("\n")
    last = pieces.pop()
    # The line end before it may be within a quoted cell, whose other quote is then further up.
    while last.count('"') % 2 and pieces:
        last = f"{pieces.pop()}\n{last}"
    if not last.strip():
        return
    cells = len(next(csv.reader(StringIO(last, newline=""), delimiter=separator)))
    if cells < columns:
        raise UsageError(
            f"{path} ends within a line, after {cells} of {columns} cells; it seems to be cut."
            " Copy it again, or end its last line with a line end if the rest is empty."
        )


def _by_field(scan: pl.LazyFrame, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Name the columns by field; one column may give several fields."""
    return scan.select(pl.col(column).alias(field) for field, column in columns.items())


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; a whole number that was kept as a float is written as one.

    So the customer `17850.0`, a float because others are missing, is `17850`.
    """
    text = column.cast(pl.String)
    if column.dtype.is_float() or column.name == "user":
        return text.str.replace(WHOLE_FLOAT, "$1")
    return text
