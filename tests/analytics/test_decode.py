"""Records become rows and positions; what cannot be stored is named."""

import pytest
from confluent_kafka import TopicPartition as PartitionOffset
from msgspec import structs

from streaming.analytics.decode import advances, read_rows
from streaming.errors import Mismatch
from streaming.events.analytics import MAX_EVENT_TIME, storable_rules
from streaming.events.record import Headers, Origin, Record
from streaming.processor.transform import transform
from streaming.store.advances import Advance
from streaming.store.rows import OPEN, STORED, STREAM_OFFSET, STREAM_PARTITION
from streaming.system.logs import RateLimitedLogger
from tests.events.given import REDRIVE, RULES, TOPIC_ID, origin_fields, purchase
from tests.events.given import record as purchase_record

PROCESSED = "2025-11-24T16:00:01.000000Z"
LIMIT = 1_000_000
STORABLE = storable_rules("GBP", {"purchases": 1, REDRIVE: 2})


def event(offset: int, headers: Headers = (), topic: str = "purchases") -> Record:
    """Return a record of `analytics` as the processor publishes it of one on `topic`."""
    output = transform(purchase_record(purchase(), topic=topic), RULES, PROCESSED, LIMIT)
    assert output.reason is None
    return Record("analytics", TOPIC_ID, 1, offset, 1_700, None, output.value, headers)


def dead_letter(offset: int) -> Record:
    """Return a record of `purchases.dlq` as the processor publishes it."""
    output = transform(purchase_record(b"{}", b"key"), RULES, PROCESSED, LIMIT)
    assert output.reason is not None
    return Record(
        "purchases.dlq", TOPIC_ID, 0, offset, 1_700, output.key, output.value, output.headers
    )


def test_a_batch_becomes_events_and_dead_letters_in_the_order_of_reading() -> None:
    """A redriven event is both: its headers say which dead letter is stored now."""
    records = [event(5), dead_letter(8), event(6, origin_fields(), REDRIVE)]
    events, dead_letters = read_rows(records, "analytics", REDRIVE, STORABLE, RateLimitedLogger())
    assert [(row[STREAM_PARTITION], row[STREAM_OFFSET]) for row in events] == [(1, 5), (1, 6)]
    assert [row.state for row in dead_letters] == [OPEN, STORED]
    refused = dead_letters[0]
    assert (refused.key, refused.dlq_offset, refused.refused_at) == ("key", 8, 1_700_000)
    assert (refused.origin.partition, refused.origin.offset) == (3, 42)


def test_a_forged_origin_on_purchases_stores_no_dead_letter() -> None:
    """It is a header like any other, whole or half, and its event is an event."""
    records = [event(5, origin_fields()), event(6, [("origin.x", b"")])]
    events, dead_letters = read_rows(records, "analytics", REDRIVE, STORABLE, RateLimitedLogger())
    assert (len(events), dead_letters) == (2, [])


def test_what_others_wrote_to_the_dead_letters_is_skipped() -> None:
    """Its headers name no origin, so there is nothing to store."""
    stranger = Record("purchases.dlq", TOPIC_ID, 0, 1, 1_700, None, b"hello", ())
    assert read_rows([stranger], "analytics", REDRIVE, STORABLE, RateLimitedLogger()) == ([], [])


@pytest.mark.parametrize(
    "record",
    [
        Record("analytics", TOPIC_ID, 2, 9, 1_700, None, b"{}"),
        Record(
            "analytics",
            TOPIC_ID,
            2,
            9,
            1_700,
            None,
            event(9, topic=REDRIVE).value,
            [("origin.x", b"")],
        ),
    ],
)
def test_a_record_that_cannot_be_stored_is_a_dead_letter_of_its_origin(record: Record) -> None:
    """A value that is no event, and headers that name half an origin; the others are stored."""
    events, (dead_letter,) = read_rows(
        [event(5), record, event(6)], "analytics", REDRIVE, STORABLE, RateLimitedLogger()
    )
    assert [row[STREAM_OFFSET] for row in events] == [5, 6]
    assert dead_letter.origin == Origin("analytics", TOPIC_ID, 2, 9, 1_700, 1)
    assert (dead_letter.state, dead_letter.reason, dead_letter.dlq_offset) == (
        OPEN,
        "not_storable",
        None,
    )
    assert dead_letter.detail


def test_a_record_of_a_newer_schema_is_named() -> None:
    """Nothing is stored of its batch: a newer version of this program can read it."""
    newer = Record("analytics", TOPIC_ID, 2, 9, 1_700, None, b'{"schema_version":2}')
    with pytest.raises(Mismatch, match=r"analytics-2, offset 9, cannot be stored"):
        read_rows([event(5), newer], "analytics", REDRIVE, STORABLE, RateLimitedLogger())


def test_a_time_that_no_calendar_has_is_cut() -> None:
    """Where a topic takes the time of whoever writes, µs of it may be beyond 64 bits."""
    records = [
        Record("analytics", TOPIC_ID, 2, 9, 2**63 - 1, None, None),
        structs.replace(dead_letter(8), timestamp=2**63 - 1),
    ]
    _, dead_letters = read_rows(records, "analytics", REDRIVE, STORABLE, RateLimitedLogger())
    assert [dead_letter.refused_at for dead_letter in dead_letters] == [MAX_EVENT_TIME] * 2


def test_a_batch_advances_the_partitions_of_its_records_to_the_positions() -> None:
    """Past the markers behind the last record, with the marker's epoch; others stay."""
    read = {("analytics", 1): 9, ("analytics", 2): 30}
    positions = {at: PartitionOffset(*at, offset, "", 4) for at, offset in read.items()}
    moved = advances([event(5), event(6)], positions, {("analytics", 1): 5})
    assert moved == {("analytics", 1): Advance(5, 9, 4, 2)}
