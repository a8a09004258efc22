"""Committed offsets that Kafka has deleted: with their topic, or because they expired.

A transaction commits what was published together with the offsets of what it was made of. So a
group that has published has offsets. Without one, a first start and a topic that was created again
would look the same. The message is the processor's; when to look is the caller's.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka.admin import AdminClient

from streaming.errors import Mismatch, Unavailable
from streaming.events.provenance import read_provenance
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.log_reader import read_to_ends
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.system.deadline import Deadline, wait_until

CALL_SECONDS: Final = 4.0
"""Of each of four calls. A client's first call also connects, which takes seconds on a busy host.
With reading and settling they stay within `RECOVERY_WATCHDOG_SECONDS`."""
READING_SECONDS: Final = 6.0
"""For reading past aborted records and those of others to the first that was published."""
SETTLING_SECONDS: Final = 2.0
"""A commit's markers reach the partitions one after another, within milliseconds if all is well."""

Bounds = Mapping[TopicPartition, tuple[int, int]]
"""First offset and end."""


def require_offsets(
    common: Config,
    group: str,
    read: Sequence[TopicPartition],
    written: Sequence[TopicPartition],
) -> None:
    """Raise `Mismatch` if the group's offsets were deleted; else as `published_without_offsets`."""
    published = published_without_offsets(common, group, read, written)
    if published is not None:
        topic, number = published
        raise Mismatch(
            f"The group {group} has no position any more, but has published before (see"
            f" {topic}-{number}). Either its topic was deleted and created again: what the old one"
            " still held and was not read is lost. Or nothing was processed for so long that Kafka"
            " deleted the offsets (offsets.retention.minutes): only what it has deleted unread"
            " meanwhile is lost. See `purchases offsets list`, and go on with"
            " `purchases offsets reset processor --to earliest`."
        )


def published_without_offsets(
    common: Config,
    group: str,
    read: Sequence[TopicPartition],
    written: Sequence[TopicPartition],
) -> TopicPartition | None:
    """Return which of `written` was published to, if `group` has no offset of `read`; or None.

    Raises `Unavailable` or `KafkaException` if the brokers do not answer.
    """
    # Asked first, and again at the end: nearly always the group has offsets, and nothing else is
    # read.
    if committed_offsets(common, group, read, CALL_SECONDS):
        return None
    bounds = list_bounds(AdminClient(common), written, stable=True, timeout=CALL_SECONDS)
    published = _first_published(common, group, bounds) or _first_deleted(bounds)
    # A commit in progress reaches each partition by itself, so the offsets may come a moment later.
    settled = Deadline.after(SETTLING_SECONDS)
    if published and wait_until(
        lambda: bool(committed_offsets(common, group, read, CALL_SECONDS)), settled
    ):
        return None
    return published


def _first_published(common: Config, group: str, bounds: Bounds) -> TopicPartition | None:
    """Return where the first record was read that a processor committed.

    What was aborted is not read, and what others wrote is passed over. Raises `Unavailable` if the
    partitions are not read to their ends in time.
    """
    starts = {partition: first for partition, (first, end) in bounds.items() if first < end}
    deadline = Deadline.after(READING_SECONDS)
    for record in read_to_ends(common, group, starts, READING_SECONDS):
        if read_provenance(record.value, record.headers) is not None:
            return record.topic, record.partition
        if deadline.is_over():
            raise Unavailable("what others wrote to the topics takes too long to read past")
    return None


def _first_deleted(bounds: Bounds) -> TopicPartition | None:
    """Return a partition of which records were deleted: those count as published."""
    return next((partition for partition, (first, _) in bounds.items() if first > 0), None)
