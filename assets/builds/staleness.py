"""Staleness: the day versions of the stream against those that the tables were built from.

All is pure except the `read_` functions. Which runs are requested is in
`orchestration.automation.run_plan`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE, WHOLE_TABLE_NAMES
from assets.tables.sql_transform import is_day_table
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import CORRECTIONS

RETRY_MICROS: Final = 5 * 60 * 1_000_000
"""The wait after the first failure: long enough for a disk to be cleaned up; it doubles."""
LONGEST_RETRY_MICROS: Final = 6 * 3_600 * 1_000_000
"""The wait never grows beyond this, so that a mended cause is noticed within a working day."""
CLOSE_TIME: Final = time(0, 15)
"""When the day's close runs, as `schedules.CLOSE` has it: purchases come some minutes late."""


@dataclass(frozen=True)
class LastFailure:
    """The last failure of a partition's build; `failed_at` in µs."""

    version: int
    attempts: int
    reason: str
    run_id: str
    failed_at: int


@dataclass(frozen=True)
class StalePartition:
    """A partition of a table whose build is not at the day's version; times in µs.

    `built_version` is 0, `built_at` None and `built_by` empty if it was never built. `behind` is
    the number of stored events that the build lacks, `cpu_time` (µs) is what it took, and
    `built_by` is its run.
    """

    table: str
    partition: str
    version: int
    changed_at: int
    built_version: int
    built_at: int | None
    behind: int
    cpu_time: int = 0
    built_by: str = ""
    failure: LastFailure | None = None

    @property
    def tried_at(self) -> int | None:
        """When it was last built, or its last build failed; None if neither ever happened."""
        failed_at = None if self.failure is None else self.failure.failed_at
        return max((at for at in (self.built_at, failed_at) if at is not None), default=None)

    def due_at(self) -> int:
        """Return from when on (µs) it may be built; 0 is at once."""
        failure = self.failure
        # A new version may well succeed: only a failure of this very version makes it wait.
        if failure is None or failure.version != self.version:
            return 0
        return retry_time(failure)

    @property
    def has_failed_often(self) -> bool:
        """Whether its build failed at this version until it is tried every six hours only."""
        failure = self.failure
        if failure is None or failure.version != self.version:
            return False
        return retry_time(failure) - failure.failed_at >= LONGEST_RETRY_MICROS


def retry_time(failure: LastFailure) -> int:
    """Return when (µs) a failed build is tried again: after 5 minutes, doubling to 6 hours."""
    # Seven doublings exceed the limit already; without `min` the shift would grow with attempts.
    doubled = RETRY_MICROS << min(failure.attempts - 1, 10)
    return failure.failed_at + min(doubled, LONGEST_RETRY_MICROS)


def read_stale_partitions(
    connection: StoreConnection, sql: Mapping[str, str]
) -> list[StalePartition]:
    """Read every stale partition: days in their order, then the whole tables (20 ms for 10,000).

    `sql` has the code version of each table of a file by its name; what another text built is stale
    too. Days with events in the archive never are of such a table: its statement reads rows. Days
    without a partition in Dagster are among the others; `stale_days` leaves them out.
    """
    failures = read_failures(connection)
    listed = "".join(f", (:table{n}, :code{n})" for n in range(len(sql)))
    values = {
        name: value
        for n, (table, code) in enumerate(sql.items())
        for name, value in ((f"table{n}", table), (f"code{n}", code))
    }
    rows = connection.execute(_STALE_PARTITIONS.format(sql=listed), values).fetchall()
    return [replace(StalePartition(*row), failure=failures.get((row[0], row[1]))) for row in rows]


def read_current_builds(
    connection: StoreConnection, sql: Mapping[str, str]
) -> set[tuple[str, str]]:
    """Read the table and partition of every build that `read_stale_partitions` does not list."""
    built = set(map(tuple, connection.execute("SELECT table_name, partition FROM table_build")))
    return built - {(one.table, one.partition) for one in read_stale_partitions(connection, sql)}


def read_failures(connection: StoreConnection) -> dict[tuple[str, str], LastFailure]:
    """Read the failures that no successful build has followed, by table and partition."""
    rows = connection.execute(
        "SELECT table_name, partition, version, attempts, reason, run_id, failed_at"
        " FROM build_failure"
    )
    return {(row[0], row[1]): LastFailure(*row[2:]) for row in rows}


def read_added_days(connection: StoreConnection) -> list[date]:
    """Read the days of which events were added since all were computed, newest first."""
    rows = connection.execute(
        "SELECT DISTINCT partition FROM table_build WHERE added_events > 0 ORDER BY 1 DESC"
    )
    return [date.fromisoformat(row[0]) for row in rows]


def read_provisional_days(
    connection: StoreConnection, tables: Collection[str], zone: ZoneInfo
) -> list[date]:
    """Read the days of which a build of one of these day tables is older than the day's close."""
    rows = connection.execute("SELECT table_name, partition, built_at FROM table_build")
    builds = [(date.fromisoformat(day), at) for table, day, at in rows if table in tables]
    return [day for day, built_at in builds if is_provisional(day, built_at, zone)]


def stale_days(
    partitions: Iterable[StalePartition], history: DayRange, now: int
) -> dict[date, frozenset[str]]:
    """Return the days of `history` to build at `now` (µs), newest first, each with its tables.

    A day whose build failed at this version is left out until it is due.
    """
    tables_by_day: dict[date, set[str]] = {}
    for stale in partitions:
        if is_day_table(stale.table) and stale.due_at() <= now:
            day = date.fromisoformat(stale.partition)
            tables_by_day.setdefault(day, set()).add(stale.table)
    # The newest first, because somebody is most likely to look at them.
    days = sorted((day for day in tables_by_day if day in history), reverse=True)
    return {day: frozenset(tables_by_day[day]) for day in days}


def stale_summaries(partitions: Iterable[StalePartition], now: int) -> frozenset[str]:
    """Return the whole tables to build at `now` (µs)."""
    return frozenset(p.table for p in partitions if p.partition == WHOLE and p.due_at() <= now)


def days_out_of_range(ledger: Mapping[date, int], history: DayRange) -> dict[date, int]:
    """Return the days with events outside of `history`, with the number of their events."""
    return {day: events for day, events in ledger.items() if day not in history and events}


def is_provisional(day: date, built_at: int | None, zone: ZoneInfo) -> bool:
    """Return whether the build (µs, None: none) is older than the day's close, in local time."""
    closed = datetime.combine(day + timedelta(1), CLOSE_TIME, zone).timestamp() * 1_000_000
    return built_at is None or built_at < closed


def _values(names: Sequence[str], more: str = "") -> str:
    return ", ".join(f"('{name}'{more})" for name in names)


# A missing build counts as version 0, so that a day without events is never stale.
# Our own tables have no code here, and NULL differs from nothing: an upgrade makes no day stale.
_STALE_PARTITIONS: Final = f"""
WITH day_table(name, code) AS (
  VALUES {_values(DAY_TABLE_NAMES, ", NULL")}{{sql}}
),
whole_table(name) AS (VALUES {_values(WHOLE_TABLE_NAMES)}),
target AS (
  SELECT name, code, CAST(day AS TEXT) AS partition, version, changed_at, events
  FROM day_ledger CROSS JOIN day_table
  UNION ALL
  SELECT name, NULL, '{WHOLE}', events + {CORRECTIONS}, changed_at, events
  FROM live_totals CROSS JOIN whole_table
)
SELECT t.name, t.partition, t.version, t.changed_at, coalesce(b.version, 0), b.built_at,
  t.events - coalesce(b.events, 0), coalesce(b.cpu_time, 0), coalesce(b.run_id, '')
FROM target t LEFT JOIN table_build b ON b.table_name = t.name AND b.partition = t.partition
WHERE (t.version <> coalesce(b.version, 0) OR t.code <> b.code_version)
  AND (t.code IS NULL
    OR t.partition NOT IN (SELECT CAST(day AS TEXT) FROM column_file WHERE archived > 0))
"""  # noqa: S608 - constants
