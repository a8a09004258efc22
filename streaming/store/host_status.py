"""What the supervisors of several hosts last said: a row for each app of each host.

On PostgreSQL only, because a SQLite file is of one host. What a row's content means is in
`status.hosts`. Times are by the server's clock, because those of the hosts may differ.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from msgspec import Struct

from streaming.settings import Settings
from streaming.store.connection import StoreConnection, connect_current, store_errors

ENDED: Final = "ended"
"""The state of an app whose supervisor ended in order: nothing more is to be heard of it."""
LOCK_SECONDS: Final = 0.5
"""No lock is in the way of a status. With so short a wait, a server that is gone is given up early.
"""

_RECORD: Final = """
INSERT INTO host_status AS known (host, app, home, state, content, heard_at)
VALUES (?, ?, ?, ?, ?, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint))
ON CONFLICT (host, app) DO UPDATE SET
  home = excluded.home, state = excluded.state, content = excluded.content,
  heard_at = excluded.heard_at
WHERE known.home = excluded.home OR known.state = ? OR known.heard_at < excluded.heard_at - ?
"""
_FORGET: Final = """
DELETE FROM host_status WHERE host = ? AND NOT EXISTS (
  SELECT 1 FROM host_status AS row WHERE row.host = ? AND row.state <> ?
  AND row.heard_at >= CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) - ?)
"""
_READ: Final = """
SELECT host, app, home, state, content, heard_at,
  extract(epoch FROM clock_timestamp()) - heard_at / 1000000.0
FROM host_status ORDER BY app, host
"""


class HostStatus(Struct, frozen=True):
    """A row: `home` is its writer's machine and directory, `state` that of its worst slot.

    `heard_at` is in µs since 1970, `heard_seconds` the time since then.
    """

    host: str
    app: str
    home: str
    state: str
    content: str
    heard_at: int = 0
    heard_seconds: float = 0.0


@contextmanager
def open_host_statuses(settings: Settings) -> Iterator[StoreConnection]:
    """Open the store to record statuses, one at a time. Raises what `open_reader` does."""
    database = settings.database
    connecting = connect_current(database, read_only=False, lock_seconds=LOCK_SECONDS)
    with closing(connecting) as connection, store_errors(database):
        # The next one follows in a second: no wait for the disk, nor for a standby that is gone.
        connection.execute("SET synchronous_commit = off")
        yield connection


def record_host_status(
    connection: StoreConnection, status: HostStatus, lost_seconds: float
) -> bool:
    """Record it, and return whether it was: not if this is the name of a host of another home.

    That one must have ended in order, or not been heard for `lost_seconds`.
    """
    own = (status.host, status.app, status.home, status.state, status.content)
    changed = connection.execute(_RECORD, (*own, ENDED, int(lost_seconds * 1e6)))
    return changed.rowcount > 0


def forget_host_statuses(connection: StoreConnection, host: str, lost_seconds: float) -> bool:
    """Delete the rows of a host, unless one of its apps lives; return whether any was deleted.

    An app lives until it has ended in order, or nothing was heard of it for `lost_seconds`.
    """
    lost = int(lost_seconds * 1e6)
    return connection.execute(_FORGET, (host, host, ENDED, lost)).rowcount > 0


def list_host_statuses(store: StoreConnection) -> list[HostStatus]:
    """List what is known of all hosts, in the order of app and host."""
    rows = store.execute(_READ).fetchall()
    return [HostStatus(*row) for row in rows]
