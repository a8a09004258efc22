"""SQLAlchemy's engine over the store, for writers that run long: the consumer, the batch builds.

Every transaction takes the write lock at its beginning. Readers use `connection`, because they must
not wait for SQLAlchemy's import. No statement over a table belongs here.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import require_current_store
from streaming.store.sqlite import LOCK_SECONDS, connect, store_error

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ExceptionContext


def open_engine(settings: Settings) -> Engine:
    """Open the event store for writing; `begin` and its statements raise what `store_errors` does.

    Raises the same at once if the file cannot be opened, and `Mismatch` if its schema is not this
    version's.
    """
    require_current_store(settings.database_path)
    return engine_over(settings.database_path)


def engine_over(path: Path, *, create: bool = False, lock_seconds: float = LOCK_SECONDS) -> Engine:
    """Return an engine over a file of any schema, which is not touched before the first use.

    A statement waits `lock_seconds` for another process's lock.
    """
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
