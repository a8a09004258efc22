"""How writers take turns on PostgreSQL, and what ends the session of one that hangs.

Statements only; `postgres`, `postgres_rows` and `engine` execute them. Other locks are in
`postgres_locks`, and the reasons in docs/decisions/0077.
"""

from typing import Final

IDLE_SECONDS: Final = 60
"""After so long without a statement the server ends a transaction that writes: nobody may hold its
lock who hangs. Longer than anything that is computed between two statements."""
BUILDS: Final = "hashtextextended('purchases builds', 0)"
"""The lock that builds share while they write, and that other writers but the consumer have alone:
an erasure or a rebuild changes what builds are made of."""

_BATCHES: Final = "hashtextextended('purchases batches', 0)"
_END_HANGING: Final = f"""
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND usename = current_user
    AND (starts_with(query, 'COPY analytics_event') OR starts_with(query, 'COPY new_event'))
    AND state = 'active' AND wait_event = 'ClientRead'
    AND query_start < clock_timestamp() - interval '{IDLE_SECONDS} s';
"""
# To the server a COPY that waits for its client is a statement, and no time limit of PostgreSQL
# ends it. So who may have to wait first ends the sessions of consumers whose COPY began a minute
# ago and waits for them.

FIGURES_LOCK: Final = "LOCK TABLE live_totals IN SHARE ROW EXCLUSIVE MODE"
"""One writer of figures at a time from here to its commit; readers wait for nobody."""
BATCHES_LOCK: Final = f"""DO $$ BEGIN
  {_END_HANGING}
  PERFORM pg_advisory_xact_lock_shared({_BATCHES});
END $$"""
"""Consumers share this from here to their commit, so that no `WRITE_LOCK` is held meanwhile."""
WRITE_LOCK: Final = f"""DO $$ BEGIN
  {_END_HANGING}
  PERFORM pg_advisory_xact_lock({_BATCHES});
  {FIGURES_LOCK};
END $$"""
"""The only writer of events and figures from here to its commit, as SQLite has it.

No batch is under way: an erasure would miss rows that are copied and not yet committed.
"""

_TICKETS: Final = 0x7075_7263
"""The first half of the key of a ticket. The second half is the number of the batch's first row."""
_LAST_KEY: Final = 0x7FFF_FFFF
"""After it the second half begins again at 0. Batches under way have numbers near each other."""
_REPEATED_MILLISECONDS: Final = 200
"""How long a COPY waits for a lock. Only a row with one of its ids makes it wait, which a batch has
copied that may wait for this one's ticket. The server itself finds such circles one a second."""
_SEQUENCE: Final = "(SELECT pg_get_serial_sequence('analytics_event', 'rowid')::regclass)"
_TAKING: Final = "hashtextextended('purchases tickets', 0)"


def take_ticket(rows: int) -> str:
    """Return the statements that take numbers for the rows of a batch, and so its ticket.

    The second one's row begins with the first number. All go to the server at once, so that no
    client can hang between them. Up to `await_ticket`, waits for locks are short.
    """
    return (
        f"SELECT pg_advisory_lock({_TAKING});"  # noqa: S608 - own names, and numbers
        f" SELECT first, pg_advisory_xact_lock({_TICKETS}, (first & {_LAST_KEY})::integer)"
        f" FROM (SELECT min(nextval({_SEQUENCE})) AS first"
        f" FROM generate_series(1, {rows})) AS taken;"
        f" SELECT pg_advisory_unlock({_TAKING}),"
        " set_config('purchases.lock_timeout', current_setting('lock_timeout'), true),"
        f" set_config('lock_timeout', '{_REPEATED_MILLISECONDS}', true)"
    )


def await_ticket(first: int) -> str:
    """Return the statements that wait for all batches with earlier tickets to end.

    So batches are committed in the order of their rows' numbers. The earliest is waited for first,
    so that each wait is for one batch.
    """
    distance = f"({first & _LAST_KEY} - objid::bigint) & {_LAST_KEY}"
    return (
        f"DO $$ BEGIN {_END_HANGING} END $$;"  # noqa: S608 - own names, and numbers
        " SELECT set_config('lock_timeout', current_setting('purchases.lock_timeout'), true);"
        f" SELECT count(pg_advisory_xact_lock_shared({_TICKETS}, key)) FROM ("
        "SELECT objid::integer AS key FROM pg_locks"
        f" WHERE locktype = 'advisory' AND objsubid = 2 AND classid = {_TICKETS}"
        " AND mode = 'ExclusiveLock' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        f" AND ({distance}) BETWEEN 1 AND {_LAST_KEY // 2}"
        f" ORDER BY {distance} DESC OFFSET 0) AS earlier"
    )
