"""What records of `analytics` and `purchases.dlq` add to the store, as one batch.

Nothing is fetched and nothing is stored here; both is the app's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Mismatch
from streaming.events.analytics import StorableRules
from streaming.events.dead_letter import DeadLetterHeaders, escaped_text, read_dead_letter_headers
from streaming.events.record import Record, TopicPartition
from streaming.events.refusal import RefusalError
from streaming.store.advances import Advance
from streaming.store.rows import (
    SOURCE_TOPIC,
    DeadLetterUpdate,
    EventRow,
    event_row,
    not_storable_update,
    redriven_updates,
    refusal_time,
    refusal_update,
)
from streaming.system.logs import RateLimitedLogger

_topic_partition = attrgetter("topic", "partition")


def read_rows(
    records: Iterable[Record],
    analytics: str,
    redrive: str,
    rules: StorableRules,
    log: RateLimitedLogger,
) -> tuple[list[EventRow], list[DeadLetterUpdate]]:
    """Return the events of the topic `analytics`, and the dead letters with the redriven ones.

    An event of the topic `redrive` names its dead letter, which is stored from now on; on any other
    topic anybody may write such headers, so there they name nothing. A record of `analytics` that
    nobody can store is a dead letter whose origin is itself. Records of others among the dead
    letters are logged and skipped. Raises `Mismatch` naming the record of a newer schema.
    """
    # One pass with one call for each record: a backlog's speed is decided here and in the insert.
    redriven = rules.source_topics[redrive]
    events: list[EventRow] = []
    add_event = events.append
    dead_letters: list[DeadLetterUpdate] = []
    for record in records:
        if record.topic != analytics:
            dead_letters += _dead_letter_rows(record, log)
            continue
        try:
            event = event_row(record.value, rules, record.partition, record.offset)
            # The processor wrote the topic's name into the event, so who writes to `purchases`
            # cannot mark another's dead letter as stored (docs/decisions/0037).
            if record.headers and event[SOURCE_TOPIC] == redriven:
                dead_letters += redriven_updates(record.headers)
        except RefusalError as error:
            dead_letters.append(not_storable_update(record, str(error)))
            log.warning("not_storable", partition=record.partition, offset=record.offset)
        # An upgrade can read it, so skipping it would lose it.
        except Mismatch as error:
            raise Mismatch(
                f"The record at {record.topic}-{record.partition}, offset {record.offset}, cannot"
                f" be stored: {error}. Is a newer version of purchases, or another deployment,"
                " writing to this topic?"
            ) from None
        else:
            add_event(event)
    return events, dead_letters


def _dead_letter_rows(record: Record, log: RateLimitedLogger) -> list[DeadLetterUpdate]:
    partition, offset = record.partition, record.offset
    read = read_dead_letter_headers(record.headers)
    if not isinstance(read, DeadLetterHeaders):
        # Anyone with WRITE on the topic may put it there; it names no purchase.
        log.warning("foreign_dead_letter", partition=partition, offset=offset)
        return []
    refused_at = refusal_time(record.timestamp)
    return [refusal_update(read, escaped_text(record.key), refused_at, partition, offset)]


def advances(
    records: Sequence[Record],
    positions: Mapping[TopicPartition, PartitionOffset],
    expected: Mapping[TopicPartition, int | None],
) -> dict[TopicPartition, Advance]:
    """Return how far the records' partitions were read from what is `expected` to be stored.

    `positions` are past the transaction markers behind the last records. The leader epoch is the
    position's: a marker may be of a later leader than the record before it.
    """
    # Counted in C, because this is one more pass over every record of a backlog.
    counts = Counter(map(_topic_partition, records))
    return {
        partition: Advance(
            expected[partition],
            positions[partition].offset,
            positions[partition].leader_epoch,
            count,
        )
        for partition, count in counts.items()
    }
