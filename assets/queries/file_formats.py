"""The formats of files: how frames become CSV, Parquet or JSON lines, in constant memory.

Which rows these are is in `export` and `download`.
"""

import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import polars as pl
from polars.io.plugins import register_io_source

from streaming.errors import PurchasesError, UsageError


class Format(StrEnum):
    """The format of an export; the value is the name that a user gives.

    All are exact but `SPREADSHEET`: CSV in which no text of others is a formula, for programs that
    compute what they open.
    """

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"
    SPREADSHEET = "spreadsheet"

    @property
    def extension(self) -> str:
        """The end of a file's name."""
        return "csv" if self is Format.SPREADSHEET else self.value


MEDIA_TYPES: Final = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.SPREADSHEET: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSONL: "application/jsonl",
}
GROUP_ROWS: Final = 100_000
"""Rows of a Parquet row group: what a reader skips or decodes at once; polars holds one."""
CHUNK_BYTES: Final = 1 << 20
"""Of a finished Parquet file at once: memory stays small, and the calls are few."""
FORMULA: Final = r"""(^|[;,|\t\r\n])([\s"']*)([=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}])"""
"""Where a cell of a spreadsheet could begin and be a formula: the last four are wide forms. Which
character parts the cells is a setting of the country that reads, so each of the usual ones counts.
"""

_Encoder = Callable[[Iterator[pl.DataFrame], Path], Iterator[bytes]]


def read_format(text: str) -> Format:
    """Return the format of a name. Raises `UsageError` naming the valid ones."""
    named = [form for form in Format if form is not Format.SPREADSHEET]
    if text not in named:
        raise UsageError(f"The format {text} is unknown; name one of {', '.join(named)}.")
    return Format(text)


def encode(frames: Iterator[pl.DataFrame], form: Format, scratch: Path) -> Iterator[bytes]:
    """Return the bytes of a file of frames, of which there is one at least; `scratch` is for files.

    Raises `PurchasesError` if a file has no room in it.
    """
    return _ENCODERS[form](frames, scratch)


def _csv(frames: Iterator[pl.DataFrame], _: Path) -> Iterator[bytes]:
    yield next(frames).write_csv().encode()
    for frame in frames:
        yield frame.write_csv(include_header=False).encode()


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with an apostrophe before each text that a spreadsheet would compute."""
    return frame.with_columns(pl.col(pl.String).str.replace_all(FORMULA, "${1}${2}'${3}"))


def _spreadsheet(frames: Iterator[pl.DataFrame], scratch: Path) -> Iterator[bytes]:
    """Write CSV with an apostrophe before what would be a formula, and a mark that it is UTF-8."""
    yield BOM_UTF8
    yield from _csv(map(escape_formulas, frames), scratch)


def _jsonl(frames: Iterator[pl.DataFrame], _: Path) -> Iterator[bytes]:
    for frame in frames:
        yield frame.write_ndjson().encode()


def _parquet(frames: Iterator[pl.DataFrame], scratch: Path) -> Iterator[bytes]:
    """Write row group by row group into an unnamed file, then yield its bytes."""
    # Polars writes to a file, and the caller reads chunks: the disk stands between, not memory.
    empty = next(frames)

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield empty
        yield from frames

    with tempfile.TemporaryFile(dir=scratch) as file:
        lazy = register_io_source(source, schema=empty.schema)
        try:
            lazy.sink_parquet(file, row_group_size=GROUP_ROWS)
        except pl.exceptions.ComputeError as error:
            raise PurchasesError(f"{scratch} cannot hold the Parquet file: {error}.") from error
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


_ENCODERS: Final[Mapping[Format, _Encoder]] = {
    Format.CSV: _csv,
    Format.JSONL: _jsonl,
    Format.PARQUET: _parquet,
    Format.SPREADSHEET: _spreadsheet,
}
