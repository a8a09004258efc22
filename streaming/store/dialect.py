"""What the two databases say in other words: one function for both, chosen by the connection.

Statements that both take, with the same result, are the rule; what is here is the exception. How
each says it is in `sqlite` and `postgres`.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from streaming.store.connection import StoreConnection

if TYPE_CHECKING:
    from streaming.store.postgres import PostgresConnection

Period = Literal["day", "week", "month"]
Kind = Literal["text", "real", "integer"]

_PERIODS_ON_SQLITE: Final[dict[Period, str]] = {
    "day": "date({seconds}, 'unixepoch')",
    # The Monday of the week: six days before the next Sunday.
    "week": "date({seconds}, 'unixepoch', 'weekday 0', '-6 days')",
    "month": "strftime('%Y-%m-01', {seconds}, 'unixepoch')",
}

_KINDS_ON_POSTGRES: Final = {
    "text": "'text'",
    "double precision": "'real'",
    "bigint": "'integer'",
    # Sums of integers are numeric, and quotients are too.
    "numeric": """CASE WHEN bool_or(scale("{column}") > 0) THEN 'real' END""",
}
"""By the types that a table of a user's is made of."""


def engine_version(store: StoreConnection) -> str:
    """Return the name and the version of the database's program."""
    if isinstance(store, sqlite3.Connection):
        return f"SQLite {sqlite3.sqlite_version}"
    (version,) = store.execute("SHOW server_version").fetchone()
    return f"PostgreSQL {version.split()[0]}"


def list_tables(store: StoreConnection) -> list[str]:
    """Return the names of all tables of the store, in order."""
    if isinstance(store, sqlite3.Connection):
        rows = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return sorted(name for (name,) in rows)
    from streaming.store import postgres

    return sorted(postgres.table_names(cast("PostgresConnection", store)))


def column_kinds(store: StoreConnection, table: str) -> dict[str, Kind]:
    """Return the columns of a table, whichever it is, each with the kind of its values.

    It is `text` if one of them is a text, else `real` if one is a float, else `integer`.
    """
    if isinstance(store, sqlite3.Connection):
        # A table of a user's has no types: each value has its own.
        none = store.execute(f'SELECT * FROM "{table}" LIMIT 0')  # noqa: S608 - the schema's
        columns = [column[0] for column in none.description]
        kinds = ", ".join(f'group_concat(DISTINCT typeof("{column}"))' for column in columns)
    else:
        rows = store.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
            (table,),
        )
        types = dict(rows.fetchall())
        columns = list(types)
        kinds = ", ".join(_KINDS_ON_POSTGRES[types[c]].format(column=c) for c in columns)
    kinds_of_columns = store.execute(f'SELECT {kinds} FROM "{table}"').fetchone()  # noqa: S608 - the schema's
    return {
        column: next((kind for kind in ("text", "real") if kind in (of_values or "")), "integer")
        for column, of_values in zip(columns, kinds_of_columns, strict=True)
    }


def index_hint(store: StoreConnection, index: str) -> str:
    """Return what stands behind a table so that SQLite, which has no statistics, uses an index."""
    return f"INDEXED BY {index}" if isinstance(store, sqlite3.Connection) else ""


def contains(store: StoreConnection, column: str, parameter: str) -> str:
    """Return the condition that a column is LIKE a parameter, whatever the case of A to Z.

    A wildcard after a backslash stands for itself.
    """
    # Only LIKE of SQLite ignores the case; a call of `lower` for each row would double the time.
    like = "LIKE" if isinstance(store, sqlite3.Connection) else "ILIKE"
    return f"{column} {like} {parameter} ESCAPE '\\'"


def is_one_of(store: StoreConnection, column: str, values: Sequence[str]) -> tuple[str, object]:
    """Return the condition that a column is one of any number of texts, and its one parameter."""
    if isinstance(store, sqlite3.Connection):
        return f'"{column}" IN (SELECT value FROM json_each(?))', json.dumps(list(values))  # noqa: S608 - own names
    return f'"{column}" = ANY(?)', list(values)


def start_of_period(store: StoreConnection, period: Period, seconds: str) -> str:
    """Return the first day, as ISO text, of the period of a time: seconds on a wall clock."""
    if isinstance(store, sqlite3.Connection):
        return _PERIODS_ON_SQLITE[period].format(seconds=seconds)
    moment = f"timestamp 'epoch' + ({seconds}) * interval '1 second'"
    return f"CAST(CAST(date_trunc('{period}', {moment}) AS date) AS text)"


def read_in_pieces(
    store: StoreConnection, statement: str, values: Sequence[Any], rows: int
) -> Iterator[list[Any]]:
    """Yield the rows of a statement so many at a time: no more of them are in memory."""
    if isinstance(store, sqlite3.Connection):
        cursor = store.execute(statement, values)
        while piece := cursor.fetchmany(rows):
            yield piece
        return
    from streaming.store import postgres_rows

    yield from postgres_rows.read_in_pieces(
        cast("PostgresConnection", store), statement, values, rows
    )
