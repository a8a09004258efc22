"""A file of purchases as columns: Parquet, CSV or JSON lines, in its encoding, packed or not.

Reading and refusing files is here. Which column gives which field is decided in `columns`, and what
the values mean in `recording`.
"""

import codecs
import csv
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Final

import polars as pl

from streaming.errors import UsageError

PARQUET_MAGIC: Final = b"PAR1"
GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = b"PK\x03\x04"
HEAD_BYTES: Final = 64 * 1024
"""Longer than a first line, which has the names and the separator."""
TAIL_BYTES: Final = 64 * 1024
"""Longer than a last line of any purchase."""
SEPARATORS: Final = ",;\t|"
"""The more usual first: of two that would do the first is taken."""
UTF_8: Final = "utf-8"


@dataclass(frozen=True)
class FileFormat:
    """How a file is written, as far as it does not show it itself.

    `delimiter` None is the one that makes most columns of the first line. `decimal` is the sign
    before decimals, whose counterpart then groups thousands; None takes numbers as they stand.
    `date_format` is a format of `strftime`, None the forms of `timestamps`.
    """

    delimiter: str | None = None
    encoding: str = UTF_8
    decimal: str | None = None
    date_format: str | None = None

    def options(self) -> dict[str, str]:
        """Return the options that differ from the default, by name."""
        given = {
            "--delimiter": self.delimiter,
            "--encoding": None if self.encoding == UTF_8 else self.encoding,
            "--decimal": self.decimal,
            "--date-format": self.date_format,
        }
        return {option: value for option, value in given.items() if value is not None}


def read_format(
    delimiter: str | None, encoding: str, decimal: str | None, date_format: str | None
) -> FileFormat:
    """Read the options of a file's form. Raises `UsageError` for one that makes no sense."""
    if delimiter is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
            raise UsageError(f"--delimiter {delimiter} must be one character, such as ';', or tab.")
    if decimal not in {None, ",", "."}:
        raise UsageError(f"--decimal {decimal} must be a comma or a point.")
    try:
        encoding = codecs.lookup(encoding).name
    except LookupError:
        raise UsageError(
            f"--encoding {encoding} is not known; take utf-8, latin-1, cp1252 or utf-16."
        ) from None
    if date_format is not None and "%" not in date_format:
        raise UsageError(
            f"--date-format {date_format} names no part of a time; write such as '%d.%m.%Y %H:%M'."
        )
    return FileFormat(delimiter, encoding, decimal, date_format)


@dataclass(frozen=True)
class FileColumns:
    """The columns of a file: their `names`, the rows yet to be read, and the file's SHA-256."""

    digest: bytes
    names: list[str]
    scan: pl.LazyFrame


def open_columns(path: Path, form: FileFormat) -> FileColumns:
    """Open a file, and find its columns.

    Raises `UsageError` if there is no such file or its form is none that is read, polars' errors
    if it is damaged.
    """
    digest, head = _digest_and_head(path)
    if head.startswith(PARQUET_MAGIC):
        # `glob=False`, because a file's name may hold a bracket or an asterisk.
        scan = pl.scan_parquet(path, glob=False)
        return FileColumns(digest, scan.collect_schema().names(), scan)
    if head.startswith(ZIP_MAGIC):
        raise UsageError(f"{path} is a zip or Excel file; unpack it, or save its sheet as CSV.")
    packed = head.startswith(GZIP_MAGIC)
    text: bytes | None = None
    if packed or form.encoding != UTF_8:
        text = _as_utf_8(path, form.encoding, packed=packed)
        head = text[:HEAD_BYTES]
    source = path if text is None else text
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start in {b"{", b"["}:
        scan = _scan_json(source, is_array=start == b"[")
        return FileColumns(digest, scan.collect_schema().names(), _without_empty_rows(scan))
    return _scan_csv(path, source, head, digest, form)


def _digest_and_head(path: Path) -> tuple[bytes, bytes]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            return digest, file.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _as_utf_8(path: Path, encoding: str, *, packed: bool) -> bytes:
    """Return the text of a file, unpacked and in UTF-8."""
    data = path.read_bytes()
    try:
        if packed:
            data = gzip.decompress(data)
        return data.decode(encoding).encode()
    except (EOFError, OSError, zlib.error) as error:
        raise UsageError(f"{path} cannot be unpacked: {error}. Copy it again.") from None
    except UnicodeError as error:
        raise UsageError(f"{path} is no text in {encoding} ({error}); name --encoding.") from None


def _scan_json(source: Path | bytes, *, is_array: bool) -> pl.LazyFrame:
    file = source if isinstance(source, Path) else BytesIO(source)
    if is_array:
        return pl.read_json(file, infer_schema_length=None).lazy()
    return pl.read_ndjson(file, infer_schema_length=None).lazy()


def _scan_csv(
    path: Path, source: Path | bytes, head: bytes, digest: bytes, form: FileFormat
) -> FileColumns:
    """Read every cell as text: a guessed type would lose the zeros of `00123`.

    A cell without text is null, and a row without any is no row.
    """
    names, separator = _header(path, head, form.delimiter)
    _require_whole_last_line(path, source, separator, len(names))
    file = source if isinstance(source, Path) else BytesIO(source)
    scan = pl.scan_csv(file, separator=separator, infer_schema=False, glob=False)
    cells = scan.select(pl.when(pl.all() != "").then(pl.all()))
    return FileColumns(digest, names, _without_empty_rows(cells))


def _without_empty_rows(scan: pl.LazyFrame) -> pl.LazyFrame:
    return scan.filter(~pl.all_horizontal(pl.all().is_null()))


def _header(path: Path, head: bytes, delimiter: str | None) -> tuple[list[str], str]:
    """Return the column names, and the separator: the one that makes most of them."""
    try:
        # Up to a line end: the head may end within a character, which is no UTF-8.
        line = head.rpartition(b"\n")[0] or head
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip() or "\0" in text:
        raise UsageError(
            f"{path} is neither a Parquet file nor CSV or JSON lines in UTF-8; name another"
            " encoding with --encoding, such as latin-1 or utf-16."
        )
    best: tuple[list[str], str] = ([], ",")
    for separator in delimiter or SEPARATORS:
        names = next(csv.reader(StringIO(text, newline=""), delimiter=separator))
        if len(names) > len(best[0]):
            best = names, separator
    if len(best[0]) < 2:
        given = f" that {delimiter!r} separates" if delimiter else ""
        raise UsageError(
            f"{path} is neither a Parquet file nor CSV with a line of column names{given}."
        )
    return best


def _require_whole_last_line(
    path: Path, source: Path | bytes, separator: str, columns: int
) -> None:
    """Raise `UsageError` if the last line ends early, as in a file whose copy was interrupted.

    Other lines may end early: some programs leave out the separators of empty cells. Only a line
    without a line end can have been cut.
    """
    pieces = _tail(source).decode(errors="replace").split("\n")
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


def _tail(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[-TAIL_BYTES:]
    with source.open("rb") as file:
        file.seek(max(source.stat().st_size - TAIL_BYTES, 0))
        return file.read()
