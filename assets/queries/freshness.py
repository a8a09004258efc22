"""How the tables stand against the stream, for each figure that is shown: queries, records out.

Read inside the caller's snapshot. What is built when is decided in `staleness`.
"""

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from assets.builds.staleness import is_provisional
from assets.queries.records import DayStanding, Range, Standing, TableTruth, Truth, Verification
from assets.tables.models import DAY_TABLE_NAMES, WHOLE, WHOLE_TABLE_NAMES
from streaming.errors import NotFound
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import live_figures
from streaming.units import rfc_3339

VERIFICATIONS: Final = 10


def truth(store: StoreConnection, zone: ZoneInfo, dagster: str | None) -> Truth:
    """Give how every table stands, and what was verified."""
    everything = Range(date(1000, 1, 1), date.max)
    return Truth(
        as_of=text_of(None),
        events=live_figures(store).events,
        tables=[
            *(standing_of_days(store, name, everything, zone) for name in DAY_TABLE_NAMES),
            *(standing_of_whole(store, name) for name in WHOLE_TABLE_NAMES),
        ],
        verifications=[
            Verification(text_of(at), bool(agrees), msgspec.json.decode(found, type=list[str]))
            for at, agrees, found in store.execute(
                "SELECT finished_at, agrees, differences FROM verification"
                " ORDER BY id DESC LIMIT ?",
                (VERIFICATIONS,),
            )
        ],
        dagster=dagster,
    )


def table_truth(store: StoreConnection, table: str, days: Range, zone: ZoneInfo) -> TableTruth:
    """Give how each day of a table stands. Raises `NotFound` where no such table has days."""
    if table not in DAY_TABLE_NAMES:
        raise NotFound(f"{table} is no table of days; these are {', '.join(DAY_TABLE_NAMES)}.")
    standings = days_of(store, table, days, zone)
    return TableTruth(standing=_summed(table, standings), days=standings)


def standing_of_days(store: StoreConnection, table: str, days: Range, zone: ZoneInfo) -> Standing:
    """Sum up how the days of a table stand."""
    return _summed(table, days_of(store, table, days, zone))


def standing_of_whole(store: StoreConnection, table: str) -> Standing:
    """Give how a table stands that is not cut into days; it is never provisional."""
    events, built, built_at = store.execute(
        "SELECT t.events, coalesce(b.events, 0), b.built_at FROM live_totals t"
        " LEFT JOIN table_build b ON b.table_name = ? AND b.partition = ?",
        (table, WHOLE),
    ).fetchone() or (0, 0, None)
    failed = store.execute("SELECT count(*) FROM build_failure WHERE table_name = ?", (table,))
    return Standing(
        table=table,
        partitions=int(built_at is not None),
        behind=events - built,
        behind_days=0,
        provisional_days=0,
        failed=failed.fetchone()[0],
        built_at=None if built_at is None else text_of(built_at),
    )


def standing_of_events() -> Standing:
    """Give how figures stand that are read from the events themselves: as the stream does."""
    return Standing(
        table="analytics_event",
        partitions=0,
        behind=0,
        behind_days=0,
        provisional_days=0,
        failed=0,
        built_at=None,
    )


def days_of(store: StoreConnection, table: str, days: Range, zone: ZoneInfo) -> list[DayStanding]:
    """Give how each day of a table stands that has events or was built, oldest first."""
    rows = store.execute(_DAYS, {"table": table, "first": str(days.first), "last": str(days.last)})
    return [_day(zone, *row) for row in rows]


def text_of(micros: int | None) -> str:
    """Give a time (µs) as RFC 3339 in UTC; None is now."""
    time = datetime.now(UTC) if micros is None else datetime.fromtimestamp(micros / 1e6, UTC)
    return rfc_3339(time)


def _day(  # noqa: PLR0913, PLR0917 - a row
    zone: ZoneInfo,
    day: str,
    version: int,
    events: int,
    built_version: int,
    built_events: int,
    built_at: int | None,
    failure: str | None,
) -> DayStanding:
    if failure is not None:
        state = "failed"
    elif built_at is None:
        state = "missing"
    elif version != built_version:
        state = "behind"
    else:
        provisional = is_provisional(date.fromisoformat(day), built_at, zone)
        state = "provisional" if provisional else "current"
    return DayStanding(
        day=day,
        state=state,
        version=version,
        built_version=built_version,
        behind=events - built_events if version != built_version else 0,
        built_at=None if built_at is None else text_of(built_at),
        failure=failure,
    )


def _summed(table: str, days: list[DayStanding]) -> Standing:
    return Standing(
        table=table,
        partitions=sum(day.built_at is not None for day in days),
        behind=sum(day.behind for day in days),
        behind_days=sum(day.version != day.built_version for day in days),
        provisional_days=sum(day.state == "provisional" for day in days),
        failed=sum(day.failure is not None for day in days),
        built_at=min((day.built_at for day in days if day.built_at), default=None),
    )


_DAYS: Final = """
WITH days(day) AS (
  SELECT CAST(day AS TEXT) FROM day_ledger WHERE day BETWEEN :first AND :last
  UNION
  SELECT partition FROM table_build WHERE table_name = :table AND partition BETWEEN :first AND :last
)
SELECT d.day, coalesce(l.version, 0), coalesce(l.events, 0), coalesce(b.version, 0),
  coalesce(b.events, 0), b.built_at, f.reason
FROM days d
LEFT JOIN day_ledger l ON l.day = d.day
LEFT JOIN table_build b ON b.table_name = :table AND b.partition = d.day
LEFT JOIN build_failure f ON f.table_name = :table AND f.partition = d.day
ORDER BY d.day
"""
