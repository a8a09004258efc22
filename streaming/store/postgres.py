"""PostgreSQL as the store uses it: how a database is opened, its two transactions, and its errors.

Statements are those of SQLite, and values come as from there: days as ISO texts, sums and truth
values as integers. Only `connection`, `engine` and `postgres_schema` import this, and only for such
a database. What only PostgreSQL can say of a table is in `postgres_schema` and `postgres_rows`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.store.postgres_write_lock import BUILDS, IDLE_SECONDS, WRITE_LOCK
from streaming.system.database import PostgresDatabase

try:
    import psycopg
    from psycopg.adapt import Loader
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import TransactionStatus
    from psycopg.types.numeric import FloatDumper
    from psycopg.types.string import TextLoader
except ImportError as error:
    raise UsageError(
        "PostgreSQL needs the extra `postgres`: pip install 'purchases[postgres]'."
    ) from error

OLDEST_VERSION: Final = 14
"""The oldest server that the store's tests pass on; 13 has no `idle_session_timeout`."""
LOCK_SECONDS: Final = 5.0
"""How long a statement waits for another transaction's lock, as on SQLite."""
CONNECT_SECONDS: Final = 10
"""How long one address is tried; below the watchdog's limit around a write."""
HASTY_SECONDS: Final = 2
"""The same for who waits less than a second for a lock, such as a status; libpq allows no less."""
SILENT_SECONDS: Final = 20
"""How long a server whose network is gone is waited for. Shorter than a write's watchdog."""

CREATE: Final = (
    "create one with CREATE DATABASE purchases TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'"
)
_UNREACHABLE: Final = "{database} does not answer: {detail}."
_WRONG_URL: Final = "The URL of {database} is not valid: {detail}."
_WAITING_HELPS: Final = {
    "08": _UNREACHABLE,
    "25006": "{database} is read-only: is it a standby?",
    "25P03": "{database} ended a transaction that had no statement for too long.",
    "25P04": "{database} ended a transaction that took too long.",
    "40": "{database} ended a transaction in favour of another one.",
    "53": "{database} lacks memory, disk or connections.",
    "55P03": "{database} is locked by another transaction.",
    "57014": "{database} ended a statement; ALTER ROLE … SET statement_timeout = 0 lets it end.",
    "57P": "{database} is being shut down or started.",
    "58": "The disk of {database} does not read or write; is it full or failing?",
}
_FINAL: Final = {
    "28": "{database} refuses this user; check user, password, sslmode and client certificate.",
    "3D": f"{{database}} does not exist; {CREATE}.",
    "3F": "{database} has no schema that its user may use; grant CREATE and USAGE on one.",
    "42501": "The user of {database} lacks a permission: {detail}.",
    "XX001": "{database} is damaged; restore it.",
    "XX002": "{database} is damaged; restore it.",
}
"""By whole SQLSTATE, or by as much of its beginning as is here."""

_STRING_OR_MARK: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[?%]|(?<!:):([a-z_][a-z0-9_]*)")

_BEGIN_SESSION: Final = """
SELECT set_config('DateStyle', 'ISO', false), set_config('TimeZone', 'UTC', false),
  set_config('tcp_keepalives_idle', %(silent)s, false),
  set_config('tcp_keepalives_interval', '2', false), set_config('tcp_keepalives_count', '5', false),
  set_config('default_transaction_isolation', 'read committed', false),
  set_config('idle_session_timeout', '0', false),
  set_config('lock_timeout', %(lock)s, false),
  set_config('idle_in_transaction_session_timeout', %(idle)s, false),
  set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END, false),
  concat_ws(' with ', datcollate, nullif(datctype, datcollate),
    nullif(to_jsonb(d) ->> 'datlocale', datcollate)),
  pg_encoding_to_char(encoding), coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
FROM pg_database d WHERE datname = current_database()
"""
# Also durable if the server's default is not: Kafka may delete what was stored. Who waited for a
# lock must see what was committed meanwhile. A run's session is idle for as long as the run lives.
# A host that is gone keeps its locks until the server's own probes have no answer.


class _NumberLoader(Loader):
    """Loads `numeric` as an integer, which the sum of integers of 64 bits is, or as a float."""

    def load(self, data: bytes | bytearray | memoryview) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


class _FloatDumper(FloatDumper):
    """Dumps a float as a text, so that a column of numeric gets all of its digits."""

    oid = 0


class _TruthLoader(Loader):
    """Loads a truth value as SQLite has it: 0 or 1."""

    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int(bytes(data) == b"t")


@lru_cache(maxsize=1024)
def translate(statement: str) -> str:
    """Return a statement whose parameters are `?` or `:name` in the style of psycopg."""
    return _STRING_OR_MARK.sub(_translate_part, statement)


def _translate_part(match: re.Match[str]) -> str:
    part = match[0]
    if part == "?":
        return "%s"
    return f"%({match[1]})s" if match[1] else part.replace("%", "%%")


class PostgresConnection:
    """A connection that takes statements as `sqlite3` does; `raw` is psycopg's own."""

    def __init__(self, raw: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self.raw = raw

    def execute(
        self, statement: str, values: Sequence[object] | Mapping[str, object] = (), /
    ) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Execute a statement; its rows are those of the cursor."""
        # Also without values, so that `%` means the same in all statements.
        return self.raw.execute(translate(statement).encode(), values)

    def executemany(
        self, statement: str, rows: Iterable[Sequence[object]] | Iterable[Mapping[str, object]], /
    ) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Execute a statement for each of the rows."""
        cursor = self.raw.cursor()
        cursor.executemany(translate(statement).encode(), rows)
        return cursor

    def create_function(
        self, name: str, narg: int, func: Callable[..., object], /, *, deterministic: bool = False
    ) -> None:
        """Refuse a function of Python in a statement, which only SQLite can call."""
        del narg, func, deterministic
        raise PurchasesError(f"This works on SQLite only, because it calls {name}() in Python.")

    def interrupt(self) -> None:
        """Let a statement end that runs in another thread, if one does."""
        # Without one, the server could end the next statement instead.
        if self.raw.info.transaction_status == TransactionStatus.ACTIVE:
            self.raw.cancel_safe()

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self.raw.close()


def connect(
    database: PostgresDatabase, *, lock_seconds: float = LOCK_SECONDS
) -> PostgresConnection:
    """Connect to a database of any schema; transactions are begun by `transaction` and `snapshot`.

    A statement waits `lock_seconds` for another transaction's lock. Raises `PurchasesError` if the
    server is too old or compares texts otherwise than SQLite, and what `store_errors` does.
    """
    with store_errors(database):
        try:
            raw = psycopg.connect(_conninfo(database, lock_seconds), autocommit=True)
        # Before anybody is asked: a name or a value that is none.
        except psycopg.ProgrammingError as error:
            raise UsageError(_fill_sentence(_WRONG_URL, database, error)) from None
        try:
            _begin_session(database, raw, lock_seconds)
        # Also after Ctrl-C.
        except BaseException:
            raw.close()
            raise
    return PostgresConnection(raw)


def _conninfo(database: PostgresDatabase, lock_seconds: float) -> str:
    """Return what libpq connects by: what the URL leaves open is set, so that nothing hangs."""
    given = psycopg.conninfo.conninfo_to_dict(database.conninfo)
    own: dict[str, str | int] = {
        "connect_timeout": HASTY_SECONDS if lock_seconds < 1 else CONNECT_SECONDS,
        "tcp_user_timeout": SILENT_SECONDS * 1000,
        "keepalives_idle": SILENT_SECONDS // 2,
        "keepalives_interval": 2,
        "keepalives_count": 5,
        "application_name": "purchases",
        "client_encoding": "UTF8",
    }
    return make_conninfo(
        database.conninfo, **{name: value for name, value in own.items() if name not in given}
    )


def _begin_session(
    database: PostgresDatabase, raw: "psycopg.Connection[tuple[Any, ...]]", lock_seconds: float
) -> None:
    """Set what statements rely on, and refuse an old server, or texts compared by a language."""
    # Reported at login, without a round trip.
    if (version := raw.info.server_version // 10_000) < OLDEST_VERSION:
        raise PurchasesError(
            f"T{str(database)[1:]} is on a server of PostgreSQL {version}, but the store needs"
            f" {OLDEST_VERSION} or newer; upgrade the server."
        )
    limits = {
        "lock": f"{lock_seconds * 1000:.0f}ms",
        "idle": f"{IDLE_SECONDS}s",
        "silent": str(SILENT_SECONDS // 2),
    }
    row = raw.execute(_BEGIN_SESSION, limits).fetchone()
    assert row is not None  # noqa: S101 - one is connected to a database
    *_, collation, encoding, provider = row
    if collation not in {"C", "POSIX"} or encoding != "UTF8" or provider not in {"b", "c"}:
        raise PurchasesError(
            f"T{str(database)[1:]} has the locale {collation} and the encoding {encoding},"
            f" which give other ranks and digests than SQLite does; {CREATE}."
        )
    raw.adapters.register_loader("date", TextLoader)
    raw.adapters.register_loader("numeric", _NumberLoader)
    raw.adapters.register_dumper(float, _FloatDumper)
    raw.adapters.register_loader("bool", _TruthLoader)


@contextmanager
def store_errors(database: PostgresDatabase) -> Iterator[None]:
    """Turn the errors of PostgreSQL inside into a sentence about the database.

    Raises `Unavailable` if waiting may help (no answer, locked, shutting down, full),
    `PurchasesError` if it will not (no database, no permission). Any other error passes through.
    """
    try:
        yield
    except psycopg.Error as error:
        translated = store_error(database, error)
        if translated is None:
            raise
        raise translated from error


def store_error(database: PostgresDatabase, error: BaseException) -> PurchasesError | None:
    """Return the sentence about an error of PostgreSQL; None if no person can mend it."""
    if not isinstance(error, psycopg.Error):
        return None
    code = error.sqlstate
    if code is None:
        return _connection_error(database, error)
    for length in (5, 3, 2):
        for sentences, kind in ((_FINAL, PurchasesError), (_WAITING_HELPS, Unavailable)):
            if sentence := sentences.get(code[:length]):
                return kind(_fill_sentence(sentence, database, error))
    return None


_BAD: Final = "connection is bad: "
_SIGNS: Final = (
    ("28", "authentication failed|no password supplied|no pg_hba.conf entry|valid client cert"),
    ("28", 'role ".*" does not exist|is not permitted to log in|permission denied for database'),
    ("3D", 'database ".*" does not exist'),
)


def _connection_error(database: PostgresDatabase, error: psycopg.Error) -> PurchasesError | None:
    """Return the sentence about a connection that was lost or not made, which has no SQLSTATE."""
    if not isinstance(error, psycopg.OperationalError):
        return None
    text = str(error)
    for code, sign in _SIGNS:
        if re.search(sign, text):
            return PurchasesError(_fill_sentence(_FINAL[code], database, error))
    # A value that libpq refuses before it asks any server.
    if text.startswith(_BAD) and " failed: " not in text:
        return UsageError(_fill_sentence(_WRONG_URL, database, error))
    return Unavailable(_fill_sentence(_UNREACHABLE, database, error))


def _fill_sentence(sentence: str, database: PostgresDatabase, error: psycopg.Error) -> str:
    first = str(error).partition("\n")[0]
    said = first.removeprefix(_BAD).rpartition(" failed: ")[2].removeprefix("FATAL:  ")
    detail = error.diag.message_primary or said
    filled = sentence.format(database=database, detail=detail.rstrip("."))
    return filled[0].upper() + filled[1:]


@contextmanager
def transaction(connection: PostgresConnection) -> Iterator[None]:
    """Write what happens inside as a whole, or nothing of it if an error leaves the block.

    The locks of the writers are taken first, see `BUILDS` and `WRITE_LOCK`.
    """
    with _ending(connection, "COMMIT"):
        connection.raw.execute("BEGIN")
        # In this order, so that the consumer does not wait for a build too.
        connection.raw.execute(f"SELECT pg_advisory_xact_lock({BUILDS})".encode())
        connection.raw.execute(WRITE_LOCK)
        yield


@contextmanager
def snapshot(connection: PostgresConnection, *, temporary: bool = False) -> Iterator[None]:
    """Let all statements inside see the database at one moment, while others write.

    With `temporary` they may make temporary tables.
    """
    access = "READ WRITE" if temporary else "READ ONLY"
    with _ending(connection, "ROLLBACK"):
        connection.raw.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ {access}".encode())
        # The moment is fixed at the first statement, not at the beginning. Who reads may compute
        # for as long as it takes, because nobody waits for a reader.
        connection.raw.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', '0', true)"
        )
        yield


@contextmanager
def _ending(connection: PostgresConnection, how: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # With a lost connection its transaction has ended, and the first error says why.
        with suppress(psycopg.Error):
            connection.raw.execute("ROLLBACK")
        raise
    connection.raw.execute(how.encode())


def table_names(connection: PostgresConnection) -> set[str]:
    """Return the names of the tables in the schema that new ones go to."""
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in rows}


def used_bytes(connection: PostgresConnection) -> int:
    """Return how many bytes the database takes on the server's disk."""
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0
