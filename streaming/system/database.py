"""Which database the events are in: a file of SQLite, or one on a server of PostgreSQL.

Only its name and address are here; how it is opened is in `store`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

POSTGRES_SCHEME: Final = "postgresql+psycopg://"
_SQLITE_FILE: Final = re.compile(r"sqlite:///(?!:memory:)(.+)", re.DOTALL)


@dataclass(frozen=True)
class PostgresDatabase:
    """A database on a server; as text it is named without user and password.

    `conninfo` is libpq's URI. What it leaves open, libpq takes from `PG…`, service file and
    `.pgpass`.
    """

    conninfo: str = field(repr=False)

    def __str__(self) -> str:
        """Return how messages name it, such as `the database shop on db.example.com:5432`."""
        parts = urlsplit(self.conninfo)
        given = parse_qs(parts.query)
        service = "".join(given.get("service", [])[-1:])
        name = unquote(parts.path[1:]) or "".join(given.get("dbname", [])[-1:])
        hosts = parts.netloc.rpartition("@")[2] or "".join(given.get("host", [])[-1:])
        named = f"the database {name}" if name else "the database"
        return named + (f" on {hosts}" if hosts else f" of service {service}" if service else "")


Database = Path | PostgresDatabase
"""A file of SQLite, or a database on a server."""


def parse_database(url: str) -> Database | None:
    """Return which database a URL names; None if it is none that the store can be in."""
    if url.startswith(POSTGRES_SCHEME):
        return PostgresDatabase("postgresql://" + url.removeprefix(POSTGRES_SCHEME))
    file = _SQLITE_FILE.fullmatch(url)
    return Path(file[1]).absolute() if file else None
