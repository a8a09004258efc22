"""SQL of a user's on PostgreSQL: what it may do, its rows, and where in its text it is wrong.

What `sql_access` does on SQLite. The server itself says which functions and tables a text names:
it makes a view of it, whose tree is read, and forgets the view. So no second parser can be fooled.
"""

import re
import time
from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import psycopg
from psycopg import sql as composed
from psycopg.pq import ExecStatus

from streaming.store.connection import connect_current
from streaming.store.postgres import PostgresConnection, store_errors
from streaming.store.sql_access import MAX_VALUE_BYTES, SqlTextError, line_and_column
from streaming.system.database import PostgresDatabase

READER: Final = "purchases_reader"
"""The role that statements run by, if it may read this store and the user may take it.

It is one of the whole server, where other databases may have made it.
"""
FETCH_ROWS: Final = 1000
"""Of one round trip: few trips, and little of a long answer in memory at once."""
CHECK_SECONDS: Final = 10.0
"""How long the server may parse a text, which takes milliseconds unless somebody wants it long."""

_HARMLESS: Final = ("clock_timestamp", "gen_random_uuid", "random", "random_normal", "timeofday")
"""Of the functions that may give something else each time, or do something."""
_HARMFUL: Final = (
    r"^(pg_(?!typeof$)|current_setting$|getpgusername$|inet_|system_user$|txid_)|_to_xml"
)
"""Functions that only look, but at the server and its sessions, or at any table by its name."""
_NAMED: Final = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)")
_RELATIONS: Final = re.compile(r":relid (\d+)")
# Of type name (19): user, current_user, current_schema … but no date and no time.
_SESSION_NAME: Final = re.compile(r"\{SQLVALUEFUNCTION :op \d+ :type 19 ")

# What may have a colon in it is skipped as a whole.
_PART: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'[^']*'|"[^"]*"|(?P<tag>\$\w*\$).*?(?P=tag)
    |(?<![:\w]):(?P<name>[a-z_]+)""",
    re.DOTALL | re.VERBOSE,
)
MAX_DIGITS: Final = 4000
"""Of a whole number; Python reads no more than 4,300."""
_NEAR: Final = re.compile(r'syntax error at or near "(\w+)"')

_LIMITS: Final = """
SELECT set_config('statement_timeout', %(limit)s, true),
  set_config('cursor_tuple_fraction', '1', true), set_config('bytea_output', 'hex', true)
"""
_DECLARE: Final = "DECLARE rows_of_a_user NO SCROLL CURSOR FOR "
_TREE: Final = (
    "SELECT ev_action::text FROM pg_rewrite WHERE ev_class = 'pg_temp.sql_of_a_user'::regclass"
)
_BAD_FUNCTIONS: Final = """
SELECT proname FROM pg_proc WHERE oid = ANY(%(oids)s) AND NOT (
  pronamespace = 'pg_catalog'::regnamespace AND CASE provolatile WHEN 'i' THEN true
  WHEN 's' THEN proname !~ %(harmful)s ELSE proname = ANY(%(harmless)s) END
) ORDER BY proname
"""
# The mappings of users to other servers have passwords.
_BAD_TABLES: Final = """
SELECT CASE relnamespace WHEN current_schema()::regnamespace THEN '' ELSE
  relnamespace::regnamespace || '.' END || relname FROM pg_class
WHERE oid = ANY(%(oids)s) AND oid <> 'pg_temp.sql_of_a_user'::regclass AND NOT (
  relnamespace = current_schema()::regnamespace AND (relname = ANY(%(tables)s) OR %(all)s)
  OR %(all)s AND relnamespace = 'information_schema'::regnamespace
  AND relname !~ 'user_mapping'
) ORDER BY relname
"""
_MAY_BE_READER: Final = """
SELECT count(*) FROM pg_roles WHERE rolname = %(reader)s AND pg_has_role(oid,
  CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
  AND has_table_privilege(oid, to_regclass('live_totals'), 'SELECT')
"""
_INTEGERS: Final = frozenset({16, 20, 21, 23, 26})
_FLOATS: Final = frozenset({700, 701})
_BOOLEAN, _BYTES, _NUMERIC = 16, 17, 1700
_TYPES: Final = {
    **dict.fromkeys(_INTEGERS, "bigint"),
    **dict.fromkeys(_FLOATS, "double precision"),
    _NUMERIC: "numeric",
}
"""By the number of a type: the type of a column that keeps such values; all others are texts."""
_OF_THE_TEXT: Final = ("0A", "21", "22", "42", "53100", "53200", "53400", "54")
"""By the beginning of the SQLSTATE: another text would not have the error."""

Raw = psycopg.Connection[Any]
Cell = str | int | float | bytes | None
Rows = Generator[tuple[Cell, ...], None, None]


@dataclass(frozen=True)
class Statement:
    """A statement as a user wrote it, and the literals by the names that stand for them in it."""

    text: str
    literals: tuple[tuple[str, str], ...] = ()

    @property
    def filled_text(self) -> str:
        """The statement with the literals: views and cursors have no parameters."""
        return _PART.sub(self._fill_literal, self.text)

    def locate(self, position: int) -> str:
        """Return line and column, as the user wrote it, of a character of the filled text."""
        longer = 0
        for part in _PART.finditer(self.text):
            literal = self._fill_literal(part)
            if position < part.start() + longer + len(literal):
                position = min(position, part.start() + longer)
                break
            longer += len(literal) - len(part[0])
        line, column = line_and_column(self.text, position - longer)
        return f"line {line}, column {column}"

    def _fill_literal(self, part: re.Match[str]) -> str:
        return dict(self.literals).get(part["name"] or "", part[0])


class SqlTimeout(Exception):
    """A statement that took longer than it may."""


def check_sql(
    raw: Raw, statement: Statement, tables: Collection[str] | None = None
) -> list[tuple[str, str]]:
    """Return the columns of a statement, each with the type that keeps its values in a table.

    Raises `SqlTextError` if it is not valid, does more than read, reads what is not in `tables`
    (None: any of ours), or takes too long to say so. The connection must be outside of a
    transaction.
    """
    try:
        return _check(raw, statement, tables)
    except psycopg.errors.QueryCanceled:
        raise SqlTextError(f"The SQL takes over {CHECK_SECONDS:g} s to be checked.") from None


def _check(raw: Raw, statement: Statement, tables: Collection[str] | None) -> list[tuple[str, str]]:
    with raw.transaction(force_rollback=True):
        _become_reader(raw)
        limit = f"{CHECK_SECONDS * 1000:.0f}ms"
        raw.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
        try:
            _require_success(raw.pgconn.prepare(b"", statement.filled_text.encode()))
        except psycopg.Error as error:
            raise _explain(error, statement) from None
        described = raw.pgconn.describe_prepared(b"")
        columns = [
            ((described.fname(n) or b"").decode(), _TYPES.get(described.ftype(n), "text"))
            for n in range(described.nfields)
        ]
        # Of two columns with one name, or of none, no view could be made.
        names = ", ".join(f"c{n}" for n in range(len(columns)))
        begin = f"CREATE TEMP VIEW sql_of_a_user {f'({names})' if names else ''} AS "
        try:
            _execute(raw, f"{begin}{statement.filled_text}")
        except psycopg.Error as error:
            said = _explain_other(error, tables) or _explain(error, statement, len(begin))
            raise said from None
        _check_tree(raw, tables)
    if not columns:
        raise SqlTextError("The SQL has no columns; name some after SELECT.")
    return columns


@lru_cache(maxsize=1024)
def describe(
    database: PostgresDatabase, statement: Statement, tables: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return what `check_sql` does, once for each statement in the life of this process.

    Raises what that and `open_reader` do.
    """
    # Without tables of this version the server cannot know any column.
    connection = cast("PostgresConnection", connect_current(database, read_only=True))
    with closing(connection), store_errors(database):
        return check_sql(connection.raw, statement, tables)


def select(raw: Raw, statement: Statement, seconds: float) -> Rows:
    """Yield the rows of a checked statement, inside the caller's snapshot, which only reads.

    Raises `SqlTextError` for what is wrong with it, and `SqlTimeout` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    # All of it is undone at the end: the role, the limit, and an error of the statement.
    with raw.transaction(force_rollback=True):
        _become_reader(raw)
        limit = f"{max(round(seconds * 1000), 1)}ms"
        raw.execute(_LIMITS, {"limit": limit})
        try:
            _execute(raw, f"{_DECLARE}{statement.filled_text}")
            while rows := _fetch(raw):
                yield from rows
                if time.monotonic() > deadline:
                    raise SqlTimeout
        except psycopg.errors.QueryCanceled:
            raise SqlTimeout from None
        except psycopg.Error as error:
            raise _explain(error, statement, len(_DECLARE)) from None


def _become_reader(raw: Raw) -> None:
    """Take the role that may only read, if there is one, and see the tables of our schema only."""
    (schema,) = raw.execute("SELECT current_schema()").fetchone() or ("public",)
    raw.execute(composed.SQL("SET LOCAL search_path = {}").format(composed.Identifier(schema)))
    (is_there,) = raw.execute(_MAY_BE_READER, {"reader": READER}).fetchone() or (0,)
    if is_there:
        raw.execute(composed.SQL("SET LOCAL ROLE {}").format(composed.Identifier(READER)))


def _execute(raw: Raw, statement: str) -> None:
    """Execute one statement: this protocol refuses a second one behind it."""
    _require_success(raw.pgconn.exec_params(statement.encode(), []))


def _require_success(result: Any) -> None:  # noqa: ANN401 - psycopg's result, of C or Python
    if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
        raise psycopg.errors.error_from_result(result, encoding="utf-8")


def _check_tree(raw: Raw, tables: Collection[str] | None) -> None:
    """Refuse the view if it names a function or a table that no statement may."""
    row = raw.execute(_TREE).fetchone()
    assert row is not None  # noqa: S101 - every view has a rule
    tree = str(row[0])
    if _SESSION_NAME.search(tree):
        raise SqlTextError(
            "The SQL is not valid: user, current_user and current_schema are words of PostgreSQL;"
            ' the column is "user", in quotation marks.'
        )
    if ":hasForUpdate true" in tree:
        raise SqlTextError(_refusal_sentence("FOR UPDATE", tables))
    functions = {"oids": _oids(_NAMED, tree), "harmful": _HARMFUL, "harmless": list(_HARMLESS)}
    for (name,) in raw.execute(_BAD_FUNCTIONS, functions):
        raise SqlTextError(_refusal_sentence(f"the function {name}", tables))
    relations = {"oids": _oids(_RELATIONS, tree), "tables": list(tables or ())}
    for (name,) in raw.execute(_BAD_TABLES, {**relations, "all": tables is None}):
        raise SqlTextError(_refusal_sentence(f"the table {name}", tables))


def _oids(pattern: re.Pattern[str], tree: str) -> list[int]:
    return sorted({int(oid) for oid in pattern.findall(tree)})


def _refusal_sentence(what: str, tables: Collection[str] | None) -> str:
    return f"SQL may only read {', '.join(tables or ('the database',))}: {what} is refused."


def _explain(error: psycopg.Error, statement: Statement, offset: int = 0) -> Exception:
    """Return the sentence about an error of a statement, or the error if it is not of its text.

    The server was given as many characters before it as `offset`.
    """
    code, message = error.sqlstate or "", (error.diag.message_primary or str(error)).rstrip(".")
    if not code.startswith(_OF_THE_TEXT):
        return error
    if code.startswith("53"):
        return SqlTextError(f"The SQL needs more than the server gives it: {message}.")
    if code == "42501":
        return SqlTextError(f"The SQL reads what it may not: {message}.")
    where = ""
    if (position := error.diag.statement_position) is not None:
        where = f"{statement.locate(int(position) - 1 - offset)}: "
    return SqlTextError(f"The SQL is not valid: {where}{message}.")


def _explain_other(error: psycopg.Error, tables: Collection[str] | None) -> SqlTextError | None:
    """Return the sentence about a valid statement that a view cannot have, None if it is another.

    A view has one SELECT, and so neither a change nor what gives no value.
    """
    message = error.diag.message_primary or ""
    if message == "syntax error at end of input":
        return SqlTextError("The SQL has no statement; begin with SELECT.")
    if (word := _NEAR.fullmatch(message)) is not None:
        return SqlTextError(_refusal_sentence(word[1].upper(), tables))
    if message.startswith("views must not contain"):
        return SqlTextError(_refusal_sentence("a change", tables))
    if message.endswith("has pseudo-type void"):
        return SqlTextError(_refusal_sentence("a function without a value", tables))
    return None


def _fetch(raw: Raw) -> list[tuple[Cell, ...]]:
    # Awaited by psycopg, so that Ctrl-C ends it.
    result = raw.execute(f"FETCH {FETCH_ROWS} FROM rows_of_a_user".encode()).pgresult
    assert result is not None  # noqa: S101 - a FETCH has one
    types = [result.ftype(column) for column in range(result.nfields)]
    return [
        tuple(_cell(kind, result.get_value(row, n)) for n, kind in enumerate(types))
        for row in range(result.ntuples)
    ]


def _cell(kind: int, text: bytes | None) -> Cell:
    """Return a value as SQLite has it, of a number of a type and the server's text."""
    if text is None:
        return None
    if len(text) > MAX_VALUE_BYTES:
        raise SqlTextError(f"The SQL makes a value of over {MAX_VALUE_BYTES:,} bytes.")
    if kind == _BOOLEAN:
        return int(text == b"t")
    if kind == _BYTES:
        return bytes.fromhex(text[2:].decode())
    if kind in _INTEGERS or (kind == _NUMERIC and text.lstrip(b"-").isdigit()):
        if len(text) > MAX_DIGITS:
            raise SqlTextError(f"The SQL makes a whole number of over {MAX_DIGITS:,} digits.")
        return int(text)
    return float(text) if kind in _FLOATS or kind == _NUMERIC else text.decode(errors="replace")
