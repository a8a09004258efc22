"""The upgrade of a database to this program's schema.

Alembic is imported only if a migration really runs: opening an up-to-date database must not cost
its half a second. The steps themselves are in `migrations`, the deployment is in `deployment`.
"""

from contextlib import closing
from pathlib import Path
from typing import Final

from streaming.settings import Settings
from streaming.store.backup import backup_path, copy_database
from streaming.store.connection import SCHEMA_VERSION, newer_schema, schema_version
from streaming.store.sqlite import connect, store_errors
from streaming.system.privacy import close_to_others, keep_private

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(settings: Settings) -> Path | None:
    """Bring the database to this program's schema, creating it if there is none.

    An older one is copied to `<home>/backups/` first; return the path of that copy, else None.
    Several processes may do this at once: one migrates, the others find it done. Raises `Mismatch`
    for a newer schema, and what `store_errors` does.
    """
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
        kept = None if version == 0 else backup_path(settings, "before-upgrade")
        if kept is not None:
            copy_database(connection, path, kept)
    migrate(path)
    return kept


def migrate(path: Path) -> None:
    """Run the migrations that the file lacks, all in one transaction; nothing is copied before."""
    from alembic import command
    from alembic.config import Config

    from streaming.store.engine import engine_over

    config = Config()
    # Alembic's options are those of configparser, which takes % for the start of a name.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = engine_over(path, create=True)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
