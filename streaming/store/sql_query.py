"""A question of a user's in SQL: one statement that reads, with bounds of time, rows and memory.

The statement runs in a process of its own (`sql_process`), so that neither an endless nor a hungry
one reaches the process that asks. On PostgreSQL that process only asks and keeps the answer. How a
result is shown is its caller's matter.
"""

import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings, outer_environment
from streaming.store.connection import open_reader
from streaming.system.database import Database

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""What a statement may take, with Python's own 40 MB: enough to sort a million events."""
RESULT_BYTES: Final = 16 * 1024 * 1024
"""A result is held as a whole, several times over while it becomes a table."""

Cell = str | int | float | None
EXACT: Final = 2**53
"""A browser rounds larger whole numbers."""


@dataclass(frozen=True)
class Bounds:
    """How long a statement may run, and how many rows of its result are kept."""

    seconds: float
    rows: int
    memory_bytes: int = MEMORY_BYTES
    result_bytes: int = RESULT_BYTES


class QueryResult(Struct, frozen=True):
    """The columns and the rows of a result; `cut` says which bound left rows out, None: none."""

    columns: list[str]
    rows: list[list[Cell]]
    cut: Literal["rows", "bytes"] | None


def browser_rows(rows: Iterable[Iterable[Cell]]) -> list[list[Cell]]:
    """Return rows whose numbers are texts if a browser would round them."""
    return [[_exact(cell) for cell in row] for row in rows]


def _exact(cell: Cell) -> Cell:
    return str(cell) if isinstance(cell, int) and abs(cell) > EXACT else cell


class _Failure(Struct, frozen=True):
    """A statement without a result: wrong in itself, or an error of the database."""

    error: str | None = None
    failure: str | None = None


def run_query(settings: Settings, sql: str, bounds: Bounds) -> QueryResult:
    """Run one statement, which sees the database at one moment, while others write.

    Raises `UsageError` if the text is not valid, does not only read, or needs more than the bounds,
    and what `open_reader` does.
    """
    if "\0" in sql:
        raise UsageError("The SQL has a NUL character.")
    # Bytes of a command line or of stdin that are no text.
    if any("\ud800" <= character <= "\udfff" for character in sql):
        raise UsageError("The SQL is not UTF-8.")
    open_reader(settings).close()
    request = {
        **_name_database(settings.database),
        "sql": sql,
        "seconds": bounds.seconds,
        "rows": bounds.rows,
        "bytes": bounds.result_bytes,
        "memory": bounds.memory_bytes,
    }
    done = subprocess.run(
        # -P: the working directory may be of others, and is no place of modules.
        [sys.executable, "-P", "-m", "streaming.store.sql_process"],
        input=msgspec.json.encode(request),
        # Without settings, and so without secrets.
        env=outer_environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        raise UsageError(
            f"The SQL takes more than {bounds.seconds:g} s and was ended; narrow it, such as by"
            " event_time, which has an index."
        )
    if done.returncode in {-signal.SIGKILL, -signal.SIGSEGV} or any(
        sign in done.stderr for sign in (b"MemoryError", b"out of memory for query result")
    ):
        raise UsageError(
            f"The SQL needs more than {bounds.memory_bytes // 1024**2} MiB of memory; narrow it,"
            " or group by fewer values."
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PurchasesError(f"The process that ran the SQL failed: {said or done.returncode}.")
    return _decode(done.stdout)


def _name_database(database: Database) -> dict[str, str]:
    # To the process by its input: an address may have a password, which no command line shows.
    if isinstance(database, Path):
        return {"path": str(database)}
    return {"conninfo": database.conninfo}


def _decode(answer: bytes) -> QueryResult:
    # Whichever of the two it is: a failure has no columns.
    failed = msgspec.json.decode(answer, type=_Failure)
    if failed.error is not None:
        raise UsageError(failed.error)
    if failed.failure is not None:
        raise PurchasesError(failed.failure)
    return msgspec.json.decode(answer, type=QueryResult)
