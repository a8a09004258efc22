"""What a batch of messages adds to the store, computed before the database is touched; pure.

Rows come as tuples in the order of the columns of `analytics_event` and `dead_letter`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from streaming.events.analytics import AnalyticsEvent, time_micros
from streaming.events.dead_letter import Verdict
from streaming.events.record import Origin, topic_id_text
from streaming.events.values import MICROS

EventRow = tuple[
    str, int, str, str | None, str, int, int | None, int | None, str, str | None, str | None,
    str | None, int, str, int, int, int, int, int,
]  # fmt: skip
SOURCE_TIMESTAMP: Final = 16
STREAM_PARTITION: Final = 17
STREAM_OFFSET: Final = 18

_batch_time_micros: Final = lru_cache(maxsize=256)(time_micros)
"""All records of one batch of the processor have the same `processed_at`."""

OPEN: Final = "open"
PARKED: Final = "parked"
PARKED_ATTEMPTS: Final = 5
STORED: Final = "stored"


class ItemDelta(Struct):
    """What a batch adds to one item's additive figures."""

    events: int = 0
    items_sold: int = 0
    gross_revenue_micros: int = 0
    net_revenue_micros: int = 0


class DayDelta(Struct):
    """What a batch adds to one day's ledger row."""

    events: int = 0
    items_sold: int = 0
    net_revenue_micros: int = 0


class Deltas(Struct):
    """What the inserted rows of a batch add to the figures; `days` by ISO date."""

    guest_events: int
    items: dict[str, ItemDelta]
    days: dict[str, DayDelta]


class LetterRow(Struct, frozen=True):
    """One refused origin: its place, and what the dead letter says (None: not read yet)."""

    origin: Origin
    state: str
    reason: str | None = None
    detail: str | None = None
    key: str | None = None
    refused_at: int | None = None
    dlq_partition: int | None = None
    dlq_offset: int | None = None

    def values(self) -> tuple[object, ...]:
        """Give the values in the order of the table's columns."""
        origin = self.origin
        return (
            topic_id_text(origin.topic_id),
            origin.partition,
            origin.offset,
            origin.topic,
            origin.timestamp,
            self.reason,
            self.detail,
            self.key,
            self.refused_at,
            origin.attempt,
            self.dlq_partition,
            self.dlq_offset,
            self.state,
            None,
        )


def event_row(event: AnalyticsEvent, partition: int, offset: int) -> EventRow:
    """Make the row of an event that stood at `partition` and `offset` of `analytics`.

    Raises `Mismatch` where a time of it is none.
    """
    return (
        event.event_id,
        time_micros(event.event_time),
        event.kind,
        event.user,
        event.item,
        event.quantity,
        event.unit_price_micros,
        event.amount_micros,
        event.currency,
        event.order_id,
        event.description,
        event.country,
        _batch_time_micros(event.processed_at),
        event.source_topic,
        event.source_partition,
        event.source_offset,
        event.source_timestamp,
        partition,
        offset,
    )


def refused_row(
    verdict: Verdict, key: str | None, refused_at: int, partition: int, offset: int
) -> LetterRow:
    """Make the row of a dead letter that stood at `partition` and `offset` of `purchases.dlq`.

    One that was refused too often is parked.
    """
    state = PARKED if verdict.origin.attempt >= PARKED_ATTEMPTS else OPEN
    return LetterRow(
        verdict.origin, state, verdict.reason, verdict.detail, key, refused_at, partition, offset
    )


def deltas(rows: Iterable[EventRow], day_of: Callable[[int], str]) -> Deltas:
    """Add up what the rows add to the figures, per item and per day."""
    items: dict[str, ItemDelta] = {}
    days: dict[str, DayDelta] = {}
    guests = 0
    for row in rows:
        quantity, amount = row[5], row[7] or 0
        if row[3] is None:
            guests += 1
        item = items.get(row[4])
        if item is None:
            item = items[row[4]] = ItemDelta()
        item.events += 1
        item.items_sold += quantity
        item.net_revenue_micros += amount
        if quantity > 0:
            item.gross_revenue_micros += amount
        name = day_of(row[1])
        day = days.get(name)
        if day is None:
            day = days[name] = DayDelta()
        day.events += 1
        day.items_sold += quantity
        day.net_revenue_micros += amount
    return Deltas(guests, items, days)


def split_known(
    rows: Sequence[EventRow], known: dict[str, tuple[object, ...]]
) -> tuple[list[EventRow], list[EventRow], list[EventRow]]:
    """Split rows into new ones, duplicates, and of these the ones whose content is another.

    `known` maps the ids that are stored to their content; the first of several wins.
    """
    new: list[EventRow] = []
    duplicates: list[EventRow] = []
    conflicting: list[EventRow] = []
    contents = dict(known)
    for row in rows:
        content = contents.get(row[0])
        if content is None:
            contents[row[0]] = content_of(row)
            new.append(row)
            continue
        duplicates.append(row)
        if content != content_of(row):
            conflicting.append(row)
    return new, duplicates, conflicting


def content_of(row: EventRow) -> tuple[object, ...]:
    """Give what makes two events with one id the same: all that the purchase itself said."""
    return row[1:12]


def day_cutter(zone: ZoneInfo) -> Callable[[int], str]:
    """Give the function from µs to the ISO date of the day in `zone`.

    It remembers by the second: offsets of zones are whole seconds, and events come in crowds.
    """

    @lru_cache(maxsize=65_536)
    def day_of_second(second: int) -> str:
        return datetime.fromtimestamp(second, UTC).astimezone(zone).date().isoformat()

    def day_of(micros: int) -> str:
        return day_of_second(micros // MICROS)

    return day_of
