"""Queries of the freshness of tables and days, for the dashboard and the API.

They read inside the caller's snapshot. What is stale for a run is in `builds.staleness`.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from assets.builds.staleness import is_provisional
from assets.queries.records import (
    DayFreshness,
    Freshness,
    FreshnessReport,
    TableFreshness,
    VerificationRun,
)
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE, WHOLE_TABLE_NAMES
from streaming.errors import NotFound
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import CORRECTIONS, live_figures
from streaming.store.sql_tables import code_versions
from streaming.units import rfc_3339

FIRST_DAY: Final = date(1000, 1, 1)
"""SQLite compares days as texts, and Python writes a year before 1000 with fewer digits."""
VERIFICATIONS: Final = 10
"""How many verifications are listed, newest first."""


def read_freshness_report(
    store: StoreConnection, settings: Settings, dagster: str | None
) -> FreshnessReport:
    """Read the freshness of every table, and the last verifications."""
    zone, sql = settings.zone, code_versions(settings)
    every_day = DayRange(FIRST_DAY, date.max)
    return FreshnessReport(
        as_of=utc_text(None),
        events=live_figures(store).events,
        tables=[
            *(read_days_freshness(store, name, every_day, zone) for name in DAY_TABLE_NAMES),
            *(read_days_freshness(store, name, every_day, zone, sql[name]) for name in sql),
            *(read_whole_freshness(store, name) for name in WHOLE_TABLE_NAMES),
        ],
        verifications=[
            VerificationRun(
                utc_text(at), bool(agrees), msgspec.json.decode(differences, type=list[str])
            )
            for at, agrees, differences in store.execute(
                "SELECT finished_at, agrees, differences FROM verification"
                " ORDER BY id DESC LIMIT ?",
                (VERIFICATIONS,),
            )
        ],
        dagster=dagster,
    )


def read_table_freshness(
    store: StoreConnection, table: str, days: DayRange, settings: Settings
) -> TableFreshness:
    """Read the freshness of each day of a table. Raises `NotFound` if it is no day table."""
    sql = code_versions(settings)
    tables = (*DAY_TABLE_NAMES, *sql)
    if table not in tables:
        raise NotFound(f"{table} is no day table; name one of {', '.join(tables)}.")
    of_days = read_freshness_of_days(store, table, days, settings.zone, sql.get(table))
    return TableFreshness(standing=sum_up(table, of_days), days=of_days)


def read_days_freshness(
    store: StoreConnection,
    table: str,
    days: DayRange,
    zone: ZoneInfo,
    code_version: str | None = None,
) -> Freshness:
    """Read the freshness of a range of a table's days, in sum."""
    return sum_up(table, read_freshness_of_days(store, table, days, zone, code_version))


def read_whole_freshness(store: StoreConnection, table: str) -> Freshness:
    """Read the freshness of a table that is not cut into days; it is never provisional."""
    # Before the first event there is no row of live totals.
    missing, is_stale, built_at = store.execute(
        "SELECT t.events - coalesce(b.events, 0),"  # noqa: S608 - a constant
        f" t.events + {CORRECTIONS} <> coalesce(b.version, 0), b.built_at FROM live_totals t"
        " LEFT JOIN table_build b ON b.table_name = ? AND b.partition = ?",
        (table, WHOLE),
    ).fetchone() or (0, 0, None)
    failed = store.execute("SELECT count(*) FROM build_failure WHERE table_name = ?", (table,))
    return Freshness(
        table=table,
        partitions=int(built_at is not None),
        # A build that lacks no event, but a correction, is one behind.
        behind=max(missing, int(is_stale)),
        behind_days=0,
        missing_days=0,
        provisional_days=0,
        failed=failed.fetchone()[0],
        built_at=None if built_at is None else utc_text(built_at),
    )


def events_freshness() -> Freshness:
    """Return the freshness of figures that are read from the stored events: never behind."""
    return Freshness(
        table="analytics_event",
        partitions=0,
        behind=0,
        behind_days=0,
        missing_days=0,
        provisional_days=0,
        failed=0,
        built_at=None,
    )


def read_freshness_of_days(
    store: StoreConnection,
    table: str,
    days: DayRange,
    zone: ZoneInfo,
    code_version: str | None = None,
) -> list[DayFreshness]:
    """Read the freshness of each day that has events or was built, oldest first.

    What another code version than this built is behind; None accepts any.
    """
    first, last = days.iso_bounds()
    parameters = {
        "table": table,
        "first_day": first,
        "last_day": last,
        # Again, because a day is a date, and the name of a partition is a text.
        "first": first,
        "last": last,
        "code": code_version,
    }
    rows = store.execute(_DAYS, parameters)
    return [_day_freshness(zone, *row) for row in rows]


def list_missing(days: Iterable[DayFreshness]) -> list[str]:
    """Return the days that have no build at all."""
    return [day.day for day in days if day.built_at is None]


def utc_text(micros: int | None) -> str:
    """Return a time (µs) as RFC 3339 in UTC; None is now."""
    time = datetime.now(UTC) if micros is None else datetime.fromtimestamp(micros / 1e6, UTC)
    return rfc_3339(time)


def _day_freshness(  # noqa: PLR0913, PLR0917 - a row of `_DAYS`
    zone: ZoneInfo,
    day: str,
    version: int,
    events: int,
    built_version: int,
    built_events: int,
    built_at: int | None,
    failure: str | None,
) -> DayFreshness:
    # A failure shows first: an old build beside it may be behind as well, and cannot mend it.
    if failure is not None:
        state = "failed"
    elif built_at is None:
        state = "missing"
    elif version != built_version:
        state = "behind"
    else:
        provisional = is_provisional(date.fromisoformat(day), built_at, zone)
        state = "provisional" if provisional else "current"
    return DayFreshness(
        day=day,
        state=state,
        version=version,
        built_version=built_version,
        # A correction may take an event from a day, or change one: such a day is one behind.
        behind=max(events - built_events, 1) if version != built_version else 0,
        built_at=None if built_at is None else utc_text(built_at),
        failure=failure,
    )


def sum_up(table: str, days: list[DayFreshness]) -> Freshness:
    """Return the freshness of days of a table in sum."""
    return Freshness(
        table=table,
        partitions=sum(day.built_at is not None for day in days),
        behind=sum(day.behind for day in days),
        behind_days=sum(day.version != day.built_version for day in days),
        missing_days=len(list_missing(days)),
        provisional_days=sum(day.state == "provisional" for day in days),
        failed=sum(day.failure is not None for day in days),
        built_at=min((day.built_at for day in days if day.built_at), default=None),
    )


_DAYS: Final = """
WITH ledger(day, version, events) AS (
  SELECT CAST(day AS TEXT), version, events FROM day_ledger
  WHERE day BETWEEN :first_day AND :last_day
), days(day, version, events) AS (
  SELECT day, version, events FROM ledger
  UNION ALL
  SELECT partition, 0, 0 FROM table_build
  WHERE table_name = :table AND partition BETWEEN :first AND :last
    AND partition NOT IN (SELECT day FROM ledger)
)
SELECT d.day, d.version, d.events,
  CASE WHEN b.code_version <> :code THEN 0 ELSE coalesce(b.version, 0) END,
  coalesce(b.events, 0), b.built_at, f.reason
FROM days d
LEFT JOIN table_build b ON b.table_name = :table AND b.partition = d.day
LEFT JOIN build_failure f ON f.table_name = :table AND f.partition = d.day
ORDER BY d.day
"""
