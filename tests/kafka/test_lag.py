"""How far figures are behind, from what the brokers said."""

from streaming.events.record import Record
from streaming.kafka.lag import Lag, LogEnd, PartitionLag, partition_lag, sum_lag

AT = ("analytics", 1)
NOW = 1_000.0


def record(offset: int, seconds_ago: float) -> Record:
    """Return a record that was appended some seconds ago."""
    return Record(AT[0], b"", AT[1], offset, int((NOW - seconds_ago) * 1000), None, None)


def lag(end: LogEnd, *, next_record: Record | None, hidden: Record | None = None) -> PartitionLag:
    """Return the lag of the one partition."""
    return partition_lag(end, {AT: next_record}, {AT: hidden} if hidden else {}, NOW)


def test_lag_counts_from_the_next_record_to_the_last_stable_offset() -> None:
    """Markers between the position and the next record are no records."""
    result = lag(LogEnd(AT, 5, 20, 20), next_record=record(10, 3.0))
    assert (result.position, result.end, result.records, result.seconds) == (5, 20, 10, 3.0)
    assert (result.hidden_records, result.hidden_seconds) == (0, None)


def test_there_is_no_lag_if_only_markers_follow() -> None:
    """The log ends before a next record came; a position at or past the end has none either."""
    for position in (5, 20, 21):
        result = lag(LogEnd(AT, position, 20, 20), next_record=None)
        assert (result.records, result.seconds) == (0, 0.0)


def test_an_answer_that_did_not_come_leaves_the_age_unknown() -> None:
    """The records are counted by the offsets then."""
    result = partition_lag(LogEnd(AT, 5, 20, 20), {}, {}, NOW)
    assert (result.records, result.seconds) == (15, None)


def test_records_behind_an_open_transaction_are_counted_apart() -> None:
    """They are no lag, because no reader of committed records can see them."""
    result = lag(LogEnd(AT, 20, 20, 26), next_record=None, hidden=record(20, 70.0))
    assert (result.records, result.hidden_records, result.hidden_seconds) == (0, 6, 70.0)


def test_the_lag_of_all_partitions_is_their_sum_and_the_oldest_age() -> None:
    """One unknown age makes the oldest unknown; without records the age is 0."""
    first = lag(LogEnd(AT, 5, 20, 20), next_record=record(5, 3.0))
    second = lag(LogEnd(AT, 0, 1, 1), next_record=record(0, 9.0))
    unknown = partition_lag(LogEnd(AT, 5, 20, 20), {}, {}, NOW)
    assert sum_lag([first, second]) == Lag(16, 9.0)
    assert sum_lag([first, unknown]) == Lag(30, None)
    assert sum_lag([lag(LogEnd(AT, 1, 1, 1), next_record=None)]) == Lag(0, 0.0)
