"""Events and dead letters as the consumer would store them, without the consumer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from streaming.events.identifiers import pack_event_id
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, transaction
from streaming.store.models import AnalyticsEventRow
from streaming.store.rebuild import rebuild
from streaming.store.rows import EventRow

GROUP = "analytics-consumer-test"
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
EVENT_COLUMNS = ", ".join(f'"{name}"' for name in AnalyticsEventRow.model_fields)
"""On a server there is the number of the row too."""
SOURCE_TOPICS = {"purchases": 1, "purchases.redrive": 2}


@dataclass(frozen=True)
class Event:
    """A row of `analytics_event`, with the texts that its columns stand for, in their order."""

    event_id: str
    event_time: int
    kind: str = "sale"
    user: str | None = "anna"
    item: str = "lamp"
    quantity: int = 1
    unit_price_micros: int | None = 2_500_000
    amount_micros: int | None = 2_500_000
    currency: str = "GBP"
    order_id: str | None = "o-1"
    description: str | None = None
    country: str | None = None
    processed_at: int = 0
    source_topic: str = "purchases"
    source_partition: int = 0
    source_offset: int = 0
    source_timestamp: int = 0
    stream_partition: int = 0
    stream_offset: int = 0

    def row(self) -> EventRow:
        """Return it as it is stored."""
        fields = {
            **vars(self),
            "event_id": pack_event_id(self.event_id),
            "source_topic": SOURCE_TOPICS[self.source_topic],
        }
        return cast("EventRow", tuple(fields.values()))


def micros(text: str) -> int:
    """Return a time such as `2024-03-01 10:00` (UTC) in µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def event(number: int, time: int, quantity: int = 1, **fields: object) -> Event:
    """Make the event of `time` (µs) that stands at offset `number`, at 2.50 each."""
    priced = {
        "kind": "sale" if quantity > 0 else "return",
        "quantity": quantity,
        "amount_micros": 2_500_000 * quantity,
        "stream_offset": number,
        "source_offset": number,
    }
    return Event(f"id-{number:06d}", time, **{**priced, **fields})  # type: ignore[arg-type]


def add_events(connection: StoreConnection, events: Iterable[Event]) -> None:
    """Insert events only: no figure knows of them."""
    rows = [row.row() for row in events]
    marks = ", ".join("?" * len(rows[0]))
    with transaction(connection):
        connection.executemany(
            "INSERT INTO source_topic (name, id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [*SOURCE_TOPICS.items()],
        )
        connection.executemany(f"INSERT INTO analytics_event VALUES ({marks})", rows)


def add_position(connection: StoreConnection, records: int, partition: int = 0) -> None:
    """Insert the position of a partition of `analytics` of which all records were stored."""
    connection.execute(
        "INSERT INTO stream_offset VALUES"
        " (?, 'analytics', ?, ?, 0, ?, 'cluster', ?, ?, 0, 0, 0, NULL)",
        (GROUP, partition, records, TOPIC_ID, records, records),
    )


def add_dead_letter(
    connection: StoreConnection, offset: int, state: str = "open", reason: str = "invalid_item"
) -> None:
    """Insert a dead letter of the record at `offset` of partition 0."""
    connection.execute(
        "INSERT INTO dead_letter VALUES"
        " (?, 0, ?, 'purchases', 0, ?, '', NULL, 0, 1, 0, ?, ?, NULL)",
        (TOPIC_ID, offset, reason, offset, state),
    )


def fill(settings: Settings, connection: StoreConnection, events: list[Event]) -> None:
    """Store events with the figures that belong to them."""
    add_events(connection, events)
    add_position(connection, len(events))
    rebuild(settings)


def year_of_days(count: int) -> list[Event]:
    """Make one event a day, from the first of January 2024 on, of three items and two users."""
    start = micros("2024-01-01 12:00")
    return [
        event(
            number,
            start + number * 86_400_000_000,
            quantity=-1 if number % 10 == 9 else number % 4 + 1,
            item=("lamp", "book", "chair")[number % 3],
            user=("anna", "bert", None)[number % 3],
            order_id=f"o-{number // 2}",
        )
        for number in range(count)
    ]
