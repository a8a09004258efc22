"""Estimates: when an app has drained its lag, and when the disk is full.

Pure arithmetic over what `collect` has read.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from streaming.kafka.lag import PartitionLag
from streaming.kafka.topic_options import Retention
from streaming.runtime.status_file import WorkerStatus
from streaming.status.model import AppStatus, DatabaseStatus, Disk, PartitionStatus
from streaming.system.disk_space import LEAST_FREE_BYTES

DAY_SECONDS: Final = 86_400
FEWEST_EVENTS: Final = 10_000
"""With fewer, the size of an empty database would distort the size of an event."""

SETTLED_SECONDS: Final = 60.0
"""For so long a record is unread before the log's own bounds say anything: not while one flows."""


def unread_share(lag: PartitionLag, retention: Retention) -> float:
    """Return how much of what `retention` keeps of a partition is unread, from 0 to over 1.

    By age, by bytes, or, once Kafka has begun to delete, by records; the largest counts.
    """
    seconds, size = lag.seconds or 0.0, lag.unread_bytes or 0
    shares = [
        seconds / retention.seconds if retention.seconds else 0.0,
        size / retention.size if retention.size else 0.0,
    ]
    # Above 0 the first offset says that Kafka has deleted: what is left is all that is kept.
    if lag.first > 0 and lag.records and seconds > SETTLED_SECONDS:
        shares.append(lag.records / (lag.end - lag.first))
    return round(max(shares), 3)


def seconds_until_deleted(lag: PartitionLag, retention: Retention) -> float | None:
    """Return after how many seconds Kafka may delete the oldest unread record by its age, from 0.

    If none is unread, it is that of one that comes now. None if the age of the oldest is unknown,
    or if the topic deletes nothing by its age.
    """
    age = lag.seconds if lag.records else 0.0
    if age is None or retention.seconds is None:
        return None
    return round(max(retention.seconds - age, 0.0), 1)


def with_lag(app: AppStatus, partitions: Sequence[PartitionStatus]) -> AppStatus:
    """Return an app with its lag in sum, and the time to drain from how fast the lag shrinks."""
    if not partitions:
        return app
    seconds = [partition.lag_seconds for partition in partitions if partition.lag_records]
    ages = [value for value in seconds if value is not None]
    records = sum(partition.lag_records for partition in partitions)
    drain = 0.0 if not records else None
    if records and app.closing_per_second > 0:
        drain = round(records / app.closing_per_second, 1)
    return structs.replace(
        app,
        lag_records=records,
        # The oldest record may be the one whose age is unknown.
        lag_seconds=max(ages, default=0.0) if len(ages) == len(seconds) else None,
        hidden_records=sum(partition.hidden_records or 0 for partition in partitions),
        seconds_to_drain=drain,
    )


def sustained_rate(workers: Sequence[WorkerStatus]) -> float | None:
    """Return what the workers store per second in sum; None if one has not worked long enough."""
    rates = [worker.stored_per_second for worker in workers]
    measured = [rate for rate in rates if rate is not None]
    return round(sum(measured), 1) if measured and len(measured) == len(rates) else None


def disk_forecast(free: int, database: DatabaseStatus, stored_per_second: float | None) -> Disk:
    """Return the disk's state: how long `free` bytes last until the store pauses.

    An event's size is what the database holds by its rows. Without a rate there is no end.
    """
    # Of an archived event only the id is here: counted too, it would make an event look small.
    events = (database.events or 0) - (database.archived or 0)
    size = database.used_bytes or 0
    if events < FEWEST_EVENTS:
        return Disk(free, None, None, stored_per_second)
    a_day = size / events * (stored_per_second or 0.0) * DAY_SECONDS
    days = round(max(free - LEAST_FREE_BYTES, 0) / a_day, 1) if a_day else None
    return Disk(free, round(size / events * 1_000_000), days, stored_per_second)
