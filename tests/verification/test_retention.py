"""How far back everything is held, where a record's time is its sender's choice."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer

from streaming.store.connection import StoreConnection
from streaming.units import micros_of, record_time
from streaming.verification.retention import CLOCKS_APART, deleted_until, time_of
from streaming.verification.topic_reader import TopicReader
from tests.store.rows import add_events, event


@pytest.mark.parametrize("milliseconds", [-(2**63), -(10**14), 10**15, 2**63 - 1])
def test_any_record_time_is_a_time_of_the_calendar(milliseconds: int) -> None:
    """One record with another would end each verification until Kafka deletes it."""
    assert 2 <= (time_of(milliseconds) + CLOCKS_APART).year <= 9999
    assert record_time(milliseconds) is None


def test_any_time_of_an_event_is_one_that_a_minute_can_be_added_to(
    connection: StoreConnection,
) -> None:
    """Anyone who may write to `analytics` can store the last moment of the year 9999."""
    last = datetime.max.replace(tzinfo=UTC)
    add_events(connection, [event(0, 0, processed_at=micros_of(last), stream_partition=-1)])
    with closing(TopicReader(Consumer({"group.id": "verify"}), {})) as reader:
        since = deleted_until(reader, connection, "analytics", {}, 0)
    assert since == time_of(2**63 - 1) + CLOCKS_APART


def test_a_usual_record_time_is_itself() -> None:
    """To the millisecond."""
    assert time_of(1_322_150_401_250).isoformat() == "2011-11-24T16:00:01.250000+00:00"
    assert record_time(1_322_150_401_250) == "2011-11-24T16:00:01.250000Z"
