"""What `purchases.dlq` holds against the rows of the dead letters, and against the stored events.

What was read is put into temporary tables of the caller's snapshot. The dead letters are few, so
that one process compares them all.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import Message
from msgspec import Struct

from streaming.events.identifiers import topic_id_bytes, topic_id_text
from streaming.events.record import DEAD_LETTER, Origin, origin_id
from streaming.store.connection import StoreConnection
from streaming.store.temporary_table import TemporaryTable
from streaming.units import EPOCH
from streaming.verification.check import Check
from streaming.verification.event_checks import RedrivenEvent
from streaming.verification.records import headers_of, own_event_id, readable_origin, stored_id

MILLISECOND: Final = timedelta(milliseconds=1)
OriginId = tuple[str, int, int]
"""The origin of a dead letter: topic id, partition, offset."""
ORIGIN: Final = {"topic_id": str, "origin_partition": int, "origin_offset": int}
READ_REFUSED: Final = {
    "partition": int,
    "offset": int,
    **ORIGIN,
    "attempt": int,
    "event_id": bytes,
}
READ_REDRIVEN: Final = {"partition": int, "offset": int, **ORIGIN, "event_id": bytes}
DEAD_LETTER_EVENT: Final = {**ORIGIN, "event_id": bytes}
READ_RANGE: Final = {"topic": str, "partition": int, "first": int, "following": int}
ADD_READ_EVENTS: Final = (
    "INSERT INTO dead_letter_event"
    " SELECT topic_id, origin_partition, origin_offset, event_id FROM read_refused"
    " UNION ALL SELECT topic_id, origin_partition, origin_offset, event_id FROM read_redriven"
)
STORED_ORIGINS: Final = (
    "SELECT DISTINCT l.topic_id, l.origin_partition, l.origin_offset FROM dead_letter_event l"
    " JOIN analytics_event e ON e.event_id = l.event_id"
)
"""The origins of which one of the ids that their event may have is stored."""


class JudgedDeadLetters(Struct, frozen=True):
    """The two checks; `stored` are the dead letters whose event was found.

    `rows_of_others` says that a new row is of a record that was not read.
    """

    rows: Check
    events: Check
    stored: set[OriginId]
    rows_of_others: bool


class DeadLetterComparison:
    """Collects the dead letters that were read below the stored positions, and compares them.

    `analytics` and `dead_letters` are the first offset and the position of each partition.
    """

    def __init__(
        self,
        connection: StoreConnection,
        analytics: Mapping[int, tuple[int, int]],
        dead_letters: Mapping[int, tuple[int, int]],
    ) -> None:
        self._connection = connection
        self._dead_letters = dead_letters
        key = ("partition", "offset")
        self._refused = TemporaryTable(connection, "read_refused", READ_REFUSED, key)
        self._redriven = TemporaryTable(connection, "read_redriven", READ_REDRIVEN)
        read = TemporaryTable(connection, "read_range", READ_RANGE, ("topic", "partition"))
        for topic, ranges in (("analytics", analytics), ("dead letters", dead_letters)):
            read.add_all((topic, number, first, end) for number, (first, end) in ranges.items())
        read.flush()

    def add(self, message: Message) -> None:
        """Take a record of `purchases.dlq`, if it lies below the stored position and is ours."""
        number, offset = message.partition() or 0, message.offset() or 0
        origin = readable_origin(headers_of(message), DEAD_LETTER)
        # Beyond the position the consumer may store it only after the snapshot that is compared.
        if origin is None or offset >= self._dead_letters.get(number, (0, 0))[1]:
            return
        origin_key = (topic_id_text(origin.topic_id), origin.partition, origin.offset)
        event_id = own_event_id(message.value() or b"")
        self._refused.add((number, offset, *origin_key, origin.attempt, event_id))

    def add_redriven(self, events: Iterable[RedrivenEvent]) -> None:
        """Take the events whose origin a dead letter names."""
        self._redriven.add_all(events)

    def judge(
        self, since: datetime | None, proven: Collection[OriginId], after: int
    ) -> JudgedDeadLetters:
        """Compare the dead letters with rows and events; see `check_stored` for what they mean.

        Rows up to `after` are held by a checkpoint.
        """
        self._refused.flush()
        self._redriven.flush()
        return JudgedDeadLetters(
            self.check_rows(),
            self.check_stored(since, proven),
            self._list_stored(),
            after > 0 and self.has_rows_of_others(after),
        )

    def check_rows(self) -> Check:
        """Compare the dead letters, and the redriven origins that are stored, with the rows."""
        check = Check("dead letters in the database")
        row = self._connection.execute("SELECT count(*) FROM read_refused").fetchone()
        check.compared = row[0]
        # What was read, and has no row.
        for number, offset, partition, origin in self._connection.execute(
            'SELECT l.partition, l."offset", l.origin_partition, l.origin_offset'
            " FROM read_refused l"
            " LEFT JOIN dead_letter d ON d.origin_topic_id = l.topic_id"
            " AND d.origin_partition = l.origin_partition AND d.origin_offset = l.origin_offset"
            ' WHERE d.state IS NULL OR d.attempts < l.attempt ORDER BY l.partition, l."offset"'
        ):
            check.differ(
                f"The dead letter at {offset} of purchases.dlq-{number}, of purchases-{partition}"
                f" at {origin}, has no row with its attempt in dead_letter."
            )
        # What has a row that names its record, but was not read there. Of a missing record the
        # comparison is NULL, which only `IS NOT TRUE` takes for a difference.
        for number, offset, partition, origin in self._connection.execute(
            "SELECT d.dlq_partition, d.dlq_offset, d.origin_partition, d.origin_offset"
            " FROM dead_letter d JOIN read_range g"
            " ON g.topic = 'dead letters' AND g.partition = d.dlq_partition"
            " LEFT JOIN read_refused l"
            ' ON l.partition = d.dlq_partition AND l."offset" = d.dlq_offset'
            " WHERE d.dlq_offset >= g.first AND d.dlq_offset < g.following"
            " AND (l.topic_id = d.origin_topic_id AND l.origin_partition = d.origin_partition"
            " AND l.origin_offset = d.origin_offset) IS NOT TRUE"
        ):
            check.differ(
                f"dead_letter says that purchases-{partition} at {origin} stands at {offset} of"
                f" purchases.dlq-{number}, but it does not."
            )
        # What is stored by now, and whose row does not say so.
        for number, offset, partition, origin in self._connection.execute(
            'SELECT r.partition, r."offset", r.origin_partition, r.origin_offset'
            " FROM read_redriven r"
            " LEFT JOIN dead_letter d ON d.origin_topic_id = r.topic_id"
            " AND d.origin_partition = r.origin_partition AND d.origin_offset = r.origin_offset"
            " WHERE (d.state = 'stored') IS NOT TRUE"
            ' ORDER BY r.partition, r."offset"'
        ):
            check.differ(
                f"The event of analytics-{number} at {offset} was redriven from"
                f" purchases-{partition} at {origin}, but dead_letter does not say it is stored."
            )
        return check

    def check_stored(self, since: datetime | None, proven: Collection[OriginId] = ()) -> Check:
        """Compare each stored dead letter with the event of its origin.

        Its event has the id that is derived from the origin, or that its refused value had, or that
        `analytics` still shows beside the origin. `since` is what `deleted_until` returns: the
        event of an older purchase may be deleted there, so such an id is not missed. Those that are
        `proven` are of events that are as they were.
        """
        check = Check("stored dead letters and their events")
        oldest = 0 if since is None else (since - EPOCH) // MILLISECOND
        rows = self._connection.execute(
            "SELECT origin_topic_id, origin_partition, origin_offset, origin_timestamp,"
            " origin_topic FROM dead_letter WHERE state = 'stored'"
        ).fetchall()
        check.compared = len(rows)
        ids = TemporaryTable(self._connection, "dead_letter_event", DEAD_LETTER_EVENT)
        ids.add_all((*row[:3], _origin_event_id(*row[:4])) for row in rows)
        ids.flush()
        self._connection.execute(ADD_READ_EVENTS)
        with_event = set(self._connection.execute(STORED_ORIGINS).fetchall())
        for *origin, timestamp, topic in rows:
            topic_id, number, offset = origin
            is_proven = tuple(origin) in with_event or (topic_id, number, offset) in proven
            if timestamp >= oldest and not is_proven:
                check.differ(
                    f"dead_letter says that {topic}-{number} at {offset} is stored, but no event"
                    " has its id and origin."
                )
        return check

    def _list_stored(self) -> set[OriginId]:
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


def _origin_event_id(topic_id: str, partition: int, offset: int, timestamp: int) -> bytes:
    """Return the stored id of a purchase without an event id of its own."""
    return stored_id(origin_id(Origin("", topic_id_bytes(topic_id), partition, offset, timestamp)))
