"""The upgrade of a database to this program's schema.

Alembic is imported only if a migration really runs: opening an up-to-date database must not cost
its half a second. The steps themselves are in `migrations`, the deployment is in `deployment`.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.backup import backup_path, copy_database
from streaming.store.connection import SCHEMA_VERSION, newer_schema, schema_version
from streaming.store.migrations.move_events import move_events
from streaming.store.sqlite import connect, store_errors
from streaming.system.database import PostgresDatabase
from streaming.system.disk_space import free_bytes
from streaming.system.privacy import close_to_others, keep_private

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MOVING: Final = 9
"""The schema version while `move_events` runs, which no reader opens."""
SPARE_BYTES: Final = 128 * 1024 * 1024
"""For the WAL, which is copied into the file at 64 MB, and what a transaction adds meanwhile."""
MIGRATION_LOCK_SECONDS: Final = 60.0
"""For another process that upgrades the same database; what it does then need not be done here."""
MIB: Final = 1024 * 1024

UpgradeProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much it is in all."""


def show_nothing(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def upgrade(settings: Settings, progress: UpgradeProgress = show_nothing) -> Path | None:
    """Bring the database to this program's schema, creating it if there is none.

    An older file is copied to `<home>/backups/` first; return the path of that copy, else None. A
    process that is killed leaves what the next one goes on with, from the same copy. Several
    processes may do this at once: they share the work, or find it done. Raises `Mismatch` for a
    newer schema, `Unavailable` if the disk has no room, and what `store_errors` does.
    """
    if isinstance(settings.database, PostgresDatabase):
        from streaming.store.postgres_schema import upgrade_schema

        upgrade_schema(settings.database)
        return None
    path = settings.database_path
    with store_errors(path):
        keep_private(settings.home)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        # SQLite gives its other files the permissions of this one.
        close_to_others(path)
    with closing(connect(path, create=True)) as connection, store_errors(path):
        version = schema_version(connection, path)
        if version > SCHEMA_VERSION:
            raise newer_schema(path, version)
        if version == SCHEMA_VERSION:
            return None
        # What was moved in part was copied before.
        kept = None if version in {0, MOVING} else backup_path(settings, "before-upgrade")
        if version:
            _require_room(path, kept)
        if kept is not None:
            copy_database(
                connection, path, kept, lambda done, total: progress("Copying pages", done, total)
            )
    migrate(path, progress)
    return kept


def migrate(path: Path, progress: UpgradeProgress = show_nothing) -> None:
    """Run the migrations that the file lacks; nothing is copied before.

    All are in one transaction, but for the events, which are moved between two of them: a
    transaction of all events would need the disk once more.
    """
    with closing(connect(path)) as connection, store_errors(path):
        if 0 < schema_version(connection, path) <= MOVING:
            _run(path, f"{MOVING:04d}")
            move_events(connection, lambda done, total: progress("Moving events", done, total))
    _run(path, "head")


def _require_room(path: Path, kept: Path | None) -> None:
    """Raise `Unavailable` unless the disks have room for the copy and for what the move adds."""
    size = path.stat().st_size
    # Pages of the old table are free again only when all that they held is moved.
    spare = size // 4 + SPARE_BYTES
    for file, needed in ((path, spare), (kept, size + spare)):
        if file is not None and (free := free_bytes(file)) < needed:
            raise Unavailable(
                f"The upgrade of {path} and the copy before it need {needed // MIB + 1:,} MiB on"
                f" the disk of {file.parent}, which has {free // MIB:,} MiB left. Free some."
            )


def _run(path: Path, revision: str) -> None:
    """Run the migrations up to a revision, in one transaction."""
    from streaming.store.engine import engine_over

    engine = engine_over(path, create=True, lock_seconds=MIGRATION_LOCK_SECONDS)
    try:
        with engine.begin() as connection:
            run_migrations(connection, revision)
    finally:
        engine.dispose()


def run_migrations(connection: "Connection", revision: str) -> None:
    """Run the migrations up to a revision in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic's options are those of configparser, which takes % for the start of a name.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
