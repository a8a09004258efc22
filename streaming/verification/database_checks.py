"""The database against itself: its events against all that the consumer counted of them.

Every function reads inside the caller's snapshot; nothing is written. Functions named `counted_…`
sum the events that were stored after a row, functions named `stored_…` read what the consumer did.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import json

from streaming.store.archive import is_archive_shown
from streaming.store.connection import StoreConnection
from streaming.units import EPOCH
from streaming.verification.check import Check
from streaming.verification.records import shown_id

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
DAY_SUMS: Final = f"count(*), sum(quantity), {NET}"
# Division truncates towards zero. No time is so far before 1970 that it stays negative here.
BEFORE: Final = 100_000_000
"""Slots by which times are moved forward to be divided."""
SLOTS: Final = (
    f"(event_time + {SLOT * BEFORE}) / {SLOT} - {BEFORE}, {DAY_SUMS} FROM analytics_event"
    " WHERE rowid > ? GROUP BY 1"
)
GROSS: Final = f"sum({SALE} / 1000000), sum({SALE} % 1000000)"
STORED_GROSS: Final = "gross_revenue_trillions, gross_revenue_micros"
STORED_NET: Final = "net_revenue_trillions, net_revenue_micros"

CONTENT: Final = (
    'event_time, kind, "user", item, quantity, unit_price_micros, amount_micros, currency,'
    " order_id, description, country"
)
CONTENT_BYTES: Final = 8
"""Of a digest of the content as JSON, which `archived_event` keeps."""

UNIT: Final = 10**6
"""Micros of a unit of the currency."""
TRILLION: Final = 10**18
"""Micros of a trillion of the currency, in which the store counts apart."""

Figures = tuple[int, ...]
Held = dict[int, tuple[int, int]]
"""The number of events stored from each partition of `analytics`, and the offset of the last."""

LIVE_TOTALS: Final = "live totals"
ITEMS: Final = "items"
DAYS: Final = "days"


def check_totals(connection: StoreConnection) -> Check:
    """Compare `live_totals` with the sums over all events."""
    check = Check(LIVE_TOTALS)
    _compare(check, "live_totals", TOTALS, counted_totals(connection), stored_totals(connection))
    return check


def counted_totals(connection: StoreConnection, after: int = 0) -> dict[str, Figures]:
    """Sum the events after a row, under an empty name."""
    return _figures(
        connection,
        f"SELECT '', count(*), coalesce(sum(quantity), 0), {GROSS}, {NET},"
        ' count(*) FILTER (WHERE "user" IS NULL) FROM analytics_event WHERE rowid > ?',
        UNIT,
        (2, 3),
        after,
    )


def stored_totals(connection: StoreConnection) -> dict[str, Figures]:
    """Read `live_totals`, under an empty name."""
    return _figures(
        connection,
        f"SELECT '', events, items_sold, {STORED_GROSS}, {STORED_NET}, guest_events"
        " FROM live_totals",
        TRILLION,
        (2, 3),
    )


def check_items(connection: StoreConnection) -> Check:
    """Compare each row of `live_item_totals` with the sums over the item's events."""
    check = Check(ITEMS)
    counted, stored = counted_items(connection), stored_items(connection)
    _compare(check, "live_item_totals of item", ITEM_FIGURES, counted, stored)
    return check


def counted_items(connection: StoreConnection, after: int = 0) -> dict[str, Figures]:
    """Sum the events after a row by item."""
    return _figures(
        connection,
        f"SELECT item, count(*), sum(quantity), {GROSS}, {NET} FROM analytics_event"
        " WHERE rowid > ? GROUP BY item",
        UNIT,
        (2, 3),
        after,
    )


def stored_items(connection: StoreConnection) -> dict[str, Figures]:
    """Read `live_item_totals`."""
    return _figures(
        connection,
        f"SELECT item, events, items_sold, {STORED_GROSS}, {STORED_NET} FROM live_item_totals",
        TRILLION,
        (2, 3),
    )


def check_days(connection: StoreConnection, zone: ZoneInfo) -> Check:
    """Compare each row of `day_ledger` with the sums over the events of that day in `zone`."""
    check = Check(DAYS)
    counted, stored = counted_days(connection, zone), stored_days(connection)
    _compare(check, "day_ledger of", DAY_FIGURES, counted, stored)
    return check


def counted_days(connection: StoreConnection, zone: ZoneInfo, after: int = 0) -> dict[str, Figures]:
    """Sum the events after a row by their day in `zone`."""
    # By slots, because a database has no time zones, or other ones than Python.
    whole_day, day_of, split = day_of_slots(zone), day_in(zone), []
    days: dict[str, Figures] = {}
    for slot, *sums in connection.execute(f"SELECT {SLOTS}", (after,)):
        day = whole_day(slot)
        if day is None:
            split.append(slot)
        else:
            _add(days, day, sums)
    # A midnight within the slot, or a change of clocks, parts it: then its instants are summed.
    for slot in split:
        for time, *sums in connection.execute(
            f"SELECT event_time, {DAY_SUMS} FROM analytics_event"
            " WHERE event_time >= ? AND event_time < ? AND rowid > ? GROUP BY event_time",
            (slot * SLOT, slot * SLOT + SLOT, after),
        ):
            _add(days, day_of(time), sums)
    return days


def stored_days(connection: StoreConnection) -> dict[str, Figures]:
    """Read `day_ledger`."""
    return _figures(
        connection,
        f"SELECT day, events, items_sold, {STORED_NET} FROM day_ledger",
        TRILLION,
        (2,),
    )


def stored_figures(connection: StoreConnection) -> list[dict[str, Figures]]:
    """Read totals, items and days."""
    return [stored_totals(connection), stored_items(connection), stored_days(connection)]


def counted_partitions(connection: StoreConnection, after: int = 0) -> Held:
    """Count the events after a row by their partition of `analytics`, with the last offset."""
    rows = connection.execute(
        "SELECT stream_partition, count(*), max(stream_offset) FROM analytics_event"
        " WHERE rowid > ? GROUP BY 1",
        (after,),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def check_positions(
    connection: StoreConnection, group: str, topic: str, counted: Held | None = None
) -> Check:
    """Compare the counts of each partition of `analytics` with the events stored from it.

    `counted` are these events, if they are counted already.
    """
    check = Check("partitions of analytics")
    held = counted_partitions(connection) if counted is None else dict(counted)
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


def check_archive(connection: StoreConnection, zone: ZoneInfo) -> Check:
    """Compare the ids of archived events with the events of column files, which are shown."""
    check = Check("archived events")
    (check.compared,) = connection.execute("SELECT count(*) FROM archived_event").fetchone()
    if not is_archive_shown(connection):
        if check.compared:
            check.differ(f"archived_event has {check.compared:,} ids, but no column file has one.")
        return check
    source = "source_timestamp, source_partition, source_offset, source_topic"
    for statement, sentence in {
        f"SELECT event_id FROM (SELECT event_id, {source} FROM archived_event EXCEPT"
        f" SELECT event_id, {source} FROM temp.archived_row)": "is archived, but no column file"
        " has it from that source",
        f"SELECT event_id FROM (SELECT event_id, {source} FROM temp.archived_row EXCEPT"
        f" SELECT event_id, {source} FROM archived_event)": "is in a column file only, but"
        " archived_event lacks it",
    }.items():
        for (event_id,) in connection.execute(statement):
            check.differ(f"The event {shown_id(event_id)} {sentence}.")
    contents = connection.execute(
        f"SELECT a.event_id, a.epoch_day, a.content, {CONTENT} FROM archived_event a"
        " JOIN temp.archived_row r USING (event_id)"
    )
    for event_id, day, digest, *content in contents:
        date = datetime.fromtimestamp(content[0] // UNIT, zone).date()
        counted = blake2b(json.encode(content), digest_size=CONTENT_BYTES).digest()
        if (day, digest) != ((date - EPOCH.date()).days, counted):
            check.differ(
                f"The event {shown_id(event_id)} is archived with another day or content than a"
                " column file has."
            )
    return check


def day_of_slots(zone: ZoneInfo) -> Callable[[int], str | None]:
    """Return the function from a slot to its ISO date in `zone`.

    None for a slot whose first and last instants do not share date and offset.
    """

    def day_of(slot: int) -> str | None:
        first, last = _date_at(slot * SLOT, zone), _date_at(slot * SLOT + SLOT - 1, zone)
        return first[0] if first == last else None

    return day_of


def day_in(zone: ZoneInfo) -> Callable[[int], str]:
    """Return the function from µs to the ISO date in `zone`."""
    return lambda micros: _date_at(micros, zone)[0]


def _date_at(micros: int, zone: ZoneInfo) -> tuple[str, timedelta | None]:
    local = (EPOCH + timedelta(microseconds=micros)).astimezone(zone)
    return local.date().isoformat(), local.utcoffset()


def _add(days: dict[str, Figures], day: str, sums: Sequence[int | None]) -> None:
    events, items_sold, units, rest = (value or 0 for value in sums)
    before = days.get(day, (0, 0, 0))
    days[day] = (before[0] + events, before[1] + items_sold, before[2] + units * UNIT + rest)


def _figures(
    connection: StoreConnection,
    statement: str,
    weight: int,
    money: tuple[int, ...],
    *values: int,
) -> dict[str, Figures]:
    """Read the figures by name; from the indexes `money` on, two columns are one sum in micros.

    The first of the two columns counts what is `weight` micros.
    """
    figures = {}
    for name, *columns in connection.execute(statement, values):
        for index in money:
            high, low = columns[index : index + 2]
            # The gross is NULL without any sale, and every sum is without any row.
            columns[index : index + 2] = [(high or 0) * weight + (low or 0)]
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
