"""SQLAlchemy's engine over the store, for writers that run long: the consumer, the batch builds.

On SQLite every transaction takes the write lock at its beginning. On PostgreSQL consumers call
`share_store`, who else changes events or figures `lock_store`, and builds that only mark files
`lock_figures`. Readers use `connection`, because they must not wait for SQLAlchemy's import. No
statement over a table belongs here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import require_current_store
from streaming.store.sqlite import LOCK_SECONDS, connect, store_error
from streaming.system.database import Database, PostgresDatabase

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ExceptionContext


class RepeatedIds(Exception):
    """A batch has ids that are stored, or that another consumer stores: it must write alone."""


def open_engine(settings: Settings) -> Engine:
    """Open the event store for writing; `begin` and its statements raise what `store_errors` does.

    Raises the same at once if the file cannot be opened, and `Mismatch` if its schema is not this
    version's.
    """
    require_current_store(settings.database)
    return engine_over(settings.database)


def engine_over(
    database: Database, *, create: bool = False, lock_seconds: float = LOCK_SECONDS
) -> Engine:
    """Return an engine over a database of any schema, which is not touched before the first use.

    A statement waits `lock_seconds` for another process's lock.
    """
    if isinstance(database, PostgresDatabase):
        return _postgres_engine(database, lock_seconds)
    return _sqlite_engine(database, create=create, lock_seconds=lock_seconds)


def is_postgres(connection: Connection) -> bool:
    """Return whether the connection is to a PostgreSQL server."""
    return connection.dialect.name == "postgresql"


def lock_store(connection: Connection) -> None:
    """Wait until no other transaction changes events or figures, and let none do so before its end.

    On SQLite a transaction begins with that.
    """
    if is_postgres(connection):
        from streaming.store.postgres_write_lock import WRITE_LOCK

        connection.exec_driver_sql(WRITE_LOCK)


def share_store(connection: Connection) -> None:
    """Wait until nobody has the lock of `lock_store`, and let nobody have it before the end.

    Others that share it write at the same time; on SQLite nobody does.
    """
    if is_postgres(connection):
        from streaming.store.postgres_write_lock import BATCHES_LOCK

        connection.exec_driver_sql(BATCHES_LOCK)


def lock_figures(connection: Connection) -> None:
    """Wait until no other transaction changes figures, and let none do so before its end."""
    if is_postgres(connection):
        from streaming.store.postgres_write_lock import FIGURES_LOCK

        connection.exec_driver_sql(FIGURES_LOCK)


def _sqlite_engine(path: Path, *, create: bool, lock_seconds: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: connect(path, create=create, lock_seconds=lock_seconds),
        # The text of an error goes to the log, where no customer's data may be.
        hide_parameters=True,
    )

    # A transaction that begins as a reader cannot become a writer once another has written.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(engine, "handle_error")
    def _translate(context: "ExceptionContext") -> PurchasesError | None:
        # Errors that no person can mend, such as a broken constraint, stay SQLAlchemy's.
        return store_error(path, context.original_exception)

    return engine


def _postgres_engine(database: PostgresDatabase, lock_seconds: float) -> Engine:
    from streaming.store import postgres

    def open_connection() -> Any:  # noqa: ANN401 - the driver's own
        raw = postgres.connect(database, lock_seconds=lock_seconds).raw
        # SQLAlchemy ends its transactions itself, which begin with their first statement.
        raw.autocommit = False
        return raw

    engine = create_engine("postgresql+psycopg://", creator=open_connection, hide_parameters=True)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def _translate_statement(
        _connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,  # noqa: ANN401 - what the driver takes
        context: Any,  # noqa: ANN401 - SQLAlchemy's
        _many: bool,  # noqa: FBT001 - SQLAlchemy's
    ) -> tuple[str, Any]:
        # What SQLAlchemy compiled is in the style of the driver.
        text = postgres.translate(statement) if context.compiled is None else statement
        return text, parameters

    @event.listens_for(engine, "handle_error")
    def _translate(context: "ExceptionContext") -> PurchasesError | None:
        return postgres.store_error(database, context.original_exception)

    return engine
