"""How writers take turns on PostgreSQL, and what frees the lock of one that hangs.

Statements only; `postgres` and `engine` execute them. Other locks are in `postgres_locks`.
"""

from typing import Final

IDLE_SECONDS: Final = 60
"""After so long without a statement the server ends a transaction that writes: nobody may hold its
lock who hangs. Longer than anything that is computed between two statements."""
BUILDS: Final = "hashtextextended('purchases builds', 0)"
"""The lock that builds share while they write, and that other writers but the consumer have alone:
an erasure or a rebuild changes what builds are made of."""
WRITE_LOCK: Final = f"""DO $$ BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND usename = current_user
    AND starts_with(query, 'COPY analytics_event') AND state = 'active'
    AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - interval '{IDLE_SECONDS} s';
  LOCK TABLE live_totals IN SHARE ROW EXCLUSIVE MODE;
END $$"""
"""One writer at a time from here to its commit, as SQLite has it; readers wait for nobody.

Before that, the session is ended of a consumer that hangs in the middle of its COPY. To the server
a COPY that waits for its client is a statement, and no time limit of PostgreSQL ends it.
"""
