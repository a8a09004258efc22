"""SQLAlchemy's engine over the SQLite file; how the file is opened is `connection.py`'s matter.

An engine is for writing or for reading, never both: a reader that would upgrade to a writer gets
SQLITE_BUSY_SNAPSHOT, so every transaction says at its beginning which one it is.
"""

from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event

from streaming.store.connection import connect, connect_current, store_errors

__all__ = ["engine_over", "open_store", "store_errors"]


def open_store(path: Path, *, read_only: bool = False) -> Engine:
    """Open the event store; every transaction is `BEGIN IMMEDIATE`, or `BEGIN` if `read_only`.

    Raises at once what `store_errors` does where the file cannot be opened, and `Mismatch` where
    its schema is not this version's. Statements go inside `store_errors(path)`.
    """
    connect_current(path, read_only=read_only).close()
    return engine_over(path, read_only=read_only)


def engine_over(path: Path, *, read_only: bool = False, create: bool = False) -> Engine:
    """Give an engine over a file of any schema, which is not touched before the first use."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: connect(path, read_only=read_only, create=create),
        hide_parameters=True,
    )
    statement = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return engine
