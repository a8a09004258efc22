"""The rows and figures that a batch adds to the store, computed before it is touched; pure.

Rows are tuples in the order of the columns of `analytics_event` and `dead_letter`: `executemany`
takes them as they are, while named fields would cost a conversion of every event. No SQL belongs
here, that is in `writer`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter, sub
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct, json

from streaming.events.analytics import (
    MAX_EVENT_TIME,
    MIN_EVENT_TIME,
    StorableRules,
    decode_analytics,
    event_time_micros,
    time_micros,
)
from streaming.events.dead_letter import DeadLetterHeaders, escaped_text
from streaming.events.identifiers import pack_event_id, topic_id_text
from streaming.events.record import ORIGIN, Headers, Origin, Record, read_origin
from streaming.events.refusal import Reason
from streaming.units import MICROS

EventRow = tuple[
    bytes, int, str, str | None, str, int, int | None, int | None, str, str | None, str | None,
    str | None, int, int, int, int, int, int, int,
]  # fmt: skip
EVENT_ID: Final = 0
EVENT_TIME: Final = 1
USER: Final = 3
ITEM: Final = 4
QUANTITY: Final = 5
AMOUNT_MICROS: Final = 7
ORDER_ID: Final = 9
SOURCE_TOPIC: Final = 13
SOURCE_PARTITION: Final = 14
SOURCE_OFFSET: Final = 15
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

QUARTER_SECONDS: Final = 900
QUARTER_MICROS: Final = QUARTER_SECONDS * MICROS

CONTENT_BYTES: Final = 8
"""Two contents of one id have one digest once in 10¹⁹ times, and only a count is wrong then."""

event_id_of: Final = itemgetter(EVENT_ID)
source_of: Final = itemgetter(SOURCE_TIMESTAMP, SOURCE_PARTITION, SOURCE_OFFSET, SOURCE_TOPIC)
"""By this events of one id are ordered, and the first of them is the one that is stored."""


_counted: Final = itemgetter(EVENT_TIME, USER, ITEM, QUANTITY, AMOUNT_MICROS)


class Sums(NamedTuple):
    """The figures of some rows; money is in micros."""

    events: int
    items_sold: int
    gross: int
    net: int


NO_SUMS: Final = Sums(0, 0, 0, 0)


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
    dropped_because: str | None = None

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
            self.dropped_because,
        )


def event_row(value: bytes | None, rules: StorableRules, partition: int, offset: int) -> EventRow:
    """Return the row of the value at `partition` and `offset` of `analytics`.

    Raises what `decode_analytics` does.
    """
    event = decode_analytics(value, rules)
    return (
        pack_event_id(event.event_id),
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
        rules.source_topics[event.source_topic],
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
    # Grouped once, by item and day together: the groups are far fewer than the rows.
    sums_of: dict[tuple[str, str], list[int]] = {}
    guests = 0
    for time, user, item, quantity, amount in map(_counted, rows):
        group = (item, day_of(time))
        sums = sums_of.get(group)
        if sums is None:
            sums = sums_of[group] = [0, 0, 0, 0]
        sums[0] += 1
        sums[1] += quantity
        if amount:
            sums[3] += amount
            # Gross revenue is that of sales alone.
            if quantity > 0:
                sums[2] += amount
        if user is None:
            guests += 1
    days = _by(itemgetter(1), sums_of)
    total = [sum(column) for column in zip((0, 0, 0, 0), *days.values(), strict=True)]
    return Deltas(guests, Sums(*total), _by(itemgetter(0), sums_of), days)


def difference(added: Deltas, removed: Deltas) -> Deltas:
    """Return what is left of the added figures without the removed ones."""
    return Deltas(
        added.guest_events - removed.guest_events,
        _minus(added.total, removed.total),
        _differences(added.items, removed.items),
        _differences(added.days, removed.days),
    )


def _differences(added: Mapping[str, Sums], removed: Mapping[str, Sums]) -> dict[str, Sums]:
    names = [*added, *(name for name in removed if name not in added)]
    return {name: _minus(added.get(name, NO_SUMS), removed.get(name, NO_SUMS)) for name in names}


def _minus(one: Sums, other: Sums) -> Sums:
    return Sums(*map(sub, one, other))


def _by(
    name_of: Callable[[tuple[str, str]], str], sums_of: Mapping[tuple[str, str], Sequence[int]]
) -> dict[str, Sums]:
    """Add up the sums of all groups of one name."""
    totals: dict[str, list[int]] = {}
    for group, sums in sums_of.items():
        name = name_of(group)
        total = totals.get(name)
        if total is None:
            totals[name] = list(sums)
        else:
            # In place: thousands of groups make sums a third of the time otherwise.
            total[0] += sums[0]
            total[1] += sums[1]
            total[2] += sums[2]
            total[3] += sums[3]
    return {name: Sums(*total) for name, total in totals.items()}


class Resolution(Struct, frozen=True):
    """What rows of ids that are stored, or come several times, change in the store.

    `new` are the rows of new ids, `updates` those that are not as the insert left them.
    `corrections` are pairs of a stored row and its winner of another content. Each of `duplicates`
    lost to another row of its id; `conflicting` are those of them whose content is another.
    """

    new: list[EventRow]
    updates: list[EventRow]
    corrections: list[tuple[EventRow, EventRow]]
    duplicates: list[EventRow]
    conflicting: list[EventRow]


def resolve(rows: Sequence[EventRow], stored: Mapping[bytes, EventRow]) -> Resolution:
    """Return what the rows change; of one id the row of the lowest source wins.

    `stored` are the rows of their ids before the batch; of a new id the first one was inserted. In
    whatever order rows come, the same one wins; of one source that comes again, the one before.
    """
    # `before` becomes what the table holds after the insert: of a new id its first row.
    before = dict(stored)
    winners = dict(stored)
    duplicates: list[EventRow] = []
    conflicting: list[EventRow] = []
    for row in rows:
        other = winners.get(row[EVENT_ID])
        if other is None:
            before[row[EVENT_ID]] = winners[row[EVENT_ID]] = row
            continue
        # Strictly lower: the same record, read again, must change nothing.
        winner, loser = (row, other) if source_of(row) < source_of(other) else (other, row)
        winners[row[EVENT_ID]] = winner
        duplicates.append(loser)
        if content_of(winner) != content_of(loser):
            conflicting.append(loser)
    changed = [(row, winners[name]) for name, row in before.items() if winners[name] is not row]
    return Resolution(
        new=[row for name, row in winners.items() if name not in stored],
        updates=[winner for _, winner in changed],
        corrections=[
            (row, winner)
            for row, winner in changed
            if row[EVENT_ID] in stored and content_of(row) != content_of(winner)
        ],
        duplicates=duplicates,
        conflicting=conflicting,
    )


def content_of(row: EventRow) -> tuple[object, ...]:
    """Return the fields of the purchase itself: events of one id that differ in them conflict."""
    # From `event_time` to `country`; what follows is of the record, not of the purchase.
    return row[1:12]


def content_digest(row: EventRow) -> bytes:
    """Return 8 bytes of the content of a row, by which one that is archived is compared."""
    return blake2b(json.encode(content_of(row)), digest_size=CONTENT_BYTES).digest()


def day_cutter(zone: ZoneInfo) -> Callable[[int], str]:
    """Return the function from µs to the ISO date of the day in `zone`.

    Results are cached by the quarter of an hour, which nearly always lies within one day.
    """

    def day_of_second(second: int) -> str:
        return datetime.fromtimestamp(second, UTC).astimezone(zone).date().isoformat()

    @lru_cache(maxsize=65_536)
    def day_of_quarter(quarter: int) -> str | None:
        first, last = quarter * QUARTER_SECONDS, (quarter + 1) * QUARTER_SECONDS - 1
        day = day_of_second(first)
        return day if day == day_of_second(last) else None

    def day_of(micros: int) -> str:
        # Before 1912 and the like, zones had offsets of odd minutes and seconds.
        return day_of_quarter(micros // QUARTER_MICROS) or day_of_second(micros // MICROS)

    return day_of
