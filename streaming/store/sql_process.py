"""The process that runs one statement of a user's: `python -m streaming.store.sql_process`.

A request comes on stdin and the answer goes to stdout, both as JSON. The kernel ends the process
when its time or its memory is over, which no statement can avoid. It reads no setting, because each
import would be paid for by each question. Who starts it is `sql_query`.
"""

import json
import math
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from streaming.errors import PurchasesError
from streaming.events.identifiers import event_id_text
from streaming.store.sql_access import ReadOnlyAccess, SqlTextError, is_of_the_text
from streaming.store.sqlite import connect, store_errors
from streaming.system.database import PostgresDatabase

PACKED_ID_BYTES: Final = 16
GRACE_SECONDS: Final = 2.0
"""After its bound a server has so long to say that it ended the statement."""


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    # The timer's signal ends the process wherever it is, also inside one long call.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    # A core file would leave rows, and so names of customers, on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = _answer(request)
    except PurchasesError as error:
        answer = json.dumps({"failure": str(error)})
    sys.stdout.write(answer)


def _answer(request: dict[str, Any]) -> str:
    if "conninfo" in request:
        return _answer_by_postgres(request, PostgresDatabase(request["conninfo"]))
    path, sql = Path(request["path"]), request["sql"]
    with closing(connect(path, read_only=True)) as connection, store_errors(path):
        connection.execute("PRAGMA query_only = ON")
        # What is sorted counts as memory, and never fills the disk of the database.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.text_factory = _text
        access = ReadOnlyAccess(connection)
        try:
            cursor = connection.execute(sql)
            if cursor.description is None:
                return json.dumps({"error": "The SQL has no statement; begin with SELECT."})
            columns = [column[0] for column in cursor.description]
            return _result(columns, cursor, request["rows"], request["bytes"])
        except (sqlite3.Error, sqlite3.Warning) as error:
            if is_of_the_text(error):
                return json.dumps({"error": access.explain(connection, sql, error)})
            raise


def _answer_by_postgres(request: dict[str, Any], database: PostgresDatabase) -> str:
    from streaming.store import postgres, postgres_sql

    sql, seconds = postgres_sql.Statement(request["sql"]), request["seconds"]
    # The server ends the statement first: it would not notice at once that nobody waits any more.
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    with closing(postgres.connect(database)) as connection, postgres.store_errors(database):
        try:
            columns = [name for name, _ in postgres_sql.check_sql(connection.raw, sql)]
            with postgres.snapshot(connection):
                rows = postgres_sql.select(connection.raw, sql, seconds)
                with closing(rows):
                    return _result(columns, rows, request["rows"], request["bytes"])
        except SqlTextError as error:
            return json.dumps({"error": str(error)})
        except postgres_sql.SqlTimeout:
            # The caller knows by this signal that the time is over, whoever notices it first.
            signal.raise_signal(signal.SIGALRM)
            raise


def _result(columns: list[str], rows: Iterable[tuple[Any, ...]], most: int, size: int) -> str:
    """Return the answer with at most so many rows and bytes; it says which of them cut it."""
    parts: list[str] = []
    cut = None
    for row in rows:
        if len(parts) == most:
            cut = "rows"
            break
        part = json.dumps([_cell(*cell) for cell in zip(columns, row, strict=True)])
        size -= len(part)
        if size < 0:
            cut = "bytes"
            break
        parts.append(part)
    return (
        f'{{"columns": {json.dumps(columns)}, "cut": {json.dumps(cut)},'
        f' "rows": [{", ".join(parts)}]}}'
    )


def _cell(column: str, value: object) -> object:
    """Return a value as JSON has it: an event's id as its text, other blobs in hexadecimal."""
    if isinstance(value, bytes):
        is_id = column == "event_id" and len(value) == PACKED_ID_BYTES
        return event_id_text(value) if is_id else f"x'{value.hex()}'"
    # JSON has no infinite number.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(stored: bytes) -> str:
    # A statement can make texts that are none, such as CAST(x'ff' AS TEXT).
    return stored.decode(errors="replace")


if __name__ == "__main__":
    main()
