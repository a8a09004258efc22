"""Tables of a user's own: the `.sql` files of `PURCHASES_SQL`, checked, and run for a day.

A file is a table, and its text says what the table is. How its rows are written and audited is in
`assets.builds`.
"""

import hashlib
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from streaming.errors import NotFound, PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, write_store
from streaming.store.dialect import list_tables
from streaming.store.sql_access import ReadOnlyAccess, SqlTextError, is_of_the_text

if TYPE_CHECKING:
    from streaming.store.postgres import PostgresConnection
    from streaming.store.postgres_sql import Statement

PREFIX: Final = "sql_"
"""Tables of files have names that no migration ever gives."""
DAY: Final = "day"
"""The first column of every such table; a build writes it."""
EVENTS: Final = "analytics_event"
EVENT_COLUMNS: Final = (
    "event_id, event_time, kind, user, item, quantity, unit_price_micros, amount_micros, currency,"
    " order_id, description, country, processed_at, source_topic, source_partition, source_offset,"
    " source_timestamp, stream_partition, stream_offset"
)
"""The columns of events: a text is checked without a database, at the start too."""
BUILD_SECONDS: Final = 60.0
"""A day's statement is ended after so long, because other builds wait for it."""
BEYOND: Final = 2**63
"""What no column of whole numbers holds."""
MAX_ROWS: Final = 100_000
"""Rows of one day, which are in memory at once."""
_STEPS: Final = 100_000
"""Steps of SQLite between two looks at the clock: about a millisecond."""
_FILE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_COLUMN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Row = tuple[Any, ...]


class SqlError(UsageError):
    """A `.sql` file that is not a table; the sentence has the file, and the line if it has one."""


@dataclass(frozen=True)
class SqlTable:
    """A table that a file defines: its columns are the day and those of the file's statement.

    `types` are those of the columns on PostgreSQL; on SQLite a column has none.
    """

    file: Path
    text: str
    columns: tuple[str, ...]
    types: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The table's name: that of the file, with a prefix."""
        return table_name(self.file)

    @property
    def code_version(self) -> str:
        """The digest of the text: days that another text built are stale."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SqlTables:
    """The tables of all files, and by name the problem of each file that is none."""

    tables: tuple[SqlTable, ...]
    problems: Mapping[str, str]


def table_name(file: Path) -> str:
    """Return the name of a file's table."""
    return f"{PREFIX}{file.stem}"


def is_sql_table(name: str) -> bool:
    """Return whether a table is one of a `.sql` file."""
    return name.startswith(PREFIX)


def read_sql_tables(settings: Settings) -> SqlTables:
    """Read and check the files, by their names; one that is wrong changes no other.

    Raises what `read_sql_table` does, but for `SqlError`.
    """
    if settings.sql is None:
        return SqlTables((), {})
    if not settings.sql.is_dir():
        return SqlTables((), {"PURCHASES_SQL": f"PURCHASES_SQL: {settings.sql} is no directory."})
    tables, problems = [], {}
    for file in sorted(settings.sql.glob("*.sql")):
        try:
            tables.append(read_sql_table(file, settings))
        except SqlError as error:
            problems[table_name(file)] = str(error)
    return SqlTables(tuple(tables), problems)


def code_versions(settings: Settings) -> dict[str, str]:
    """Return the code version of each table, by its name. Raises what `read_sql_tables` does."""
    return {table.name: table.code_version for table in read_sql_tables(settings).tables}


def read_sql_table(file: Path, settings: Settings) -> SqlTable:
    """Read and check a file, on PostgreSQL by the server, which is asked once about each text.

    Raises `SqlError`, and `Unavailable` if the server does not answer.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SqlError(f"{file} cannot be read: {reason}.") from None
    if "\0" in text:
        raise SqlError(f"{file} has a NUL character.")
    if not _FILE_NAME.fullmatch(file.stem):
        raise SqlError(
            f"{file}: the name must be of small letters, digits and '_', 48 at most, such as"
            " daily_lines.sql."
        )
    missing = [name for name in (":start_at", ":end_at") if name not in text]
    if missing:
        raise SqlError(
            f"{file} does not name {' and '.join(missing)}; a day is WHERE event_time >= :start_at"
            " AND event_time < :end_at."
        )
    if isinstance(settings.database, Path):
        return SqlTable(file, text, (DAY, *_check_columns(file, _columns(file, text))))
    columns, types = _columns_on_postgres(settings, file, text)
    return SqlTable(file, text, (DAY, *_check_columns(file, columns)), ("text", *types))


def _columns_on_postgres(settings: Settings, file: Path, text: str) -> tuple[list[str], list[str]]:
    """Return the columns of a statement, and their types in a table."""
    from streaming.store import postgres_sql

    try:
        described = postgres_sql.describe(
            settings.database, _statement(text, "2000-01-01", (0, 0)), (EVENTS,)
        )
    except SqlTextError as error:
        raise SqlError(f"{file}: {error}") from None
    except Unavailable:
        # Nobody can tell now: a file that was right before is not wrong, nor changed.
        raise
    except PurchasesError as error:
        raise SqlError(f"{file} cannot be checked: {error}") from None
    return [name for name, _ in described], [kind for _, kind in described]


def _statement(text: str, day: str, window: tuple[int, int]) -> "Statement":
    from streaming.store.postgres_sql import Statement

    start, end = (f"'{moment}'::bigint" for moment in window)
    return Statement(text, ((DAY, f"'{day}'"), ("start_at", start), ("end_at", end)))


def _columns(file: Path, text: str) -> list[str]:
    """Return the columns of a statement, which an empty table of events answers."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE {EVENTS} ({EVENT_COLUMNS})")
        return _execute(connection, file, text, "2000-01-01", (0, 0))[0]


def _check_columns(file: Path, columns: list[str]) -> list[str]:
    """Return the columns. Raises `SqlError` if a table cannot have them."""
    names = [column.lower() for column in columns]
    if not columns:
        raise SqlError(f"{file} has no statement; begin with SELECT.")
    if wrong := [column for column in columns if not _COLUMN_NAME.fullmatch(column)]:
        raise SqlError(f"{file}: the column {wrong[0]} needs a name, such as {wrong[0]} AS total.")
    if DAY in names:
        raise SqlError(f"{file}: leave the column day out; the build adds it.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise SqlError(f"{file}: two columns are named {twice[0]}.")
    return columns


def compute_day(
    store: StoreConnection, table: SqlTable, day: str, window: tuple[int, int]
) -> list[Row]:
    """Return the rows of a day, whose events lie in the window (µs, first and end), in order.

    The statement runs in the caller's snapshot. Raises `SqlError`.
    """
    if isinstance(store, sqlite3.Connection):
        rows = _compute(store, table, day, window)
    else:
        rows = _compute_on_postgres(cast("PostgresConnection", store), table, day, window)
    if len(rows) > MAX_ROWS:
        raise SqlError(f"{table.file} has more than {MAX_ROWS:,} rows for {day}; group them.")
    # A digest and an export are of text and numbers; bytes have no form that both agree on.
    if any(isinstance(value, bytes) for row in rows for value in row):
        raise SqlError(f"{table.file} has bytes for {day}; show them by hex().")
    if any(isinstance(value, int) and abs(value) >= BEYOND for row in rows for value in row):
        raise SqlError(f"{table.file} has a whole number beyond 64 bits for {day}.")
    return sort_rows((day, *row) for row in rows)


def _compute(
    store: sqlite3.Connection, table: SqlTable, day: str, window: tuple[int, int]
) -> list[Row]:
    deadline = time.monotonic() + BUILD_SECONDS
    store.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        return _execute(store, table.file, table.text, day, window)[1]
    finally:
        store.set_progress_handler(None, 0)


def _compute_on_postgres(
    store: "PostgresConnection", table: SqlTable, day: str, window: tuple[int, int]
) -> list[Row]:
    from streaming.store.postgres_sql import SqlTimeout, select

    try:
        with closing(select(store.raw, _statement(table.text, day, window), BUILD_SECONDS)) as rows:
            return list(islice(rows, MAX_ROWS + 1))
    except SqlTextError as error:
        raise SqlError(f"{table.file}: {error}") from None
    except SqlTimeout:
        raise _too_slow(table.file, day) from None


def _execute(
    connection: sqlite3.Connection, file: Path, text: str, day: str, window: tuple[int, int]
) -> tuple[list[str], list[Row]]:
    """Return the columns of a statement over events, and its rows up to one too many."""
    access = ReadOnlyAccess(connection, (EVENTS,))
    try:
        cursor = connection.execute(text, {DAY: day, "start_at": window[0], "end_at": window[1]})
        return [column[0] for column in cursor.description or ()], cursor.fetchmany(MAX_ROWS + 1)
    except (sqlite3.Error, sqlite3.Warning) as error:
        if is_of_the_text(error):
            raise SqlError(f"{file}: {access.explain(connection, text, error)}") from None
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise _too_slow(file, day) from None
        raise
    finally:
        access.end()


def _too_slow(file: Path, day: str) -> SqlError:
    return SqlError(f"{file} takes more than {BUILD_SECONDS:g} s for {day}.")


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows in one order, whatever their values are: a digest is of the rows alone."""
    return sorted(rows, key=lambda row: [_order(value) for value in row])


def _order(value: Any) -> tuple[int, Any, str]:  # noqa: ANN401 - a value of SQLite
    if value is None:
        return 0, 0, ""
    # 1 and 1.0 are equal, but print differently: without the type their order would be chance.
    return 2 if isinstance(value, str) else 1, value, type(value).__name__


def forget_sql_days(store: StoreConnection, days: Collection[str]) -> None:
    """Delete the rows and builds of days, whose events name somebody who is erased now.

    Under whichever name a text shows users, no row with one is left; the days are built again.
    """
    for name in list_sql_tables(store):
        for day in set(days):
            store.execute(f'DELETE FROM "{name}" WHERE day = ?', (day,))  # noqa: S608 - the schema's
            store.execute(
                "DELETE FROM table_build WHERE table_name = ? AND partition = ?", (name, day)
            )


def drop_sql_table(settings: Settings, name: str, *, apply: bool) -> int:
    """Delete a table of a file with its builds if `apply`; return how many rows it has.

    A table whose builds all failed was never made, and has no rows: its failures are deleted.
    Raises `NotFound` if there is neither, and `UsageError` if its file is there still.
    """
    table_name = name if is_sql_table(name) else f"{PREFIX}{name}"
    if any(table.name == table_name for table in read_sql_tables(settings).tables):
        raise UsageError(f"The file of {table_name} is in {settings.sql}; remove it first.")
    with write_store(settings) as store:
        failed = "SELECT 1 FROM build_failure WHERE table_name = ? LIMIT 1"
        is_made = table_name in list_sql_tables(store)
        if not is_made and store.execute(failed, (table_name,)).fetchone() is None:
            require_sql_table(store, table_name)
        count = f'SELECT count(*) FROM "{table_name}"'  # noqa: S608 - the schema's
        rows = int(store.execute(count).fetchone()[0]) if is_made else 0
        if not apply:
            return rows
        if is_made:
            store.execute(f'DROP TABLE "{table_name}"')
        for table in ("table_build", "build_failure"):
            store.execute(f"DELETE FROM {table} WHERE table_name = ?", (table_name,))  # noqa: S608 - constants
    return rows


def require_sql_table(store: StoreConnection, name: str) -> None:
    """Raise `NotFound` unless the database has the table of a file."""
    if name not in (stored := list_sql_tables(store)):
        raise NotFound(f"There is no table {name}; there are: {', '.join(stored) or 'none'}.")


def read_columns(store: StoreConnection, name: str) -> list[str]:
    """Return the columns of a table, the day first."""
    cursor = store.execute(f'SELECT * FROM "{name}" LIMIT 0')  # noqa: S608 - the schema's
    return [column[0] for column in cursor.description]


def list_sql_tables(store: StoreConnection) -> list[str]:
    """Return the tables of files that the database has."""
    return [name for name in list_tables(store) if is_sql_table(name)]
