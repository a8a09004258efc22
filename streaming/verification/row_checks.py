"""What `analytics` and `purchases.dlq` hold against the rows that were stored of it.

What was read is put into temporary tables, so that the comparing is SQLite's and memory stays
small. Everything happens inside the caller's snapshot of the database.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import Message

from streaming.events.identifiers import topic_id_bytes, topic_id_text
from streaming.events.record import DEAD_LETTER, ORIGIN, Origin, origin_id
from streaming.store.connection import StoreConnection
from streaming.verification.check import Check
from streaming.verification.pseudonyms import PseudonymOf
from streaming.verification.records import (
    PublishedEvent,
    headers_of,
    own_event_id,
    readable_origin,
    shown_id,
    stored_id,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
MILLISECOND: Final = timedelta(milliseconds=1)
Place = tuple[str, int, int]
"""The origin of a dead letter: topic id, partition, offset."""
FLUSH_ROWS: Final = 20_000
"""Events kept in memory before they are inserted together."""
TABLES: Final = """
CREATE TEMP TABLE read_event (
    partition INTEGER, offset INTEGER, event_id BLOB, event_time INTEGER, user TEXT, item TEXT,
    quantity INTEGER, amount_micros INTEGER, source_timestamp INTEGER, source_partition INTEGER,
    source_offset INTEGER, PRIMARY KEY (partition, offset)
) WITHOUT ROWID;
CREATE TEMP TABLE read_refused (
    partition INTEGER, offset INTEGER, topic_id TEXT, origin_partition INTEGER,
    origin_offset INTEGER, attempt INTEGER, event_id BLOB, PRIMARY KEY (partition, offset)
) WITHOUT ROWID;
CREATE INDEX temp.read_refused_origin
    ON read_refused (topic_id, origin_partition, origin_offset);
CREATE TEMP TABLE read_redriven (
    partition INTEGER, offset INTEGER, topic_id TEXT, origin_partition INTEGER,
    origin_offset INTEGER, event_id BLOB
);
CREATE INDEX temp.read_redriven_origin
    ON read_redriven (topic_id, origin_partition, origin_offset);
CREATE TEMP TABLE read_range (
    topic TEXT, partition INTEGER, first INTEGER, following INTEGER,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID
"""
INSERT_EVENT: Final = "INSERT INTO read_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_DEAD_LETTER: Final = "INSERT INTO read_refused VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_REDRIVEN: Final = "INSERT INTO read_redriven VALUES (?, ?, ?, ?, ?, ?)"
INSERT_RANGE: Final = "INSERT INTO read_range VALUES (?, ?, ?, ?)"


class RowComparison:
    """Collects what was read below the stored positions, and compares it with the rows.

    `redrive` is the topic on which origins count; `analytics` and `dead_letters` are the first
    offset and the position of each partition, `topic_id` is that of `analytics`. Users that were
    erased are compared by their pseudonyms.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is compared, and by which names
        self,
        connection: StoreConnection,
        redrive: str,
        analytics: Mapping[int, tuple[int, int]],
        dead_letters: Mapping[int, tuple[int, int]],
        topic_id: str,
        pseudonym_of: PseudonymOf | None = None,
    ) -> None:
        self._connection = connection
        self._pseudonym_of = pseudonym_of
        self._redrive = redrive
        self._analytics = analytics
        self._dead_letters = dead_letters
        self._events: list[Sequence[object]] = []
        self._records: Counter[int] = Counter()
        # What the database says cannot be stored, until its record is read.
        self._not_storable = {
            (row[0], row[1])
            for row in connection.execute(
                "SELECT origin_partition, origin_offset FROM dead_letter"
                " WHERE origin_topic_id = ? AND reason = 'not_storable'",
                (topic_id,),
            )
        }
        # Temporary tables have a file of their own, so that a read transaction of the database may
        # fill them.
        # A verification that went on from another one, and begins from the start now, left its own.
        for name in ("read_event", "read_refused", "read_redriven", "read_range"):
            connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
        for table in TABLES.split(";"):
            connection.execute(table)
        for topic, ranges in (("analytics", analytics), ("dead letters", dead_letters)):
            rows = [(topic, number, first, end) for number, (first, end) in ranges.items()]
            connection.executemany(INSERT_RANGE, rows)

    def is_below_position(self, number: int, offset: int) -> bool:
        """Return whether the consumer has read this record of `analytics`."""
        return offset < self._analytics.get(number, (0, 0))[1]

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
        # Integers all the way: `timestamp()` is a float, and its microseconds may be rounded
        # wrongly.
        since = event.event_time - EPOCH
        stored = stored_id(event.event_id)
        self._events.append(
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
        if len(self._events) >= FLUSH_ROWS:
            self._flush()
        is_redriven = event.source_topic == self._redrive
        origin = readable_origin(headers_of(message), ORIGIN) if is_redriven else None
        if origin is not None:
            origin_key = (topic_id_text(origin.topic_id), origin.partition, origin.offset)
            self._connection.execute(INSERT_REDRIVEN, (number, offset, *origin_key, stored))

    def add_dead_letter(self, message: Message) -> None:
        """Take a record of `purchases.dlq`, if it lies below the stored position and is ours."""
        number, offset = message.partition() or 0, message.offset() or 0
        origin = readable_origin(headers_of(message), DEAD_LETTER)
        if origin is None or offset >= self._dead_letters.get(number, (0, 0))[1]:
            return
        origin_key = (topic_id_text(origin.topic_id), origin.partition, origin.offset)
        event_id = own_event_id(message.value() or b"")
        row = (number, offset, *origin_key, origin.attempt, event_id)
        self._connection.execute(INSERT_DEAD_LETTER, row)

    def check_events(self, counted: Mapping[int, tuple[int, int]], whole: Collection[int]) -> Check:
        """Compare the records with the events.

        `counted` is how many the consumer says it read, and how many of these it may have read
        twice: reading again after a position was moved back adds only such. Of the partitions
        `whole` Kafka holds all that was counted.
        """
        self._flush()
        check = Check("analytics in the database")
        check.compared = sum(self._records.values())
        for number, offset in sorted(self._not_storable):
            if offset >= self._analytics.get(number, (0, 0))[0]:
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
        self._check_stored(check)
        # IS NOT compares NULL as a value: a guest has no user, an unknown price no amount, and a
        # missing record nothing.
        for event_id, number, offset, is_there in self._connection.execute(
            "SELECT e.event_id, e.stream_partition, e.stream_offset, r.event_id IS e.event_id"
            " FROM analytics_event e JOIN read_range g"
            " ON g.topic = 'analytics' AND g.partition = e.stream_partition"
            " LEFT JOIN read_event r"
            " ON r.partition = e.stream_partition AND r.offset = e.stream_offset"
            " WHERE e.stream_offset >= g.first AND e.stream_offset < g.following AND"
            " (r.event_id, r.event_time, r.user, r.item, r.quantity, r.amount_micros) IS NOT"
            " (e.event_id, e.event_time, e.user, e.item, e.quantity, e.amount_micros)"
            " ORDER BY e.stream_partition, e.stream_offset"
        ):
            record = f"analytics-{number} at {offset}"
            check.differ(
                f"The event {shown_id(event_id)} is stored otherwise than it stands on {record}."
                if is_there
                else f"The event {shown_id(event_id)} is stored, but {record} does not hold it."
            )
        return check

    def _check_stored(self, check: Check) -> None:
        """Look for each record's id, of which no record with a higher source may be stored."""
        for number, offset, event_id, is_there in self._connection.execute(
            "SELECT r.partition, r.offset, r.event_id, e.event_id IS NOT NULL"
            " FROM read_event r LEFT JOIN analytics_event e ON e.event_id = r.event_id"
            " WHERE e.event_id IS NULL"
            " OR (r.source_timestamp, r.source_partition, r.source_offset)"
            " < (e.source_timestamp, e.source_partition, e.source_offset)"
            " ORDER BY r.partition, r.offset"
        ):
            record = f"analytics-{number} at {offset}"
            check.differ(
                f"The event {shown_id(event_id)} is stored from a higher source than that of"
                f" {record}. To correct it, read again: `purchases offsets reset analytics --to"
                " earliest`."
                if is_there
                else f"The event {shown_id(event_id)} of {record} is not stored."
            )

    def check_dead_letters(self) -> Check:
        """Compare the dead letters, and the redriven origins that are stored, with the rows."""
        check = Check("dead letters in the database")
        row = self._connection.execute("SELECT count(*) FROM read_refused").fetchone()
        check.compared = row[0]
        for number, offset, partition, origin in self._connection.execute(
            "SELECT l.partition, l.offset, l.origin_partition, l.origin_offset FROM read_refused l"
            " LEFT JOIN dead_letter d ON d.origin_topic_id = l.topic_id"
            " AND d.origin_partition = l.origin_partition AND d.origin_offset = l.origin_offset"
            " WHERE d.state IS NULL OR d.attempts < l.attempt ORDER BY l.partition, l.offset"
        ):
            check.differ(
                f"The dead letter at {offset} of purchases.dlq-{number}, of purchases-{partition}"
                f" at {origin}, has no row with its attempt in dead_letter."
            )
        for number, offset, partition, origin in self._connection.execute(
            "SELECT d.dlq_partition, d.dlq_offset, d.origin_partition, d.origin_offset"
            " FROM dead_letter d JOIN read_range g"
            " ON g.topic = 'dead letters' AND g.partition = d.dlq_partition"
            " LEFT JOIN read_refused l ON l.partition = d.dlq_partition AND l.offset = d.dlq_offset"
            " WHERE d.dlq_offset >= g.first AND d.dlq_offset < g.following AND"
            " (l.topic_id, l.origin_partition, l.origin_offset) IS NOT"
            " (d.origin_topic_id, d.origin_partition, d.origin_offset)"
        ):
            check.differ(
                f"dead_letter says that purchases-{partition} at {origin} stands at {offset} of"
                f" purchases.dlq-{number}, but it does not."
            )
        for number, offset, partition, origin in self._connection.execute(
            "SELECT r.partition, r.offset, r.origin_partition, r.origin_offset FROM read_redriven r"
            " LEFT JOIN dead_letter d ON d.origin_topic_id = r.topic_id"
            " AND d.origin_partition = r.origin_partition AND d.origin_offset = r.origin_offset"
            " WHERE d.state IS NOT 'stored' ORDER BY r.partition, r.offset"
        ):
            check.differ(
                f"The event of analytics-{number} at {offset} was redriven from"
                f" purchases-{partition} at {origin}, but dead_letter does not say it is stored."
            )
        return check

    def check_stored_dead_letters(
        self, since: datetime | None, proven: Collection[Place] = ()
    ) -> Check:
        """Compare each stored dead letter with the event of its origin.

        Its event has the id that is derived from the origin, or that its refused value had, or that
        `analytics` still shows beside the origin. `since` is what `deleted_until` returns: the
        event of an older purchase may be deleted there, so such an id is not missed. Those that are
        `proven` are of events that are as they were.
        """
        check = Check("stored dead letters and their events")
        self._connection.create_function("origin_event_id", 4, _origin_event_id, deterministic=True)
        oldest = 0 if since is None else (since - EPOCH) // MILLISECOND
        rows = self._connection.execute(
            "SELECT d.origin_topic, d.origin_timestamp, d.origin_topic_id, d.origin_partition,"
            " d.origin_offset"
            " FROM dead_letter d WHERE d.state = 'stored' AND NOT EXISTS"
            " (SELECT 1 FROM analytics_event e WHERE e.event_id IN (SELECT origin_event_id("
            "d.origin_topic_id, d.origin_partition, d.origin_offset, d.origin_timestamp)"
            " UNION ALL SELECT l.event_id FROM read_refused l WHERE (l.topic_id,"
            " l.origin_partition, l.origin_offset) = (d.origin_topic_id, d.origin_partition,"
            " d.origin_offset) UNION ALL SELECT r.event_id FROM read_redriven r WHERE (r.topic_id,"
            " r.origin_partition, r.origin_offset) = (d.origin_topic_id, d.origin_partition,"
            " d.origin_offset)))"
        )
        for topic, timestamp, topic_id, number, offset in rows:
            if timestamp >= oldest and (topic_id, number, offset) not in proven:
                check.differ(
                    f"dead_letter says that {topic}-{number} at {offset} is stored, but no event"
                    " has its id and origin."
                )
        check.compared = self._connection.execute(
            "SELECT count(*) FROM dead_letter WHERE state = 'stored'"
        ).fetchone()[0]
        return check

    def stored_dead_letters(self) -> set[Place]:
        """Return the origins of the dead letters that are stored."""
        return set(
            self._connection.execute(
                "SELECT origin_topic_id, origin_partition, origin_offset FROM dead_letter"
                " WHERE state = 'stored'"
            )
        )

    def has_rows_of_others(self, after: int) -> bool:
        """Return whether a row after this one is of a record that was not read here."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM analytics_event e LEFT JOIN read_range g"
            " ON g.topic = 'analytics' AND g.partition = e.stream_partition"
            " AND e.stream_offset >= g.first AND e.stream_offset < g.following"
            " WHERE e.rowid > ? AND g.partition IS NULL)",
            (after,),
        ).fetchone()
        return bool(row[0])

    def _stored_user(self, user: str | None) -> str | None:
        if user is None or self._pseudonym_of is None:
            return user
        return self._pseudonym_of(b"user", user) or user

    def _flush(self) -> None:
        self._connection.executemany(INSERT_EVENT, self._events)
        self._events.clear()


def _origin_event_id(topic_id: str, partition: int, offset: int, timestamp: int) -> bytes:
    """Return the stored id of a purchase without an event id of its own; SQLite calls this."""
    return stored_id(origin_id(Origin("", topic_id_bytes(topic_id), partition, offset, timestamp)))
