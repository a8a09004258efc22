"""The schema on PostgreSQL: the same tables and views as the migrations make on SQLite.

A new database gets them from an empty SQLite file in memory, so that there is one definition of
each. What is different is here: the numbers of rows, the triggers, and how views show values.
"""

import re
from contextlib import closing
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    create_engine,
)
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import BLOB

from streaming.store.connection import (
    SCHEMA_VERSION,
    connect,
    newer_schema,
    schema_version,
    store_errors,
)
from streaming.store.engine import engine_over
from streaming.store.migrations import readable
from streaming.store.postgres import PostgresConnection
from streaming.system.database import PostgresDatabase
from streaming.units import TRILLION

SCHEMA_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('purchases schema'))"
"""Of several processes that start at once, one makes the tables."""

FIRST_MILLISECOND: Final = -62_135_596_800_000
LAST_MILLISECOND: Final = 253_402_300_799_999
"""Of the years 1 to 9999 (ms since 1970): beyond them the server refuses the whole statement."""

_SUMS: Final = (
    "events",
    "items_sold",
    "gross_revenue_micros",
    "net_revenue_micros",
    "gross_revenue_trillions",
    "net_revenue_trillions",
)


def upgrade_schema(database: PostgresDatabase) -> None:
    """Make the tables of an empty database, or run the migrations that it lacks, in a transaction.

    A backup before is its administrator's. Raises `Mismatch` for a newer schema, and what
    `store_errors` does.
    """
    from streaming.store.schema import MIGRATION_LOCK_SECONDS, run_migrations

    with closing(connect(database)) as connection, store_errors(database):
        if schema_version(connection, database) == SCHEMA_VERSION:
            return
    engine = engine_over(database, lock_seconds=MIGRATION_LOCK_SECONDS)
    try:
        with store_errors(database), engine.begin() as writer:
            writer.exec_driver_sql(SCHEMA_LOCK)
            raw: Any = writer.connection.driver_connection
            # Another process may have made them meanwhile.
            version = schema_version(PostgresConnection(raw), database)
            if version > SCHEMA_VERSION:
                raise newer_schema(database, version)
            if version:
                run_migrations(writer, "head")
            else:
                create_schema(writer)
    finally:
        engine.dispose()


def create_schema(connection: Connection) -> None:
    """Make all tables, views and triggers in the caller's transaction, and record the version."""
    views = _copy_tables(connection)
    for statement in [*map(translate_view, views), *_triggers()]:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        "INSERT INTO alembic_version (version_num) VALUES (?)", (f"{SCHEMA_VERSION:04d}",)
    )


def _copy_tables(connection: Connection) -> list[str]:
    """Make the tables that the migrations make, and return the text of their views."""
    from streaming.store.schema import run_migrations

    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as empty:
        run_migrations(empty, "head")
        metadata = MetaData()
        metadata.reflect(empty)
        query = "SELECT sql FROM sqlite_master WHERE type = 'view' ORDER BY name"
        views = list(empty.exec_driver_sql(query).scalars())
    engine.dispose()
    for table in metadata.tables.values():
        _adapt(table)
    metadata.create_all(connection, checkfirst=False)
    return views


def _adapt(table: Table) -> None:
    for column in table.columns:
        if isinstance(column.type, BLOB):
            column.type = LargeBinary()
    if table.name == "correction":
        # An INTEGER has 64 bits on SQLite, and 32 here.
        table.columns["id"].type = BigInteger()
    if table.name == "analytics_event":
        # SQLite numbers rows by itself. Batches are committed in the order of these numbers.
        table.append_column(Column("rowid", BigInteger, Identity(always=False), unique=True))


def translate_view(statement: str) -> str:
    """Return a view of SQLite in PostgreSQL's functions: its helpers' text is exchanged."""
    for name in sorted(set(re.findall(r"[a-z_]+", statement)), key=len, reverse=True):
        for on_sqlite, here in (
            (readable.utc(name), _utc(name)),
            (readable.utc_of_milliseconds(name), _utc_of_milliseconds(name)),
            (readable.event_id(name), _event_id(name)),
        ):
            statement = statement.replace(on_sqlite, here)
        trillions, micros = f"{name}_trillions", f"{name}_micros"
        statement = statement.replace(
            readable.money_sum(trillions, micros), _money_sum(trillions, micros)
        ).replace(readable.money(name), _money(name))
    for on_sqlite, here in _OTHER_PARTS:
        statement = statement.replace(on_sqlite, here)
    statement = re.sub(r"\biif\(([^,]+), ([^,]+), ([^)]+)\)", _CASE, statement)
    # A bare `user` is a keyword.
    return re.sub(r'(?<!")\buser\b(?!")', '"user"', statement)


_OTHER_PARTS: Final = (
    (
        "strftime('%Y-%m-%d %H:%M', hour / 1000000 + utc_offset, 'unixepoch')",
        "to_char(timestamp 'epoch' + (hour / 1000000 + utc_offset) * interval '1 s',"  # noqa: ISC004
        " 'YYYY-MM-DD HH24:MI')",
    ),
    (
        "printf('%02d:%02d', abs(utc_offset) / 3600, abs(utc_offset) % 3600 / 60)",
        "to_char(abs(utc_offset) * interval '1 second', 'HH24:MI')",
    ),
    ("date(epoch_day * 86400, 'unixepoch')", "(date '1970-01-01' + epoch_day)"),
    (" NOT NULL)", " IS NOT NULL)"),
)
_CASE: Final = r"CASE WHEN \1 THEN \2 ELSE \3 END"


def _utc(column: str) -> str:
    # By whole days, because an interval times a number is computed with floats.
    return (
        f"to_char(timestamp 'epoch' + ({column} / 86400000000) * interval '1 day'"
        f" + ({column} % 86400000000) * interval '1 microsecond', 'YYYY-MM-DD HH24:MI:SS.US')"
    )


def _event_id(column: str) -> str:
    packed = f"encode({column}, 'hex')::uuid::text"
    return f"CASE length({column}) WHEN 16 THEN {packed} ELSE convert_from({column}, 'UTF8') END"


def _utc_of_milliseconds(column: str) -> str:
    # A record's time is any number of 64 bits, as on a topic with CreateTime its sender chooses it.
    return (
        f"CASE WHEN {column} BETWEEN {FIRST_MILLISECOND} AND {LAST_MILLISECOND} THEN"
        f" to_char(timestamp 'epoch' + ({column} / 86400000) * interval '1 day'"
        f" + ({column} % 86400000) * interval '1 millisecond', 'YYYY-MM-DD HH24:MI:SS.MS') END"
    )


def _money(column: str) -> str:
    return f"CASE WHEN {column} IS NOT NULL THEN {_decimal(column)} END"


def _money_sum(trillions: str, micros: str) -> str:
    return _decimal(f"({trillions} * {TRILLION}::numeric + {micros})")


def _decimal(micros: str) -> str:
    # Multiplied, because a quotient is rounded to some 16 digits.
    return f"to_char({micros} * 0.000001, 'FM{'9' * 32}0.009999')"


def _triggers() -> list[str]:
    """Return what keeps `monthly_item_sales` equal to the sums of its days, and archived files.

    By statement, because a build writes thousands of rows of a day with one.
    """
    # Two builds of one month would wait for each other's items in a circle.
    lock = "LOCK TABLE monthly_item_sales IN SHARE ROW EXCLUSIVE MODE;"
    of_statement = " FOR EACH STATEMENT"
    statements: list[str] = []
    for event, body, rows in (
        ("insert", _ADD, "NEW TABLE AS new_rows"),
        ("delete", _TAKE, "OLD TABLE AS old_rows"),
        ("update", _TAKE + _ADD, "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ):
        when = f"AFTER {event.upper()} ON daily_item_sales REFERENCING {rows}{of_statement}"
        statements += _trigger(f"daily_item_sales_{event}", when, f"{lock} {body} RETURN NULL;")
    when = "BEFORE DELETE ON column_file FOR EACH ROW WHEN (old.archived > 0)"
    refuse = "RAISE EXCEPTION 'the file is the only copy of events';"
    return [*statements, *_trigger("column_file_kept", when, refuse)]


def _trigger(name: str, when: str, body: str) -> tuple[str, str]:
    function = f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
    return (
        f"{function} $$ BEGIN {body} END $$",
        f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {name}()",
    )


_NAMES: Final = ", ".join(_SUMS)
_OF_MONTHS: Final = "SELECT date_trunc('month', day)::date AS month, item, " + ", ".join(
    f"sum({name}) AS {name}" for name in _SUMS
)
_TAKE: Final = f"""
    UPDATE monthly_item_sales m SET {", ".join(f"{name} = m.{name} - t.{name}" for name in _SUMS)}
    FROM ({_OF_MONTHS} FROM old_rows GROUP BY 1, 2) t
    WHERE m.month = t.month AND m.item = t.item;
"""
_ADD: Final = f"""
    INSERT INTO monthly_item_sales AS m (month, item, {_NAMES})
    {_OF_MONTHS} FROM new_rows GROUP BY 1, 2 ON CONFLICT (month, item)
    DO UPDATE SET {", ".join(f"{name} = m.{name} + excluded.{name}" for name in _SUMS)};
"""
