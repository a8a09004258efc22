"""What SQL of a user's may do on a connection, and where in its text it is wrong.

It may read, and nothing else. Who runs it, and for how long, is in `sql_query` and in builds.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator
from typing import Final

MAX_VALUE_BYTES: Final = 1024 * 1024
"""The longest text or blob that a statement may make; no stored value is as long."""

_READS: Final = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_NAMES: Final = {
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "a transaction",
    sqlite3.SQLITE_SAVEPOINT: "SAVEPOINT",
}
_OF_THE_TEXT: Final = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_READONLY,
}
_MESSAGE: Final = re.compile(
    r"""near\ "(?P<near>.+)":\ syntax\ error
    |(?:no\ such\ (?:column|table|function)|ambiguous\ column\ name):\ (?P<missing>\S+)
    |(?:wrong\ number\ of\ arguments\ to|misuse\ of\ \w+)\ \w*\ ?(?P<function>\w+)""",
    re.VERBOSE | re.DOTALL,
)


class SqlTextError(Exception):
    """What is wrong with a user's SQL, as a sentence."""


def is_of_the_text(error: Exception) -> bool:
    """Return whether another text would not have the error; others are of the file."""
    # The module's own errors, such as of two statements in a text, have no code. The lowest byte is
    # the kind of an extended code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return isinstance(error, sqlite3.Error | sqlite3.Warning) and code & 0xFF in _OF_THE_TEXT


class ReadOnlyAccess:
    """The restriction of a connection to reading, which knows what it refused last."""

    def __init__(
        self, connection: sqlite3.Connection, tables: Collection[str] | None = None
    ) -> None:
        """Restrict it, to `tables` if they are given."""
        self._connection = connection
        self._tables = tables
        self._refused: str | None = None
        self._limit = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        connection.set_authorizer(self._authorize)

    def end(self) -> None:
        """Lift the restriction."""
        self._connection.set_authorizer(None)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._limit)

    def _authorize(self, action: int, first: object, name: object, *_rest: object) -> int:
        if action not in _READS:
            self._refused = _NAMES.get(action, "a change")
        # An extension is any code, and a build of SQLite may permit it by default.
        elif action == sqlite3.SQLITE_FUNCTION and name == "load_extension":
            self._refused = "load_extension"
        elif action == sqlite3.SQLITE_READ and self._tables and first not in self._tables:
            self._refused = f"the table {first}"
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def explain(self, connection: sqlite3.Connection, sql: str, error: Exception) -> str:
        """Return the sentence about an error of a statement, with the place in its text."""
        if self._refused is not None:
            what = "the database" if self._tables is None else ", ".join(self._tables)
            return f"SQL may only read {what}: {self._refused} is refused."
        message = str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_TOOBIG:
            return f"The SQL makes a value of over {MAX_VALUE_BYTES:,} bytes."
        position = _find(connection, sql, message)
        if position is None:
            return f"The SQL is not valid: {message.rstrip('.')}."
        line, column = line_and_column(sql, position)
        return f"The SQL is not valid: line {line}, column {column}: {message.rstrip('.')}."


def line_and_column(sql: str, position: int) -> tuple[int, int]:
    """Return the line and the column of a character, both from 1."""
    before = sql[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _find(connection: sqlite3.Connection, sql: str, message: str) -> int | None:
    """Return the position that an error's message is about, which Python's module does not tell."""
    if message == "incomplete input":
        return len(sql.rstrip())
    match = _MESSAGE.match(message)
    if match is None:
        return None
    if (near := match["near"]) is not None:
        return next(_syntax_errors(connection, sql, near), None)
    name = (match["missing"] or match["function"]).rpartition(".")[2]
    position = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)
    return None if position is None else position.start()


def _syntax_errors(connection: sqlite3.Connection, sql: str, near: str) -> Iterator[int]:
    """Yield the positions of a word up to which the text is as wrong as all of it.

    The parser stops at the first word that does not fit, so that the text before it is only
    incomplete.
    """
    for word in re.finditer(re.escape(near), sql):
        try:
            connection.execute(f"EXPLAIN {sql[: word.end()]}")
        except sqlite3.Error as error:
            if str(error).startswith(f'near "{near}"'):
                yield word.start()
