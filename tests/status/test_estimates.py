"""How long the lag and the disk last, by arithmetic over a status."""

from dataclasses import replace

import pytest

from streaming.kafka.lag import PartitionLag
from streaming.kafka.topic_options import Retention
from streaming.runtime.status_file import WorkerStatus
from streaming.status.estimates import (
    disk_forecast,
    seconds_until_deleted,
    sustained_rate,
    unread_share,
    with_lag,
)
from streaming.status.model import DatabaseStatus, Disk, PartitionStatus
from streaming.system.disk_space import LEAST_FREE_BYTES
from tests.status.test_diagnose import app


def partition(
    number: int, lag: int, seconds: float | None, hidden: int | None = 0
) -> PartitionStatus:
    """Return a partition of `purchases` with so many unread records."""
    return PartitionStatus(
        "processor", "purchases", number, 10, 10 + lag, lag, seconds, hidden, None
    )


@pytest.mark.parametrize(
    ("closing", "lags", "drain"),
    [
        (50.0, [(200, 4.0), (100, 9.0)], 6.0),
        (0.0, [(200, 4.0)], None),
        (-3.0, [(200, 4.0)], None),
        (0.0, [(0, None)], 0.0),
    ],
)
def test_a_lag_drains_by_how_fast_it_closes(
    closing: float, lags: list[tuple[int, float | None]], drain: float | None
) -> None:
    """A lag that stands or grows has no end; none is drained already."""
    partitions = [partition(n, lag, seconds, 2) for n, (lag, seconds) in enumerate(lags)]
    result = with_lag(app("processor", closing_per_second=closing), partitions)
    assert result.seconds_to_drain == drain
    assert result.lag_records == sum(lag for lag, _ in lags)
    assert result.lag_seconds == max((s for lag, s in lags if lag and s is not None), default=0.0)
    assert result.hidden_records == 2 * len(lags)


def test_an_age_that_one_partition_does_not_tell_is_unknown() -> None:
    """The oldest record may be the one that was not read in time."""
    result = with_lag(app("processor"), [partition(0, 5, 7.0), partition(1, 5, None, None)])
    assert result.lag_seconds is None
    assert with_lag(app("processor", lag_records=None), []).lag_records is None


def test_the_disk_lasts_until_the_store_pauses() -> None:
    """At 400 bytes an event and 1,000 events/s a day takes 34.56 GB, whatever the WAL holds."""
    database = DatabaseStatus(
        "ok", "", "purchases.db", 1_000_000, 0, 0, 0, 10**9, used_bytes=400_000_000
    )
    free = LEAST_FREE_BYTES + 10 * 34_560_000_000
    assert disk_forecast(free, database, 1_000.0) == Disk(free, 400_000_000, 10.0, 1_000.0)
    assert disk_forecast(LEAST_FREE_BYTES - 1, database, 1_000.0).days_until_full == 0.0
    assert disk_forecast(free, database, 0.0).days_until_full is None


def test_the_disk_is_projected_from_a_sustained_rate() -> None:
    """Before ten minutes of each worker nothing is: a replay's first minute is no rate."""
    long, short = WorkerStatus("analytics", 0, 1, stored_per_second=20.5), WorkerStatus("", 1, 2)
    assert sustained_rate([long, long]) == 41.0
    assert sustained_rate([long, short]) is None
    assert sustained_rate([]) is None
    database = DatabaseStatus(
        "ok", "", "purchases.db", 1_000_000, 0, 0, 0, 10**9, used_bytes=400_000_000
    )
    assert disk_forecast(10**12, database, None) == Disk(10**12, 400_000_000, None, None)


def test_of_a_few_events_no_size_is_estimated() -> None:
    """The pages of an empty database would count as theirs."""
    database = DatabaseStatus(
        "ok", "", "purchases.db", 9_999, 0, 0, 0, 10**9, used_bytes=400_000_000
    )
    assert disk_forecast(10**12, database, 1_000.0) == Disk(10**12, None, None, 1_000.0)


def unread_lag(seconds: float | None, size: int | None, first: int = 0) -> PartitionLag:
    """Return a partition of which records 900 to 1,000 are unread."""
    return PartitionLag("purchases", 0, 900, 1_000, 100, seconds, 0, None, None, first, size)


@pytest.mark.parametrize(
    ("lag", "retention", "share"),
    [
        (unread_lag(60.0, 50), Retention(600.0, 200), 0.25),
        (unread_lag(60.0, 50), Retention(120.0, 200), 0.5),
        (unread_lag(60.0, 50), Retention(None, None), 0.0),
        (unread_lag(None, None), Retention(600.0, 200), 0.0),
        (unread_lag(61.0, 1, first=800), Retention(600.0, 200), 0.5),
        (unread_lag(59.0, 1, first=890), Retention(600.0, 200), 0.098),
    ],
)
def test_what_is_unread_is_compared_with_what_kafka_keeps(
    lag: PartitionLag, retention: Retention, share: float
) -> None:
    """By age, by bytes, and by records once Kafka deletes, though not of what flows."""
    assert unread_share(lag, retention) == share


@pytest.mark.parametrize(
    ("lag", "retention", "seconds"),
    [
        (unread_lag(60.0, 50), Retention(600.0, 200), 540.0),
        (unread_lag(700.0, 50), Retention(600.0, 200), 0.0),
        (unread_lag(60.0, 50), Retention(None, 200), None),
        (unread_lag(None, None), Retention(600.0, 200), None),
        (replace(unread_lag(60.0, 50), records=0), Retention(600.0, 200), 600.0),
    ],
)
def test_the_age_of_what_is_unread_says_when_kafka_may_delete_it(
    lag: PartitionLag, retention: Retention, seconds: float | None
) -> None:
    """Without an unread record it is when one that comes now may be deleted."""
    assert seconds_until_deleted(lag, retention) == seconds
