"""The rows and figures that a batch adds to the store, computed before it is touched; pure.

Rows are tuples in the order of the columns of `analytics_event` and `dead_letter`: `executemany`
takes them as they are, while named fields would cost a conversion of every event. No SQL belongs
here, that is in `writer`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from streaming.events.analytics import (
    MAX_EVENT_TIME,
    MIN_EVENT_TIME,
    StorableRules,
    decode_analytics,
    event_time_micros,
    time_micros,
)
from streaming.events.dead_letter import DeadLetterHeaders, escaped_text
from streaming.events.identifiers import topic_id_text
from streaming.events.record import ORIGIN, Headers, Origin, Record, read_origin
from streaming.events.refusal import Reason
from streaming.units import MICROS

EventRow = tuple[
    str, int, str, str | None, str, int, int | None, int | None, str, str | None, str | None,
    str | None, int, str, int, int, int, int, int,
]  # fmt: skip
EVENT_TIME: Final = 1
USER: Final = 3
ITEM: Final = 4
QUANTITY: Final = 5
AMOUNT_MICROS: Final = 7
SOURCE_TOPIC: Final = 13
SOURCE_TIMESTAMP: Final = 16
STREAM_PARTITION: Final = 17
STREAM_OFFSET: Final = 18

_batch_time_micros: Final = lru_cache(maxsize=256)(time_micros)
"""All records of one batch of the processor have the same `processed_at`."""

OPEN: Final = "open"
PARKED: Final = "parked"
PARKED_ATTEMPTS: Final = 5
"""A repair that failed five times needs another idea; `--force` still sends it."""
STORED: Final = "stored"


Sums = tuple[int, int, int, int]
"""The figures of some rows: events, items sold, gross revenue and net revenue in micros."""


class Deltas(Struct, frozen=True):
    """The figures that the inserted rows of a batch add; `days` by ISO date."""

    guest_events: int
    total: Sums
    items: dict[str, Sums]
    days: dict[str, Sums]


class DeadLetterUpdate(Struct, frozen=True):
    """The news about one refused origin: its state, and its dead letter (None: not read yet)."""

    origin: Origin
    state: str
    reason: str | None = None
    detail: str | None = None
    key: str | None = None
    refused_at: int | None = None
    dlq_partition: int | None = None
    dlq_offset: int | None = None

    def values(self) -> tuple[object, ...]:
        """Return the values in the order of the table's columns."""
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


def event_row(value: bytes | None, rules: StorableRules, partition: int, offset: int) -> EventRow:
    """Return the row of the value at `partition` and `offset` of `analytics`.

    Raises what `decode_analytics` does.
    """
    event = decode_analytics(value, rules)
    return (
        event.event_id,
        event_time_micros(event.event_time),
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


def refusal_update(
    verdict: DeadLetterHeaders, key: str | None, refused_at: int, partition: int, offset: int
) -> DeadLetterUpdate:
    """Return the news of the dead letter at `partition` and `offset` of `purchases.dlq`.

    An origin that was refused too often is parked.
    """
    state = PARKED if verdict.origin.attempt >= PARKED_ATTEMPTS else OPEN
    return DeadLetterUpdate(
        verdict.origin, state, verdict.reason, verdict.detail, key, refused_at, partition, offset
    )


def not_storable_update(record: Record, detail: str) -> DeadLetterUpdate:
    """Return the news of a record of `analytics` that cannot be stored: it is its own origin."""
    return DeadLetterUpdate(
        origin=Origin(
            record.topic, record.topic_id, record.partition, record.offset, record.timestamp, 1
        ),
        state=OPEN,
        reason=Reason.NOT_STORABLE,
        detail=escaped_text(detail.encode(errors="backslashreplace")),
        key=escaped_text(record.key),
        refused_at=refusal_time(record.timestamp),
    )


def refusal_time(milliseconds: int) -> int:
    """Return the time of a record (epoch ms) as µs that the database and every calendar hold.

    Where the topic takes the time of whoever writes, that is any number of 64 bits.
    """
    return min(max(milliseconds * 1000, MIN_EVENT_TIME), MAX_EVENT_TIME)


def redriven_updates(headers: Headers) -> list[DeadLetterUpdate]:
    """Return that the dead letter is stored which an event of `purchases.redrive` names.

    Nothing for an event that names none. Raises `RefusalError` if an `origin.*` header is
    unreadable.
    """
    if any(name.startswith(ORIGIN) for name, _ in headers):
        return [DeadLetterUpdate(read_origin(headers, ORIGIN), STORED)]
    return []


def deltas(rows: Iterable[EventRow], day_of: Callable[[int], str]) -> Deltas:
    """Add up what the rows add to the figures, per item and per day.

    `day_of` returns the ISO date of a time in µs.
    """
    sums_of: dict[tuple[str, str], list[int]] = {}
    guests = 0
    for row in rows:
        group = (row[ITEM], day_of(row[EVENT_TIME]))
        quantity, amount = row[QUANTITY], row[AMOUNT_MICROS] or 0
        sums = sums_of.get(group)
        if sums is None:
            sums = sums_of[group] = [0, 0, 0, 0]
        sums[0] += 1
        sums[1] += quantity
        sums[2] += amount if quantity > 0 else 0
        sums[3] += amount
        if row[USER] is None:
            guests += 1
    return Deltas(
        guests,
        _added(sums_of.values()),
        _by(itemgetter(0), sums_of),
        _by(itemgetter(1), sums_of),
    )


def _added(sums: Iterable[Sequence[int]]) -> Sums:
    columns = zip((0, 0, 0, 0), *sums, strict=True)
    events, items_sold, gross, net = (sum(column) for column in columns)
    return events, items_sold, gross, net


def _by(
    name_of: Callable[[tuple[str, str]], str], sums_of: Mapping[tuple[str, str], Sequence[int]]
) -> dict[str, Sums]:
    """Add up the sums of all groups of one name."""
    groups: dict[str, list[Sequence[int]]] = {}
    for group, sums in sums_of.items():
        groups.setdefault(name_of(group), []).append(sums)
    return {name: _added(group) for name, group in groups.items()}


def split_stored(
    rows: Sequence[EventRow], stored: dict[str, tuple[object, ...]]
) -> tuple[list[EventRow], list[EventRow], list[EventRow]]:
    """Split rows into new ones, duplicates, and of these the ones whose content is another.

    `stored` maps the ids that are stored to their content; the first of several wins.
    """
    new: list[EventRow] = []
    duplicates: list[EventRow] = []
    conflicting: list[EventRow] = []
    contents = dict(stored)
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
    """Return the fields of the purchase itself: events of one id that differ in them conflict."""
    return row[1:12]


def day_cutter(zone: ZoneInfo) -> Callable[[int], str]:
    """Return the function from µs to the ISO date of the day in `zone`.

    Results are cached by the second: offsets of zones are whole seconds, and most events of a
    batch are of few seconds.
    """

    @lru_cache(maxsize=65_536)
    def day_of_second(second: int) -> str:
        return datetime.fromtimestamp(second, UTC).astimezone(zone).date().isoformat()

    def day_of(micros: int) -> str:
        return day_of_second(micros // MICROS)

    return day_of
