"""A table of a `.sql` file as builds, checks and definitions see it, beside `Transform`.

What the file says, and how its statement is run, is in `streaming.store.sql_tables`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from assets.tables.models import DAY_TABLE_NAMES
from assets.tables.transforms import DAY_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store.sql_tables import SqlTable, is_sql_table, read_sql_tables


@dataclass(frozen=True)
class SqlTransform:
    """The computation of a table by a statement of a user's, day by day."""

    source: SqlTable
    guests: bool = True
    by_day: bool = True

    @property
    def table(self) -> str:
        """The table's name in the database and in Dagster."""
        return self.source.name

    @property
    def columns(self) -> list[str]:
        """The table's columns in order: the day, and those of the statement."""
        return list(self.source.columns)

    @property
    def key(self) -> list[str]:
        """The column by which rows are found; a statement names no key."""
        return ["day"]

    @property
    def code_version(self) -> str:
        """The digest of the file's text."""
        return self.source.code_version

    @property
    def description(self) -> str:
        """What Dagster shows of the table: its statement."""
        return f"`{self.source.file.name}`\n\n```sql\n{self.source.text.strip()}\n```"


AnyTransform = Transform | SqlTransform


def day_transforms(settings: Settings) -> tuple[AnyTransform, ...]:
    """Return all day tables of a deployment: those of the program, and those of its files.

    Raises what `read_sql_tables` does.
    """
    return (*DAY_TRANSFORMS, *map(SqlTransform, read_sql_tables(settings).tables))


def day_table_names(settings: Settings) -> tuple[str, ...]:
    """Return their names."""
    return tuple(transform.table for transform in day_transforms(settings))


def still_there(settings: Settings, loaded: Iterable[str]) -> tuple[str, ...]:
    """Return those of the tables that a code server has loaded which a run will have too.

    A file may have been removed, or have become wrong, since the code server loaded it. Raises
    what `read_sql_tables` does.
    """
    now = day_table_names(settings)
    return tuple(name for name in loaded if name in now)


def is_day_table(name: str) -> bool:
    """Return whether a table of that name is cut into days."""
    return name in DAY_TABLE_NAMES or is_sql_table(name)
