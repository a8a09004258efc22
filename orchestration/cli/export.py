"""`export`: writes an export to standard output, or to a file that appears when it is complete.

The bytes of an export are in `assets.queries.export`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from assets.queries.export import Progress, export_chunks
from assets.queries.file_formats import Format
from streaming.errors import UsageError
from streaming.formatting import printable_lines
from streaming.settings import Settings
from streaming.system.file_errors import file_errors
from streaming.system.files import replace_file


def export(  # noqa: PLR0913, PLR0917 - what an export is, and where it goes
    settings: Settings,
    table: str,
    first: date | None,
    last: date | None,
    form: Format,
    output: Path | None,
) -> int:
    """Export a table to a file, or to standard output if `output` is None; return its rows.

    Raises `UsageError` for Parquet on a terminal and for an output that cannot be a file, and what
    `export_chunks` and `file_errors` do.
    """
    to_terminal = output is None and sys.stdout.isatty()
    if to_terminal and form is Format.PARQUET:
        raise UsageError(
            "Parquet cannot go to a terminal: name a file with --output, or use a pipe."
        )
    if output is not None:
        _require_writable(output)
    rows = 0
    with _progress(shown=sys.stderr.isatty() and not to_terminal) as show:

        def report(so_far: int) -> None:
            nonlocal rows
            rows = so_far
            show(rows)

        chunks = export_chunks(settings, table, first, last, form, report)
        if output is None:
            for chunk in chunks:
                # Files and pipes get the exact bytes. On a terminal they could steer it.
                shown = printable_lines(chunk.decode()).encode() if to_terminal else chunk
                sys.stdout.buffer.write(shown)
            # Here, so that a reader who has left is this command's error and not the interpreter's.
            sys.stdout.flush()
        else:
            with file_errors(output), replace_file(output, durable=True) as file:
                for chunk in chunks:
                    file.write(chunk)
    return rows


def _require_writable(output: Path) -> None:
    """Raise `UsageError` unless the file can be written: a missing directory, or not a file."""
    if output.exists() and not output.is_file():
        raise UsageError(f"--output {output} exists and is not a file; name another one.")
    if not output.absolute().parent.is_dir():
        raise UsageError(
            f"--output {output} is in a directory that does not exist; create it first."
        )


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    """Show the rows so far on stderr."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from streaming.cli.console import PrintableConsole

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    console = PrintableConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("")
        yield lambda rows: bar.update(task, completed=rows)
