"""The database against itself: its events against all that the consumer counted of them.

Every function reads inside the caller's snapshot and returns a `Check`; nothing is written.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from streaming.store.connection import StoreConnection
from streaming.verification.check import Check

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Offsets from UTC are multiples of a quarter of an hour today, so that midnight begins a slot.
SLOT: Final = 15 * 60 * 1_000_000
ITEM_FIGURES: Final = ("events", "items_sold", "gross_revenue_micros", "net_revenue_micros")
TOTALS: Final = (*ITEM_FIGURES, "guest_events")
DAY_FIGURES: Final = ("events", "items_sold", "net_revenue_micros")
# SQLite cannot add up more than 64 bits: units and the rest of the amounts are added up apart.
# Division truncates and the remainder has the sign of the amount, so that both parts of a return
# are negative.
NET: Final = "sum(amount_micros / 1000000), sum(amount_micros % 1000000)"
SALE: Final = "CASE WHEN quantity > 0 THEN amount_micros END"
GROSS: Final = f"sum({SALE} / 1000000), sum({SALE} % 1000000)"
STORED_GROSS: Final = "gross_revenue_trillions, gross_revenue_micros"
STORED_NET: Final = "net_revenue_trillions, net_revenue_micros"

UNIT: Final = 10**6
"""Micros of a unit of the currency."""
TRILLION: Final = 10**18
"""Micros of a trillion of the currency, in which the store counts apart."""

Figures = tuple[int, ...]


def check_totals(connection: StoreConnection) -> Check:
    """Compare `live_totals` with the sums over all events."""
    check = Check("live totals")
    counted = _figures(
        connection,
        f"SELECT '', count(*), coalesce(sum(quantity), 0), {GROSS}, {NET},"
        " coalesce(sum(user IS NULL), 0) FROM analytics_event",
        UNIT,
        money=(2, 3),
    )
    stored = _figures(
        connection,
        f"SELECT '', events, items_sold, {STORED_GROSS}, {STORED_NET}, guest_events"
        " FROM live_totals",
        TRILLION,
        money=(2, 3),
    )
    _compare(check, "live_totals", TOTALS, counted, stored)
    return check


def check_items(connection: StoreConnection) -> Check:
    """Compare each row of `live_item_totals` with the sums over the item's events."""
    counted = _figures(
        connection,
        f"SELECT item, count(*), sum(quantity), {GROSS}, {NET} FROM analytics_event GROUP BY item",
        UNIT,
        money=(2, 3),
    )
    stored = _figures(
        connection,
        f"SELECT item, events, items_sold, {STORED_GROSS}, {STORED_NET} FROM live_item_totals",
        TRILLION,
        money=(2, 3),
    )
    check = Check("items")
    _compare(check, "live_item_totals of item", ITEM_FIGURES, counted, stored)
    return check


def check_days(connection: StoreConnection, zone: ZoneInfo) -> Check:
    """Compare each row of `day_ledger` with the sums over the events of that day in `zone`."""
    # SQLite's own dates know UTC and the machine's zone, not the deployment's.
    connection.create_function("verified_day", 1, day_in(zone), deterministic=True)
    counted = _figures(
        connection,
        f"SELECT verified_day(event_time), count(*), sum(quantity), {NET}"
        " FROM analytics_event GROUP BY 1",
        UNIT,
        money=(2,),
    )
    stored = _figures(
        connection,
        f"SELECT day, events, items_sold, {STORED_NET} FROM day_ledger",
        TRILLION,
        money=(2,),
    )
    check = Check("days")
    _compare(check, "day_ledger of", DAY_FIGURES, counted, stored)
    return check


def check_positions(connection: StoreConnection, group: str, topic: str) -> Check:
    """Compare the counts of each partition of `analytics` with the events stored from it."""
    check = Check("partitions of analytics")
    rows = connection.execute(
        "SELECT stream_partition, count(*), max(stream_offset) FROM analytics_event GROUP BY 1"
    )
    held: dict[int, tuple[int, int]] = {row[0]: (row[1], row[2]) for row in rows}
    positions = connection.execute(
        "SELECT partition, next_offset, records, stored, duplicates, conflicting, not_storable,"
        " (SELECT count(*) FROM dead_letter d WHERE d.origin_topic_id = o.topic_id"
        " AND d.origin_partition = o.partition AND d.reason = 'not_storable')"
        " FROM stream_offset o WHERE consumer_group = ? AND topic = ? ORDER BY partition",
        (group, topic),
    ).fetchall()
    for partition, following, records, stored, duplicates, conflicting, refused, kept in positions:
        check.compared += 1
        row = f"stream_offset of {topic}-{partition}"
        events, last = held.pop(partition, (0, -1))
        if records != stored + duplicates + refused:
            check.differ(
                f"{row}: {records} records, but {stored} stored + {duplicates} known + {refused}"
                " not storable."
            )
        # One that is read again is counted again, and has one row.
        if kept > refused or (refused and not kept):
            check.differ(f"{row}: {refused} not storable, but dead_letter holds {kept} from it.")
        if conflicting > duplicates:
            check.differ(f"{row}: {conflicting} conflicting, but {duplicates} duplicates.")
        if stored != events:
            check.differ(f"{row}: {stored} stored, but analytics_event holds {events} from it.")
        if last >= following:
            check.differ(f"{row}: next is {following}, but an event came from {last}.")
    for partition, (events, _) in sorted(held.items()):
        if partition < 0:  # of a log that was given up, see `store.offsets`
            continue
        check.differ(f"{events} events came from {topic}-{partition}, which was never read.")
    return check


def day_in(zone: ZoneInfo) -> Callable[[int], str]:
    """Return the function from µs to the ISO date in `zone`.

    A quarter of an hour whose first and last instants share a date and offset is asked for once.
    """
    whole: dict[int, str | None] = {}

    def date_at(micros: int) -> tuple[str, timedelta | None]:
        local = (EPOCH + timedelta(microseconds=micros)).astimezone(zone)
        return local.date().isoformat(), local.utcoffset()

    def day_of(micros: int) -> str:
        slot = micros // SLOT
        if slot not in whole:
            first, last = date_at(slot * SLOT), date_at(slot * SLOT + SLOT - 1)
            whole[slot] = first[0] if first == last else None
        return whole[slot] or date_at(micros)[0]

    return day_of


def _figures(
    connection: StoreConnection, statement: str, weight: int, money: tuple[int, ...]
) -> dict[str, Figures]:
    """Read the figures by name; from the places `money` on, two columns are one sum in micros.

    The first of the two columns counts what is `weight` micros.
    """
    figures = {}
    for name, *columns in connection.execute(statement):
        for place in money:
            high, low = columns[place : place + 2]
            # The gross is NULL without any sale, and every sum is without any row.
            columns[place : place + 2] = [(high or 0) * weight + (low or 0)]
        figures[str(name)] = tuple(columns)
    return figures


def _compare(
    check: Check,
    what: str,
    names: tuple[str, ...],
    counted: dict[str, Figures],
    stored: dict[str, Figures],
) -> None:
    """Compare row by row; one that is missing is the same as one of zeros."""
    zeros = (0,) * len(names)
    keys = counted.keys() | stored.keys()
    check.compared += len(keys)
    if counted == stored:
        return
    for key in sorted(keys):
        right, actual = counted.get(key, zeros), stored.get(key, zeros)
        wrong = [
            f"{name} is {is_}, the events say {should}"
            for name, is_, should in zip(names, actual, right, strict=True)
            if is_ != should
        ]
        if wrong:
            # The one row of `live_totals` has an empty name.
            check.differ(f"{what} {key}: {'; '.join(wrong)}.".replace(" :", ":"))
