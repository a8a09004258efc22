"""The move of a database from a file of SQLite to a server of PostgreSQL, or back.

The source is only read, and stays. Events keep their numbers, in chunks that are committed, so that
who is killed goes on with the next. Until all is proved, the target has a table that keeps everyone
else out of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.archive import return_days
from streaming.store.column_files import forget_missing
from streaming.store.column_store import open_column_store
from streaming.store.connection import (
    MOVE_TABLE,
    StoreConnection,
    connect,
    read_store,
    snapshot,
    store_errors,
    table_names,
    transaction,
    write_store,
)
from streaming.store.deployment import recorded_deployment
from streaming.store.dialect import read_in_pieces
from streaming.store.live_totals import read_version
from streaming.store.restore import workers_stopped
from streaming.store.schema import UpgradeProgress, show_nothing, upgrade
from streaming.store.sql_tables import PREFIX, is_sql_table
from streaming.store.table_dialect import dialect_of
from streaming.system.home import Home
from streaming.system.lease import acquire

CHUNK_ROWS: Final = 50_000
"""Rows of a transaction, which a kill takes back; about a second's work."""
EVENTS: Final = "analytics_event"
NUMBER: Final = "rowid"
"""The order of storing: column files, rows after a row and the version of all rely on it."""
LAST: Final = "monthly_item_sales"
"""Triggers fill it with the days' rows, so what they made is replaced."""
NOT_COPIED: Final = {"alembic_version", MOVE_TABLE}
BUILDS: Final = ("table_build", "build_failure")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class MoveResult:
    """What the target has: rows by table, each table with the digest of the source."""

    target: str
    tables: dict[str, int]
    resumed: bool


@dataclass(frozen=True)
class _Table:
    """A table to copy: its columns in one order on both sides, and what its rows are sorted by."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def select(self, condition: str = "") -> str:
        """Return the statement that reads its rows."""
        columns, key = (", ".join(f'"{name}"' for name in n) for n in (self.columns, self.key))
        # Tables of `.sql` files are left out, and so are their builds.
        own_builds = (
            f"substr(table_name, 1, {len(PREFIX)}) <> '{PREFIX}'" if self.name in BUILDS else ""
        )
        where = " AND ".join(filter(None, [condition, own_builds]))
        filtered = f" WHERE {where}" if where else ""
        return f'SELECT {columns} FROM "{self.name}"{filtered} ORDER BY {key}'  # noqa: S608 - the schema's


@dataclass(frozen=True)
class _Run:
    """One move: `lock` keeps writers out of the source, and must be used again and again."""

    source: StoreConnection
    copy: StoreConnection
    lock: StoreConnection
    tables: Sequence[_Table]
    progress: UpgradeProgress

    def read(
        self, store: StoreConnection, statement: str, values: Sequence[Any] = ()
    ) -> Iterator[list[Row]]:
        """Yield the rows of a statement, those of one transaction at a time."""
        for chunk in read_in_pieces(store, statement, values, CHUNK_ROWS):
            yield chunk
            # A server ends a transaction that has no statement for long.
            self.lock.execute("SELECT 1").fetchone()


def move(settings: Settings, url: str, progress: UpgradeProgress = show_nothing) -> MoveResult:
    """Copy the database to the one that `url` names, and prove that the two are equal.

    Tables of `.sql` files are left out, because their texts are those of one database: Dagster
    builds them again. Archived events are rows again before. Raises `UsageError` for a target of
    the same kind, or with other data; `PurchasesError` while a worker or a run of this home runs,
    while another home moves into the target, or if the copy differs; and what `write_store` does
    for either database.
    """
    target = settings.model_copy(update={"database_url": url})
    _require_other_kind(settings, target)
    with workers_stopped(settings), _alone(target):
        # A server has no archive, so archived events move as rows.
        return_days(settings)
        # Whoever writes from elsewhere waits, so that the target lacks nothing at the end.
        with write_store(settings) as lock, read_store(settings) as source:
            state, tables = _state_of(source), _tables_of(source)
            resumed = _begin(target, state)
            with closing(connect(target.database)) as copy, store_errors(target.database):
                run = _Run(source, copy, lock, tables, progress)
                _copy_events(run)
                _copy_tables(run)
                counts = _prove(run)
                _finish(copy)
        # The list of column files came along; days whose files are not in this home are sealed
        # again.
        with write_store(target) as store:
            forget_missing(store, open_column_store(target))
    return MoveResult(str(target.database), counts, resumed)


def _require_other_kind(settings: Settings, target: Settings) -> None:
    is_file = isinstance(settings.database, Path)
    if is_file == isinstance(target.database, Path):
        instead = "purchases db backup" if is_file else "pg_dump"
        raise UsageError(
            f"--to names {target.database}, but a move is from a file of SQLite to PostgreSQL or"
            f" back; `{instead}` copies {settings.database}."
        )


def _alone(target: Settings) -> AbstractContextManager[object]:
    """Let no other home move into the target. Raises `PurchasesError` if one does."""
    database = target.database
    if isinstance(database, Path):
        # Another home may name the same file by another path.
        file = database.resolve()
        lease = acquire(Home(file.parent).move_lease(file.name))
        if lease is None:
            raise PurchasesError(f"Another `purchases db move` fills {database}: wait for its end.")
        return lease
    from streaming.store.postgres_locks import keep_moves_out

    return keep_moves_out(database)


def _state_of(source: StoreConnection) -> str:
    """Return a text that differs once events of the source were stored, changed or deleted."""
    recorded = recorded_deployment(source)
    if recorded is None:
        raise UsageError("Nothing is stored yet: name the other database, and start.")
    (last,) = source.execute(f"SELECT max(rowid) FROM {EVENTS}").fetchone()  # noqa: S608 - our own
    return f"{recorded.deployment_id} {read_version(source)} {last}"


def _tables_of(source: StoreConnection) -> list[_Table]:
    """Return the tables, events first, and last what triggers make of others."""
    columns: dict[str, list[str]] = {}
    keys: dict[str, list[tuple[int, str]]] = {}
    for table, column, key_position in dialect_of(source).list_columns(source):
        if table in NOT_COPIED or is_sql_table(table) or column == NUMBER:
            continue
        columns.setdefault(table, []).append(column)
        if key_position:
            keys.setdefault(table, []).append((key_position, column))
    tables = [
        _Table(EVENTS, (NUMBER, *columns[name]), (NUMBER,))
        if name == EVENTS
        else _Table(name, tuple(columns[name]), tuple(c for _, c in sorted(keys[name])))
        for name in columns
    ]
    return sorted(tables, key=lambda t: (t.name != EVENTS, t.name == LAST, t.name))


def _begin(target: Settings, state: str) -> bool:
    """Make the target's tables, or empty them if the source is another by now.

    Return whether a move goes on. Raises `UsageError` if the target has other data.
    """
    database = target.database
    if not _is_begun(target):
        upgrade(target)
        with closing(connect(database)) as copy, store_errors(database), transaction(copy):
            for table in sorted(
                {name for name, _, _ in dialect_of(copy).list_columns(copy)} - NOT_COPIED
            ):
                if copy.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():  # noqa: S608 - the schema's
                    raise UsageError(f"{database} has rows in {table}: name an empty database.")
            copy.execute(f"CREATE TABLE {MOVE_TABLE} (state TEXT)")
            copy.execute(f"INSERT INTO {MOVE_TABLE} VALUES (?)", (state,))  # noqa: S608 - our own
        return False
    with closing(connect(database)) as copy, store_errors(database), transaction(copy):
        (begun,) = copy.execute(f"SELECT state FROM {MOVE_TABLE}").fetchone()  # noqa: S608 - our own
        if begun == state:
            return True
        # The other tables are emptied when they are copied.
        copy.execute(f"DELETE FROM {EVENTS}")  # noqa: S608 - our own
        copy.execute(f"UPDATE {MOVE_TABLE} SET state = ?", (state,))  # noqa: S608 - our own
    return False


def _is_begun(target: Settings) -> bool:
    database = target.database
    if isinstance(database, Path) and not database.exists():
        return False
    with closing(connect(database)) as copy, store_errors(database):
        return MOVE_TABLE in table_names(copy)


def _copy_events(run: _Run) -> None:
    """Copy the events behind those that the target has."""
    table, count = run.tables[0], f"SELECT count(*), coalesce(max(rowid), 0) FROM {EVENTS}"  # noqa: S608 - our own
    (done, last), (total, _) = (s.execute(count).fetchone() for s in (run.copy, run.source))
    for chunk in run.read(run.source, table.select("rowid > ?"), (last,)):
        with transaction(run.copy):
            dialect_of(run.copy).fill_table(run.copy, table.name, table.columns, chunk)
        done += len(chunk)
        run.progress("Copying events", done, total)


def _copy_tables(run: _Run) -> None:
    """Copy all other tables, each whole."""
    for number, table in enumerate(run.tables[1:]):
        run.progress("Copying tables", number, len(run.tables) - 1)
        with transaction(run.copy):
            # Of an earlier try, or made by triggers.
            run.copy.execute(f'DELETE FROM "{table.name}"')  # noqa: S608 - the schema's
            for chunk in run.read(run.source, table.select()):
                dialect_of(run.copy).fill_table(run.copy, table.name, table.columns, chunk)


def _prove(run: _Run) -> dict[str, int]:
    """Compare each table with the source's, value by value; return the number of rows by table.

    Raises `PurchasesError` naming one that differs; the same command then begins from the start.
    """
    counts = {}
    for number, table in enumerate(run.tables):
        run.progress("Comparing tables", number, len(run.tables))
        with snapshot(run.copy):
            (rows, digest), of_copy = (_digest(run, s, table) for s in (run.source, run.copy))
        if (rows, digest) != of_copy:
            with transaction(run.copy):
                run.copy.execute(f"UPDATE {MOVE_TABLE} SET state = ''")  # noqa: S608 - our own
            raise PurchasesError(
                f"{table.name} has {rows:,} rows, and the copy of it has {of_copy[0]:,}, with other"
                " values. The same command copies all of them again."
            )
        counts[table.name] = rows
    return counts


def _digest(run: _Run, store: StoreConnection, table: _Table) -> tuple[int, str]:
    count, digest = 0, blake2b()
    for chunk in run.read(store, table.select()):
        count += len(chunk)
        # Both sides are cut after the same number of rows, so equal rows make equal texts.
        digest.update(msgspec.json.encode(chunk))
    return count, digest.hexdigest()


def _finish(copy: StoreConnection) -> None:
    """Let others open the target."""
    with transaction(copy):
        # Its digests are of the other database's text of rows.
        copy.execute("UPDATE verification SET checkpoint = NULL")
        dialect_of(copy).finish_load(copy)
        copy.execute(f"DROP TABLE {MOVE_TABLE}")
