"""Limits in time that depend on one another, in seconds, and what each is longer or shorter than.

Their order is checked by a test. A limit that depends on no other stands beside what it limits.
"""

from typing import Final

STATUS_SECONDS: Final = 1.0
"""How often a worker writes its status file, which is its heartbeat."""

CALL_SECONDS: Final = 5.0
"""Timeout of one call to Kafka. Shorter than the watchdog, which ends a call that ignores it."""

COORDINATOR_REQUEST_SECONDS: Final = 60.0
"""The time of a request to a group's coordinator, longer than anybody waits for its answer:
librdkafka ends the process, by an assertion, if it learns where the coordinator is after the
request's time is over (librdkafka #4605). To drop the client before does no harm."""

WATCHDOG_SECONDS: Final = 8
"""After so long without a turn of its loop a worker ends itself. Longer than a call with its
timeout, shorter than the supervisor waits and than `TRANSACTION_SECONDS`: a stuck worker is
gone before the broker aborts what it had open."""

OFFSETS_SECONDS: Final = 3.0
"""Timeout of sending offsets to a transaction: shorter than its own watchdog's limit."""

OFFSETS_WATCHDOG_SECONDS: Final = 4
"""The watchdog's limit around that call, which may never return (librdkafka #5456)."""

TRANSACTION_SECONDS: Final = 10
"""Kafka's transaction timeout of the processor. Longer than the two calls of a commit together;
short, because consumers see nothing behind the transaction of a processor that died."""

RECOVERY_CALL_SECONDS: Final = 4.0
"""Timeout of one call of a recovery: six in turn fit into `RECOVERY_WATCHDOG_SECONDS`."""

RECOVERY_WATCHDOG_SECONDS: Final = 25
"""The watchdog's limit around a recovery. Shorter than the supervisor waits."""

REGISTRY_WATCHDOG_SECONDS: Final = 25
"""The watchdog's limit around a question to the schema registry, which may be two of 5 s each.
Shorter than the supervisor waits."""

WRITE_WATCHDOG_SECONDS: Final = 25
"""The watchdog's limit around a database write: waiting for another writer, a large batch and a
checkpoint on a slow disk come together. Shorter than the supervisor waits."""

SUSPECT_SECONDS: Final = 15.0
"""After so long without a heartbeat a status says so. Longer than the watchdog, which ends a stuck
worker by itself, and shorter than the supervisor waits."""

SILENT_SECONDS: Final = 30.0
"""After so long without a heartbeat the supervisor kills a worker: longer than all limits above."""

START_SECONDS: Final = 120.0
"""After so long without its first heartbeat the supervisor kills a worker. Its imports take two
seconds of CPU time. Beside 26 busy processes on two cores they took 56 s, and a worker that is
killed for that never starts."""

GROUP_HEARTBEAT_SECONDS: Final = 1
"""Kafka's heartbeat interval of a group's member: at most a third of its session timeout."""

SESSION_SECONDS: Final = 6
"""Kafka's session timeout: a member that is away for longer loses its partitions. Longer than the
restart of a worker that died (about 2 s), so that it comes back to them; short, because the other
host of a slot waits for it. The client's own thread sends the heartbeats, so that it may be shorter
than the watchdog."""

LONGEST_DELAY_SECONDS: Final = 5.0
"""The supervisor's longest delay before it starts a worker again: shorter than the session timeout.
"""
