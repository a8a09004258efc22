"""The reads of the live view: sums of new rows, a part of a day, the latest purchases.

Every function reads inside the caller's snapshot; sums over all time are in `store.live_totals`.
Times are µs in UTC, money is in micros. A range of row ids is what was stored between two samples:
new rows have higher ids, and of rows that a correction changed the ids stay.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from streaming.events.identifiers import event_id_text
from streaming.store.connection import StoreConnection
from streaming.store.dialect import index_hint
from streaming.totals.window import BUCKET_SECONDS, Group, RunningSums
from streaming.units import MICROS, micros_of, whole_sum

LATEST: Final = 12
"""As many purchases as the dashboard has room for."""
DESCRIBED_ROWS: Final = 50_000
"""The last rows in which descriptions are searched, so that samples do not slow down."""
QUARTER: Final = 15 * 60 * MICROS
"""A quarter of an hour in µs: a day is drawn with 96 points."""
SUMS: Final = (
    "count(*), coalesce(sum(quantity), 0), coalesce(sum(amount_micros / 1000000), 0),"
    " coalesce(sum(amount_micros % 1000000), 0)"
)
"""Units and the rest of amounts are added up apart, because SQLite adds up to 64 bits only."""


class Purchase(Struct, frozen=True):
    """One of the latest purchases."""

    event_id: str
    event_time: int
    kind: str
    item: str
    description: str | None
    quantity: int
    amount_micros: int | None
    country: str | None


def last_row(connection: StoreConnection) -> int:
    """Return the id of the last stored row, 0 if there is none."""
    row = connection.execute("SELECT coalesce(max(rowid), 0) FROM analytics_event").fetchone()
    return int(row[0])


def buckets(connection: StoreConnection, after: int, until: int, since: int) -> list[Group[int]]:
    """Sum the rows after one id up to another by bucket, of event times from `since` (µs) on."""
    width = BUCKET_SECONDS * MICROS
    rows = connection.execute(
        f"SELECT event_time / ? * ?, {SUMS} FROM analytics_event"
        " WHERE rowid > ? AND rowid <= ? AND event_time >= ? GROUP BY 1",
        (width, BUCKET_SECONDS, after, until, since),
    )
    return _whole_groups(rows)


def recent_buckets(connection: StoreConnection, until: int, since: int) -> list[Group[int]]:
    """Sum all rows up to an id by bucket, by the index on time."""
    width = BUCKET_SECONDS * MICROS
    rows = connection.execute(
        f"SELECT event_time / ? * ?, {SUMS} FROM analytics_event"
        " WHERE event_time >= ? AND rowid <= ? GROUP BY 1",
        (width, BUCKET_SECONDS, since, until),
    )
    return _whole_groups(rows)


def groups(
    connection: StoreConnection, column: str, after: int, until: int, span: tuple[int, int]
) -> list[Group[str]]:
    """Sum the rows after one id up to another by `item` or `country`, within a span of time."""
    rows = connection.execute(
        f"SELECT coalesce({column}, ''), {SUMS} FROM analytics_event"
        " WHERE rowid > ? AND rowid <= ? AND event_time >= ? AND event_time < ? GROUP BY 1",
        (after, until, *span),
    )
    return _whole_groups(rows)


def groups_of_span(
    connection: StoreConnection, column: str, until: int, span: tuple[int, int]
) -> list[Group[str]]:
    """Sum all rows up to an id by `item` or `country`, within a span of time, by its index."""
    rows = connection.execute(
        f"SELECT coalesce({column}, ''), {SUMS}"
        # By name: the bound on the row's id tempts SQLite to read the whole table in that order.
        f" FROM analytics_event {index_hint(connection, 'ix_analytics_event_event_time')}"
        " WHERE event_time >= ? AND event_time < ? AND rowid <= ? GROUP BY 1",
        (*span, until),
    )
    return _whole_groups(rows)


def sums_of_span(connection: StoreConnection, span: tuple[int, int]) -> RunningSums:
    """Sum what happened within a span of time."""
    row = connection.execute(
        f"SELECT {SUMS} FROM analytics_event WHERE event_time >= ? AND event_time < ?", span
    ).fetchone()
    return RunningSums(row[0], row[1], row[2] * MICROS + row[3])


def sums_by_quarter(connection: StoreConnection, day: date, zone: ZoneInfo) -> list[Group[int]]:
    """Sum a day by quarter of an hour; the keys are minutes of the local day."""
    start, end = day_span(day, zone)
    rows = connection.execute(
        f"SELECT (event_time - ?) / ?, {SUMS} FROM analytics_event"
        " WHERE event_time >= ? AND event_time < ? GROUP BY 1 ORDER BY 1",
        (start, QUARTER, start, end),
    )
    quarters = []
    for group in _whole_groups(rows):
        # By the wall clock: after a change of clocks a quarter is not as far from midnight.
        time = datetime.fromtimestamp((start + group.key * QUARTER) / MICROS, zone)
        quarters.append(group._replace(key=time.hour * 60 + time.minute))
    return quarters


def day_version(connection: StoreConnection, day: date) -> int:
    """Return the ledger's version of a day, which changes with its events; 0 if it has none."""
    row = connection.execute(
        "SELECT version FROM day_ledger WHERE day = ?", (day.isoformat(),)
    ).fetchone()
    return 0 if row is None else int(row[0])


def day_sums(connection: StoreConnection, day: str) -> RunningSums | None:
    """Read a day of the ledger; None if it has none."""
    row = connection.execute(
        "SELECT events, items_sold, net_revenue_trillions, net_revenue_micros FROM day_ledger"
        " WHERE day = ?",
        (day,),
    ).fetchone()
    return None if row is None else RunningSums(row[0], row[1], whole_sum(*row[2:]))


def last_day(connection: StoreConnection, until: str) -> str | None:
    """Return the last day up to `until` that has purchases."""
    # ISO dates have the order of their text.
    row = connection.execute(
        "SELECT max(day) FROM day_ledger WHERE day <= ? AND events > 0", (until,)
    ).fetchone()
    return None if row[0] is None else str(row[0])


def latest(connection: StoreConnection, limit: int = LATEST) -> list[Purchase]:
    """Return the purchases that were stored last, newest first."""
    rows = connection.execute(
        "SELECT event_id, event_time, kind, item, description, quantity, amount_micros, country"
        # By the order of storing: a late purchase is news as well.
        " FROM analytics_event ORDER BY rowid DESC LIMIT ?",
        (limit,),
    )
    return [Purchase(event_id_text(row[0]), *row[1:]) for row in rows]


def descriptions(connection: StoreConnection, items: Sequence[str], until: int) -> dict[str, str]:
    """Find how the items were described most often lately, among the last 50,000 rows."""
    if not items:
        return {}
    marks = ", ".join("?" * len(items))
    rows = connection.execute(
        f"SELECT item, description FROM analytics_event WHERE rowid > ? AND item IN ({marks})"
        " AND description IS NOT NULL GROUP BY 1, 2 ORDER BY count(*), 2",
        # Of these numbers hardly any is missing: only batches that a server rolled back leave gaps.
        (until - DESCRIBED_ROWS, *items),
    )
    # Of several descriptions of an item the last one stays, which is the most frequent.
    return dict(rows.fetchall())


def day_span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Return the first moment of a day in `zone` and that of the next, in µs."""
    # Not 24 hours later: a day on which the clocks change has 23 or 25.
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    after = day + timedelta(days=1)
    return micros_of(start), micros_of(datetime(after.year, after.month, after.day, tzinfo=zone))


def same_time(moment: datetime, days_before: int) -> tuple[int, int]:
    """Return the span from midnight to the same time of day, some days before a local moment."""
    # The difference is of the wall clock, so that a change of clocks in between does not shift it.
    then = moment - timedelta(days=days_before)
    midnight = then.replace(hour=0, minute=0, second=0, microsecond=0)
    return micros_of(midnight), micros_of(then)


def _whole_groups(
    rows: Iterable[tuple[Any, int, int, int, int]],
) -> list[Group[Any]]:
    """Return rows of a key and `SUMS` with the revenue in micros."""
    return [
        Group(key, events, items_sold, units * MICROS + rest)
        for key, events, items_sold, units, rest in rows
    ]
