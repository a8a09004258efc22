"""A day of tables of `.sql` files: their rows, and the creation of a table before the first.

The table is made of the statement's columns, so that no migration knows it.
"""

from collections.abc import Iterable
from datetime import date
from itertools import zip_longest
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, inspect

from assets.builds.event_reader import NO_FIGURES, EventRange
from assets.tables.calendar import day_window
from assets.tables.sql_transform import AnyTransform, SqlTransform
from streaming.store.archive import list_archive
from streaming.store.build_rows import lock_partitions
from streaming.store.connection import StoreConnection
from streaming.store.sql_tables import Row, SqlError, compute_day, is_sql_table


def compute_sql_day(
    store: StoreConnection,
    transform: SqlTransform,
    partition: str,
    events: EventRange,
    zone: ZoneInfo,
) -> list[Row]:
    """Return the rows of a day, by the statement over the rows of its events.

    Raises `SqlError`, also if the database has fewer rows of events than were stored: it would
    count those only, and column files are no rows.
    """
    day = date.fromisoformat(partition)
    start, end = window = day_window(day, zone)
    stored = events.days.get(day, NO_FIGURES).events
    (there,) = store.execute(
        "SELECT count(*) FROM analytics_event WHERE event_time >= ? AND event_time < ?",
        (start, end),
    ).fetchone()
    if there < stored:
        is_built = _has_build(store, transform, partition)
        older = "its older figures stay" if is_built else "it has no older figures"
        raise SqlError(
            f"{transform.source.file} reads rows of events, and of {partition} the database has"
            f" {there:,} of {stored:,}: the others are in column files only. A day of which rows"
            f" were deleted is not built; {older}."
        )
    return compute_day(store, transform.source, partition, window)


def _has_build(store: StoreConnection, transform: SqlTransform, partition: str) -> bool:
    row = store.execute(
        "SELECT 1 FROM table_build WHERE table_name = ? AND partition = ?",
        (transform.table, partition),
    ).fetchone()
    return row is not None


def compute_sql_tables(
    store: StoreConnection,
    transforms: Iterable[AnyTransform],
    partition: str,
    events: EventRange,
    zone: ZoneInfo,
) -> dict[str, list[Row] | SqlError]:
    """Compute each table of a file by itself; return its rows or its error, by name."""
    rows: dict[str, list[Row] | SqlError] = {}
    for each in transforms:
        if isinstance(each, SqlTransform):
            try:
                rows[each.table] = compute_sql_day(store, each, partition, events, zone)
            except SqlError as error:
                rows[each.table] = error
    return rows


def list_kept(store: StoreConnection, partition: str, built: Iterable[str]) -> set[str]:
    """Return the tables of files, of those built, that keep their figures of a partition.

    Its rows are in the archive, and their statements need them: also with force nothing is built.
    """
    tables = set(filter(is_sql_table, built))
    if not tables or all(file.day != partition for file in list_archive(store)):
        return set()
    return tables


def create_sql_table(connection: Connection, transform: SqlTransform) -> None:
    """Create the table, or create it again if the statement has other columns or types now.

    The days of the old one are gone then, with their builds.
    """
    if _is_created(connection, transform):
        return
    # Two runs may come here at once on a server: the second then finds the table of the first.
    lock_partitions(connection, [transform.table])
    if _is_created(connection, transform):
        return
    table, types = transform.table, transform.source.types
    if inspect(connection).has_table(table):
        connection.exec_driver_sql(f'DROP TABLE "{table}"')
        connection.exec_driver_sql("DELETE FROM table_build WHERE table_name = ?", (table,))
    # Without types SQLite keeps each value as the statement gave it.
    typed = zip_longest(transform.columns, types, fillvalue="")
    names = ", ".join(f'"{name}" {kind}' for name, kind in typed)
    connection.exec_driver_sql(f'CREATE TABLE "{table}" ({names})')
    connection.exec_driver_sql(f'CREATE INDEX "ix_{table}_day" ON "{table}" (day)')


def _is_created(connection: Connection, transform: SqlTransform) -> bool:
    """Return whether the table is there, with the statement's columns and types."""
    inspector = inspect(connection)
    if not inspector.has_table(transform.table):
        return False
    columns = inspector.get_columns(transform.table)
    types = transform.source.types
    return [column["name"] for column in columns] == [*transform.columns] and (
        not types or [str(column["type"]).lower() for column in columns] == [*types]
    )
