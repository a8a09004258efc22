"""How PostgreSQL makes, fills and lists tables: see `table_dialect`, which alone imports this."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from streaming.store.postgres import PostgresConnection

_TYPES: Final = {int: "BIGINT", str: "TEXT", bytes: "BYTEA"}
_COLUMNS: Final = (
    "SELECT c.relname, a.attname, coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
    " WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
    " ORDER BY c.relname, a.attnum"
)
_SEQUENCES: Final = (
    "SELECT c.relname, a.attname,"
    " pg_get_serial_sequence(quote_ident(c.relname), a.attname)"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped"
    " WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
    " AND pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS NOT NULL"
)


def create_temporary(
    connection: PostgresConnection, name: str, columns: Mapping[str, type], key: Sequence[str]
) -> None:
    """Create a temporary table."""
    parts = [f'"{column}" {_TYPES[kind]}' for column, kind in columns.items()]
    if key:
        parts.append(f"PRIMARY KEY ({_quote_names(key)})")
    connection.execute(f"CREATE TEMP TABLE {name} ({', '.join(parts)})")


def fill_table(
    connection: PostgresConnection, name: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows, whose values are in the order of the columns."""
    statement = f"COPY {name} ({_quote_names(columns)}) FROM STDIN"
    with connection.raw.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def finish_load(connection: PostgresConnection) -> None:
    """Let the next row that is inserted follow the last, and let statements be planned well."""
    for table, column, sequence in connection.execute(_SEQUENCES).fetchall():
        connection.execute(
            f'SELECT setval(?, coalesce(max("{column}"), 0) + 1, false) FROM "{table}"',  # noqa: S608 - the schema's
            (sequence,),
        )
    connection.execute("ANALYZE")


def content_of_rows(columns: Mapping[str, type], rows: str, key: str, *, is_view: bool) -> str:  # noqa: ARG001 - SQLite's
    """Return the SELECT of bytes that differ if a value of the columns does."""
    # A row as text has quotes around what would be read as another one.
    row = f"ROW({_quote_names(columns)})::text"
    ordered = f"(SELECT {row} AS one {rows} ORDER BY {key}) AS ordered"
    return f"SELECT convert_to(string_agg(one, chr(10)), 'UTF8') FROM {ordered}"  # noqa: S608 - own text


def list_columns(connection: PostgresConnection) -> list[tuple[str, str, int]]:
    """Return table, name and place in the key (0 if not of it) of all columns, in their order."""
    return connection.execute(_COLUMNS).fetchall()


def has_view(connection: PostgresConnection, name: str) -> bool:
    """Return whether there is a view of this name."""
    statement = "SELECT 1 FROM pg_views WHERE schemaname = current_schema() AND viewname = ?"
    return connection.execute(statement, (name,)).fetchone() is not None


def _quote_names(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
