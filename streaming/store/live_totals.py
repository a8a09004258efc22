"""Reads of the live totals, of the day ledger's changes and of the stored positions.

Plain SQL without SQLAlchemy, so that a command starts fast. They are written by `writer` and
corrected by `rebuild`; the dashboard's own sums are in `totals.queries`. All times are µs in UTC.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from streaming.store.connection import StoreConnection
from streaming.units import whole_sum

CORRECTIONS: Final = "(SELECT coalesce(max(id), 0) FROM correction)"
"""The number of the last correction: with the events it is the version of all.

None is ever deleted. It is the number of all corrections, unless a rebuild left one that makes up
for lost events.
"""


@dataclass(frozen=True)
class ItemFigures:
    """The totals of one item."""

    item: str
    items_sold: int
    net_revenue_micros: int


@dataclass(frozen=True)
class LiveFigures:
    """The figures that the consumer updates with every batch; money in micros.

    `refused` counts dead letters whose origin is not stored. `changed_at` is None before the first
    event, and `most_popular_item` too.
    """

    events: int
    items_sold: int
    gross_revenue_micros: int
    net_revenue_micros: int
    guest_events: int
    changed_at: int | None
    most_popular_item: ItemFigures | None
    refused: int


@dataclass(frozen=True)
class DistinctFigures:
    """Figures that cannot be added up: counted from all events, in a time that grows with them."""

    orders: int
    customers: int


def live_figures(connection: StoreConnection) -> LiveFigures:
    """Read the live figures: a few rows, however many events there are."""
    row = connection.execute(
        "SELECT events, items_sold, gross_revenue_trillions, gross_revenue_micros,"
        " net_revenue_trillions, net_revenue_micros, guest_events, changed_at FROM live_totals"
    ).fetchone()
    # Before the first event there is no row.
    events, items_sold, *money, guests, changed_at = row or (0, 0, 0, 0, 0, 0, 0, None)
    gross, net = whole_sum(*money[:2]), whole_sum(*money[2:])
    best = top_items(connection, 1)
    popular = best[0] if best else None
    refused = sum(refusals(connection).values())
    return LiveFigures(events, items_sold, gross, net, guests, changed_at, popular, refused)


def top_items(connection: StoreConnection, limit: int) -> list[ItemFigures]:
    """Return the most sold items, best first; net revenue, then the name decides between equals."""
    rows = connection.execute(
        "SELECT item, items_sold, net_revenue_trillions, net_revenue_micros FROM live_item_totals"
        # Trillions before micros: both have one sign, so this is the order of their sum.
        " ORDER BY items_sold DESC, net_revenue_trillions DESC, net_revenue_micros DESC, item"
        " LIMIT ?",
        (limit,),
    )
    return [ItemFigures(item, sold, whole_sum(*revenue)) for item, sold, *revenue in rows]


def refusals(connection: StoreConnection) -> dict[str | None, int]:
    """Count the refused that are not stored by reason, most frequent first."""
    rows = connection.execute(
        # Both columns are in one index, so the dead letters themselves are not read.
        "SELECT reason, count(*) FROM dead_letter WHERE state <> 'stored'"
        " GROUP BY reason ORDER BY count(*) DESC, reason"
    )
    return dict(rows.fetchall())


def count_not_storable(connection: StoreConnection) -> int:
    """Count the records of `analytics` that cannot be stored, and that nobody has given up."""
    row = connection.execute(
        "SELECT count(*) FROM dead_letter WHERE state = 'open' AND reason = 'not_storable'"
    ).fetchone()
    return int(row[0])


def read_version(connection: StoreConnection) -> int:
    """Return the version of all figures, which grows with every event and every correction."""
    row = connection.execute(f"SELECT events + {CORRECTIONS} FROM live_totals").fetchone()  # noqa: S608
    return 0 if row is None else int(row[0])


def count_events_since(connection: StoreConnection, micros: int) -> int:
    """Count the stored events whose time is not before `micros`."""
    row = connection.execute(
        "SELECT count(*) FROM analytics_event WHERE event_time >= ?", (micros,)
    ).fetchone()
    return int(row[0])


def read_first_day(connection: StoreConnection, start: date) -> date | None:
    """Read the first day with events that is not before `start`."""
    (day,) = connection.execute(
        "SELECT min(day) FROM day_ledger WHERE events > 0 AND day >= ?", (start.isoformat(),)
    ).fetchone()
    return None if day is None else date.fromisoformat(day)


def count_corrections(connection: StoreConnection) -> int:
    """Return the number of the last correction, which grows with every change of a stored event."""
    return int(connection.execute(f"SELECT {CORRECTIONS}").fetchone()[0])


def distinct_figures(connection: StoreConnection) -> DistinctFigures:
    """Count orders and customers from all events (0.25 s for 541,907)."""
    row = connection.execute(
        'SELECT count(DISTINCT order_id), count(DISTINCT "user") FROM analytics_event'
    ).fetchone()
    return DistinctFigures(*row)


@dataclass(frozen=True)
class ChangedDay:
    """A day of the ledger, as `2011-03-27`, at a version."""

    day: str
    version: int
    events: int
    items_sold: int


def changed_days(
    connection: StoreConnection, after: tuple[int, str], until: int, limit: int
) -> list[ChangedDay]:
    """Return the days changed after a (version, day) up to a version, in this order.

    All days that one batch touched share a version, so a version alone does not order them. Before
    all days is "".
    """
    version, day = after
    rows = connection.execute(
        "SELECT day, version, events, items_sold FROM day_ledger"
        " WHERE (version, day) > (?, ?) AND version <= ? ORDER BY version, day LIMIT ?",
        (version, day or date.min.isoformat(), until, limit),
    )
    return [ChangedDay(*row) for row in rows]
