"""`verify`: proves by a path of its own that what was stored is what came.

The package shares no code with the consumer (`analytics`, `store.rows`, `store.writer`), so that
an error there cannot hide here. The comparisons are in the other modules; this one puts them
together and keeps the result in the table `verification`.
"""

import time
from collections.abc import Callable
from contextlib import closing
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from streaming.errors import PurchasesError
from streaming.kafka.acls import reader_rules
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.settings import Settings
from streaming.store.connection import open_reader, write_store
from streaming.store.deployment import recorded_deployment
from streaming.verification.check import Check
from streaming.verification.database_checks import (
    check_days,
    check_items,
    check_positions,
    check_totals,
)
from streaming.verification.topic_checks import check_topics


class VerificationReport(Struct, frozen=True, kw_only=True):
    """What one run compared and found; times in µs.

    `offsets` are first offset and end of what was compared of each partition, by topic; `since` is
    the append time (RFC 3339) of the oldest record of `purchases` that was followed, None if none
    was. `unreadable` are sentences about batches that nobody can unpack.
    """

    started_at: int
    finished_at: int
    checks: list[Check]
    offsets: dict[str, dict[int, tuple[int, int]]]
    since: str | None
    unreadable: list[str] = []

    @property
    def differences(self) -> int:
        """The number of differences in all."""
        return sum(check.differing for check in self.checks)

    @property
    def examples(self) -> list[str]:
        """The first differences of each check."""
        return [sentence for check in self.checks for sentence in check.examples]


def verify(settings: Settings, progress: Callable[[str, int, int], None]) -> VerificationReport:
    """Compare everything, also while the stream runs, and keep the result in the database.

    `progress` gets what is being read, records done and about how many in all. Raises
    `PurchasesError` if there is nothing to verify, and `Unavailable` if Kafka or the database does
    not answer.
    """
    started_at = time.time_ns() // 1000
    path, names = settings.database_path, Names.of(settings)
    with closing(open_reader(settings)) as reader:
        cluster = preflight(settings, reader_rules(names), optional=[names.redrive])
        with reader.snapshot() as connection:
            deployment = recorded_deployment(connection)
            if deployment is None:
                raise PurchasesError(f"{path} was never used by `purchases up` or `analyze`.")
            group = names.analytics_group(deployment.deployment_id)
            progress("the database", 0, 0)
            checks = [
                check_totals(connection),
                check_items(connection),
                check_days(connection, ZoneInfo(deployment.timezone)),
                check_positions(connection, group, names.analytics),
            ]
            compared = check_topics(connection, settings, cluster, group, progress)
    result = VerificationReport(
        started_at=started_at,
        finished_at=time.time_ns() // 1000,
        checks=checks + compared.checks,
        offsets=compared.offsets,
        since=compared.since,
        unreadable=compared.unreadable,
    )
    # By a connection of its own: a transaction that began as a reader cannot become a writer while
    # the stream writes (docs/decisions/0026).
    _keep(settings, result)
    return result


def _keep(settings: Settings, result: VerificationReport) -> None:
    compared = {
        "checks": {check.name: check.compared for check in result.checks},
        "offsets": result.offsets,
        "since": result.since,
        "unreadable": result.unreadable,
    }
    with write_store(settings) as store:
        store.execute(
            "INSERT INTO verification (started_at, finished_at, agrees, compared, differences)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                result.started_at,
                result.finished_at,
                not result.differences,
                msgspec.json.encode(compared).decode(),
                msgspec.json.encode(result.examples).decode(),
            ),
        )
