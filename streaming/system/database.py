"""Which database the events are in: a file of SQLite, or one on a server of PostgreSQL.

Only its name and address are here; how it is opened is in `store`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

POSTGRES_SCHEME: Final = "postgresql+psycopg://"
_SQLITE_FILE: Final = re.compile(r"sqlite:///(?!:memory:)(.+)", re.DOTALL)
_URI_SCHEME: Final = "postgresql://"
_HOST: Final = r"(?:\[[^]/?@]+\]|[^][:/?,@]*)(?::[0-9]{0,5})?"
_OPTION: Final = r"[a-z_]+=[^&=]*"
_URI: Final = re.compile(
    rf"(?:[^:@/]*(?::[^@/]*)?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<name>[^?@]*))?"
    rf"(?:\?(?P<given>(?:{_OPTION}(?:&{_OPTION})*)?))?"
)
"""As libpq reads it, after the scheme. What it would refuse is no match: its message, and the name
that is made here, would have a part of the password."""
_NOT_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00|\s")


@dataclass(frozen=True)
class PostgresDatabase:
    """A database on a server; as text it is named without user and password.

    `conninfo` is libpq's URI. What it leaves open, libpq takes from `PG…`, service file and
    `.pgpass`.
    """

    conninfo: str = field(repr=False)

    def __str__(self) -> str:
        """Return how messages name it, such as `the database shop on db.example.com:5432`."""
        uri = _URI.fullmatch(self.conninfo.removeprefix(_URI_SCHEME))
        if uri is None:
            return "the database"
        given = parse_qs(uri["given"] or "")
        service = "".join(given.get("service", [])[-1:])
        name = unquote(uri["name"] or "") or "".join(given.get("dbname", [])[-1:])
        hosts = unquote(uri["hosts"]) or "".join(given.get("host", [])[-1:])
        named = f"the database {name}" if name else "the database"
        return named + (f" on {hosts}" if hosts else f" of service {service}" if service else "")

    def sqlalchemy_url(self, driver: str) -> str:
        """Return the URL by which SQLAlchemy connects with a driver of libpq, such as psycopg2."""
        rest = self.conninfo.removeprefix(_URI_SCHEME)
        uri = _URI.fullmatch(rest)
        if uri is not None and "," in uri["hosts"]:
            # SQLAlchemy takes one host there, and several as options.
            options = [*(f"host={host}" for host in uri["hosts"].split(",")), uri["given"]]
            given = "&".join(filter(None, options))
            rest = f"{rest[: uri.start('hosts')]}/{uri['name'] or ''}?{given}"
        return f"postgresql+{driver}://{rest}"


Database = Path | PostgresDatabase
"""A file of SQLite, or a database on a server."""


def parse_database(url: str) -> Database | None:
    """Return which database a URL names; None if it is none that the store can be in."""
    if url.startswith(POSTGRES_SCHEME):
        uri = url.removeprefix(POSTGRES_SCHEME)
        is_uri = _URI.fullmatch(uri) and not _NOT_ENCODED.search(uri) and _is_utf8(uri)
        return PostgresDatabase(_URI_SCHEME + uri) if is_uri else None
    file = _SQLITE_FILE.fullmatch(url)
    return Path(file[1]).absolute() if file else None


def _is_utf8(uri: str) -> bool:
    try:
        unquote(uri, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
