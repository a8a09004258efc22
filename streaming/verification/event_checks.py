"""What `analytics` holds against the rows that were stored of it.

What was read is put into temporary tables, so that the comparing is the database's and memory
stays small. Everything happens inside the caller's snapshot of the database.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from confluent_kafka import Message

from streaming.events.identifiers import topic_id_text
from streaming.events.record import ORIGIN
from streaming.store.connection import StoreConnection
from streaming.store.temporary_table import TemporaryTable
from streaming.units import EPOCH
from streaming.verification.check import Check
from streaming.verification.pseudonyms import PseudonymOf
from streaming.verification.records import (
    PublishedEvent,
    headers_of,
    readable_origin,
    shown_id,
    stored_id,
)

MICROSECOND: Final = timedelta(microseconds=1)
READ_EVENT: Final = {
    "partition": int,
    "offset": int,
    "event_id": bytes,
    "event_time": int,
    "user": str,
    "item": str,
    "quantity": int,
    "amount_micros": int,
    "source_timestamp": int,
    "source_partition": int,
    "source_offset": int,
}
EVENT_RANGE: Final = {"partition": int, "first": int, "following": int}
# A guest has no user, an unknown price no amount, and a missing record nothing.
SAME: Final = (
    "r.event_id = e.event_id AND r.event_time = e.event_time AND r.item = e.item"
    " AND r.quantity = e.quantity"
    ' AND (r."user" = e."user" OR r."user" IS NULL AND e."user" IS NULL)'
    " AND (r.amount_micros = e.amount_micros"
    " OR r.amount_micros IS NULL AND e.amount_micros IS NULL)"
)
HIGHER: Final = (
    "(r.source_timestamp, r.source_partition, r.source_offset)"
    " < (e.source_timestamp, e.source_partition, e.source_offset)"
)
ROWS: Final = (
    "FROM analytics_event e JOIN event_range g ON g.partition = e.stream_partition"
    ' LEFT JOIN read_event r ON r.partition = e.stream_partition AND r."offset" = e.stream_offset'
    " WHERE e.rowid > ? AND e.stream_offset >= g.first AND e.stream_offset < g.following"
)
"""The rows from what was read, each with the record of its place."""
CHECK: Final = "analytics in the database"


class RedrivenEvent(NamedTuple):
    """An event on `analytics`, the origin that its record names, and the id that is stored."""

    partition: int
    offset: int
    topic_id: str
    origin_partition: int
    origin_offset: int
    event_id: bytes


class EventComparison:
    """Collects the events that were read below the stored positions, and compares them with rows.

    `redrive` is the topic on which origins count; `ranges` are the first offset and the position of
    each partition that is read here, `topic_id` is that of `analytics`. Rows up to `after` are held
    by a checkpoint. Users that were erased are compared by their pseudonyms. `redriven` are the
    events whose origin a dead letter names.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is compared, and by which names
        self,
        connection: StoreConnection,
        redrive: str,
        ranges: Mapping[int, tuple[int, int]],
        topic_id: str,
        pseudonym_of: PseudonymOf | None = None,
        after: int = 0,
    ) -> None:
        self._connection = connection
        self._pseudonym_of = pseudonym_of
        self._redrive = redrive
        self._ranges = ranges
        self._after = after
        self._records: Counter[int] = Counter()
        self._kept = 0
        self.redriven: list[RedrivenEvent] = []
        # What the database says cannot be stored, until its record is read.
        self._not_storable = {
            (row[0], row[1])
            for row in connection.execute(
                "SELECT origin_partition, origin_offset FROM dead_letter"
                " WHERE origin_topic_id = ? AND reason = 'not_storable'",
                (topic_id,),
            )
            if row[0] in ranges
        }
        key = ("partition", "offset")
        self._events = TemporaryTable(connection, "read_event", READ_EVENT, key)
        stored = TemporaryTable(connection, "event_range", EVENT_RANGE, ["partition"])
        stored.add_all((number, *bounds) for number, bounds in ranges.items())
        stored.flush()

    def is_below_position(self, number: int, offset: int) -> bool:
        """Return whether the consumer has read this record of `analytics`."""
        return offset < self._ranges.get(number, (0, 0))[1]

    def take_not_storable(self, number: int, offset: int) -> bool:
        """Take a record of `analytics` if it is a dead letter; return whether it is."""
        if not self._not_storable or (number, offset) not in self._not_storable:
            return False
        self._not_storable.remove((number, offset))
        self._records[number] += 1
        return True

    def add_event(self, number: int, offset: int, message: Message, event: PublishedEvent) -> None:
        """Take a record of `analytics`, if it lies below the stored position."""
        if not self.is_below_position(number, offset):
            return
        self._records[number] += 1
        self._kept += 1
        # Integers all the way: `timestamp()` is a float, and its microseconds may be rounded
        # wrongly.
        since = event.event_time - EPOCH
        stored = stored_id(event.event_id)
        self._events.add(
            (
                number,
                offset,
                stored,
                since // MICROSECOND,
                self._stored_user(event.user),
                event.item,
                event.quantity,
                event.amount_micros,
                event.source_timestamp,
                event.source_partition,
                event.source_offset,
            )
        )
        is_redriven = event.source_topic == self._redrive
        origin = readable_origin(headers_of(message), ORIGIN) if is_redriven else None
        if origin is not None:
            key = (topic_id_text(origin.topic_id), origin.partition, origin.offset)
            self.redriven.append(RedrivenEvent(number, offset, *key, stored))

    def check(self, counted: Mapping[int, tuple[int, int]], whole: Collection[int]) -> Check:
        """Compare the records with the events.

        `counted` is how many the consumer says it read, and how many of these it may have read
        twice: reading again after a position was moved back adds only such. Of the partitions
        `whole` Kafka holds all that was counted.
        """
        self._events.flush()
        check = Check(CHECK)
        check.compared = sum(self._records.values())
        for number, offset in sorted(self._not_storable):
            if offset >= self._ranges.get(number, (0, 0))[0]:
                check.differ(
                    f"dead_letter says that analytics-{number} at {offset} cannot be stored, but no"
                    " record is there."
                )
        for number, (records, duplicates) in counted.items():
            read = self._records[number]
            # Retention explains fewer records where it deleted some.
            if read > records or (number in whole and records - read > duplicates):
                check.differ(
                    f"analytics-{number} holds {read} records below the stored position, but"
                    f" stream_offset counts {records}."
                )
        rows, sound = self._connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE {SAME} AND NOT {HIGHER}) {ROWS}",
            (self._after,),
        ).fetchone()
        # No two rows have one id: if as many are sound as records were kept, each record has its
        # own, and no id has to be looked for.
        if sound < self._kept:
            self._check_stored(check)
        if sound < rows:
            self._check_rows(check)
        return check

    def _check_rows(self, check: Check) -> None:
        """Name the rows that are not as the record of their place."""
        # PostgreSQL has no IS NOT for rows, and older SQLite no IS DISTINCT FROM.
        for event_id, number, offset, is_there in self._connection.execute(
            "SELECT e.event_id, e.stream_partition, e.stream_offset, r.event_id = e.event_id"
            f" {ROWS} AND ({SAME}) IS NOT TRUE ORDER BY e.stream_partition, e.stream_offset",
            (self._after,),
        ):
            record = f"analytics-{number} at {offset}"
            check.differ(
                f"The event {shown_id(event_id)} is stored otherwise than it stands on {record}."
                if is_there
                else f"The event {shown_id(event_id)} is stored, but {record} does not hold it."
            )

    def _check_stored(self, check: Check) -> None:
        """Look for each record's id, of which no record with a higher source may be stored."""
        for number, offset, event_id, is_there in self._connection.execute(
            'SELECT r.partition, r."offset", r.event_id, e.event_id IS NOT NULL'  # noqa: S608 - own text
            " FROM read_event r LEFT JOIN analytics_event e ON e.event_id = r.event_id"
            f" WHERE e.event_id IS NULL OR {HIGHER}"
            ' ORDER BY r.partition, r."offset"'
        ):
            record = f"analytics-{number} at {offset}"
            check.differ(
                f"The event {shown_id(event_id)} is stored from a higher source than that of"
                f" {record}. To correct it, read again: `purchases offsets reset analytics --to"
                " earliest`."
                if is_there
                else f"The event {shown_id(event_id)} of {record} is not stored."
            )

    def _stored_user(self, user: str | None) -> str | None:
        if user is None or self._pseudonym_of is None:
            return user
        return self._pseudonym_of(b"user", user) or user
