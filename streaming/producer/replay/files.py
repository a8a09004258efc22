"""A file of purchases as columns: Parquet, CSV, JSON lines or an Excel sheet.

Reading and refusing files is here. Their bytes come from `contents`. Which column gives
which field is decided in `columns`, and what the values mean in `recording`.
"""

import csv
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Final

import polars as pl

from streaming.errors import UsageError
from streaming.producer.replay.contents import PARQUET_MAGIC, FileContent, open_content
from streaming.producer.replay.file_format import FileFormat

TAIL_BYTES: Final = 64 * 1024
"""Longer than a last line of any purchase."""
SEPARATORS: Final = ",;\t|"
"""The more usual first: of two that would do the first is taken."""


@dataclass(frozen=True)
class FileColumns:
    """The columns of a file: their `names`, the rows yet to be read, and the file's SHA-256.

    CSV has `content` too, its path or bytes, and a `separator`.
    """

    digest: bytes
    names: list[str]
    scan: pl.LazyFrame
    content: Path | bytes = b""
    separator: str = ","


def open_columns(path: Path, form: FileFormat) -> FileColumns:
    """Open a file, and find its columns.

    Raises `UsageError` if there is no such file or its form is none that is read, polars' errors
    if it is damaged.
    """
    raw = open_content(path, form.encoding)
    content, head = raw.content, raw.head
    if head.startswith(PARQUET_MAGIC):
        # `glob=False`, because a file's name may hold a bracket or an asterisk.
        file = content if isinstance(content, Path) else BytesIO(content)
        scan = pl.scan_parquet(file, glob=False)
    elif raw.is_workbook:
        scan = _without_empty_rows(_scan_workbook(content))
    else:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if start not in {b"{", b"["}:
            return _scan_csv(path, raw, form.delimiter)
        scan = _without_empty_rows(_scan_json(content, is_array=start == b"["))
    return FileColumns(raw.digest, scan.collect_schema().names(), scan)


def _scan_workbook(content: Path | bytes) -> pl.LazyFrame:
    """Read the first sheet; cells of dates, numbers and text stay what they are."""
    return pl.read_excel(
        content if isinstance(content, Path) else BytesIO(content), infer_schema_length=None
    ).lazy()


def _scan_json(source: Path | bytes, *, is_array: bool) -> pl.LazyFrame:
    file = source if isinstance(source, Path) else BytesIO(source)
    if is_array:
        # By all rows, in both forms: a field may come late in a file, or change its type.
        return pl.read_json(file, infer_schema_length=None).lazy()
    return pl.read_ndjson(file, infer_schema_length=None).lazy()


def _scan_csv(path: Path, raw: FileContent, delimiter: str | None) -> FileColumns:
    """Read every cell as text: a guessed type would lose the zeros of `00123`.

    A cell without text is null, and a row without any is no row.
    """
    names, separator = _header(path, raw.head, delimiter)
    _require_whole_last_line(path, raw.content, separator, len(names))
    content = raw.content
    file = content if isinstance(content, Path) else BytesIO(content)
    scan = pl.scan_csv(file, separator=separator, infer_schema=False, glob=False)
    cells = scan.select(pl.when(pl.all() != "").then(pl.all()))
    return FileColumns(raw.digest, names, _without_empty_rows(cells), content, separator)


def _without_empty_rows(scan: pl.LazyFrame) -> pl.LazyFrame:
    return scan.filter(~pl.all_horizontal(pl.all().is_null()))


def find_long_line(file: FileColumns) -> str:
    """Return which line of CSV has more cells than the first one names, as a sentence; or none."""
    content = file.content
    with content.open("rb") if isinstance(content, Path) else BytesIO(content) as data:
        lines = csv.reader(
            TextIOWrapper(data, "utf-8-sig", errors="replace", newline=""),
            delimiter=file.separator,
        )
        first = 1
        try:
            for cells in lines:
                if len(cells) > len(file.names):
                    return (
                        f"line {lines.line_num:,} has {len(cells)} cells, and the first line names"
                        f" {len(file.names)}; quote a cell that holds {file.separator!r}"
                    )
                first = lines.line_num + 1
        except csv.Error:
            # A cell over the module's limit, such as all that follows a quote without an end.
            return (
                f"a line from {first:,} on has more cells than the first line names"
                f" ({len(file.names)}), and the cells of line {first:,} are too long to tell which;"
                " end each quote that begins a cell"
            )
    return ""


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
            f"{path} is neither a Parquet file nor CSV with a line of column names{given}: its"
            f" first line is {names[0][:60]!r}. Remove what stands above the names."
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
