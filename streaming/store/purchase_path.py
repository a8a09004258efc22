"""The path of a purchase through the topics and the tables, from what the store recorded of it.

Its records are named by their offsets, and not read: that is `kafka.peek`.
"""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from streaming.events.identifiers import event_id_text, pack_event_id
from streaming.settings import Settings
from streaming.store.archive import show_archived_id
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection
from streaming.store.rows import day_cutter
from streaming.units import decimal_text, record_time, rfc_3339

MAX_PURCHASES: Final = 20
"""The newest of a user: for each of them the builds of its day are looked up."""
NEWEST: Final = 200_000
"""Purchases by event time among which a user or an order is looked for: there is no index, because
every stored event would pay for it."""
COLUMNS: Final = (
    'event_id, event_time, kind, "user", item, quantity, amount_micros, order_id, processed_at,'
    " source_partition, source_offset, source_timestamp, stream_partition, stream_offset"
)


class BuildOfDay(Struct, frozen=True):
    """The build of a table that has the purchase's day; not `current` if the day has changed."""

    table: str
    current: bool
    built_at: str


class PurchasePath(Struct, frozen=True):
    """One stored purchase and where it went; times are RFC 3339 in UTC.

    `received_at` is when `purchases` took it, null if its sender chose a time that no calendar has;
    `processed_at` is when the processor published it;
    `amount` is a decimal, null without a price. `source_` is its record on `purchases`, `stream_`
    that on `analytics`.
    """

    event_id: str
    event_time: str
    kind: str
    user: str | None
    item: str
    quantity: int
    amount: str | None
    order_id: str | None
    source_partition: int
    source_offset: int
    received_at: str | None
    processed_at: str
    stream_partition: int
    stream_offset: int
    day: str
    builds: tuple[BuildOfDay, ...]


class PurchasePaths(Struct, frozen=True):
    """The purchases that fit, newest first, and the ids of refused records with such a key."""

    purchases: tuple[PurchasePath, ...]
    refused: tuple[str, ...]


def find_paths(
    store: StoreConnection, settings: Settings, *, event_id: str | None, name: str | None
) -> PurchasePaths:
    """Return the purchase of an event id, or the newest of a user or an order of that `name`.

    Of those that are in column files only, that of an id. Raises what `show_archived` does.
    """
    values: tuple[str | bytes | None, ...]
    zone = settings.zone
    if event_id is not None:
        show_archived_id(store, open_column_store(settings), event_id)
        where, values = "analytics_event WHERE event_id = ?", (pack_event_id(event_id),)
    else:
        newest = (
            f"(SELECT * FROM analytics_event ORDER BY event_time DESC LIMIT {NEWEST}) AS newest"  # noqa: S608
        )
        where, values = f'{newest} WHERE "user" = ? OR order_id = ?', (name, name)
    rows = store.execute(
        f"SELECT {COLUMNS} FROM {where} ORDER BY event_time DESC, event_id LIMIT {MAX_PURCHASES}",  # noqa: S608
        values,
    ).fetchall()
    refused = store.execute(
        "SELECT origin_topic_id, origin_partition, origin_offset FROM dead_letter"
        " WHERE key = ? AND state <> 'stored'"
        " ORDER BY refused_at DESC NULLS LAST, origin_offset DESC, origin_partition LIMIT ?",
        (name, MAX_PURCHASES),
    ).fetchall()
    return PurchasePaths(
        tuple(_path(store, zone, row) for row in rows),
        tuple(f"{topic_id}:{partition}:{offset}" for topic_id, partition, offset in refused),
    )


def _path(store: StoreConnection, zone: ZoneInfo, row: tuple[Any, ...]) -> PurchasePath:
    event_id, event_time, kind, user, item, quantity, amount, order_id, processed_at, *at = row
    source_partition, source_offset, received_at, stream_partition, stream_offset = at
    day = day_cutter(zone)(event_time)
    return PurchasePath(
        event_id_text(event_id),
        _time_text(event_time),
        kind,
        user,
        item,
        quantity,
        None if amount is None else decimal_text(amount),
        order_id,
        source_partition,
        source_offset,
        record_time(received_at),
        _time_text(processed_at),
        stream_partition,
        stream_offset,
        day,
        _builds(store, day),
    )


def _builds(store: StoreConnection, day: str) -> tuple[BuildOfDay, ...]:
    rows = store.execute(
        "SELECT b.table_name, b.version = l.version, b.built_at FROM table_build b"
        " JOIN day_ledger l ON l.day = ? WHERE b.partition = ? ORDER BY b.table_name",
        # Twice, because a day is a date there and the name of a partition here.
        (day, day),
    )
    return tuple(BuildOfDay(name, bool(current), _time_text(at)) for name, current, at in rows)


def _time_text(micros: int) -> str:
    return rfc_3339(datetime.fromtimestamp(micros / 1_000_000, UTC))
