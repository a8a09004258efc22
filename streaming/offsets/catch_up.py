"""Catch-up: whether an app's positions have reached the end offsets measured at the start.

The processor's positions are its group's committed offsets, the consumer's are in the database.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka.admin import AdminClient

from streaming.errors import PurchasesError, Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config
from streaming.kafka.offsets import group_reader, list_bounds, read_group_offsets
from streaming.kafka.retry import ANSWER_SECONDS, answer
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.system.deadline import POLL_SECONDS, Deadline

Positions = Mapping[TopicPartition, int]


class GroupReader:
    """A reader of a group's offsets and its topics' ends that does not join the group."""

    def __init__(self, settings: Settings, servers: str, group: str) -> None:
        common = common_config(settings, servers, "catch-up")
        self._consumer = group_reader(common, group)
        self._admin = AdminClient(common)

    def ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return the high watermark of every partition that holds something.

        What is behind an open transaction is below it. Raises `Unavailable` if no broker answers.
        """
        described = answer(lambda seconds: self._consumer.list_topics(timeout=seconds)).topics
        partitions = [
            (topic, number)
            for topic in topics
            if topic in described
            for number in described[topic].partitions
        ]
        bounds = list_bounds(self._admin, partitions, stable=False, timeout=ANSWER_SECONDS)
        # A partition that holds nothing has no position to wait for.
        return {partition: end for partition, (first, end) in bounds.items() if first < end}

    def read_committed_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the group's committed offset of each of the partitions that has one."""
        asked = list(partitions)
        offsets = answer(lambda seconds: read_group_offsets(self._consumer, asked, seconds))
        return {partition: committed.offset for partition, committed in offsets.items()}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def database_positions(settings: Settings, group: str) -> dict[TopicPartition, int]:
    """Read the consumer's positions from the database. Raises what `read_store` does."""
    statement = "SELECT topic, partition, next_offset FROM stream_offset WHERE consumer_group = ?"
    with read_store(settings) as store:
        rows = store.execute(statement, (group,)).fetchall()
    return {(topic, partition): offset for topic, partition, offset in rows}


def wait_until_caught_up(
    targets: Positions,
    stored: Callable[[], Positions],
    keep_going: Callable[[], bool],
    timeout: float,
) -> bool:
    """Wait until the stored positions have reached the targets; False if asked to stop before.

    Raises `PurchasesError` after `timeout` seconds without any progress, naming the partition,
    its position and its end: an open transaction hides what is behind it. A store or broker that
    does not answer for a while has made no progress.
    """
    deadline, before = Deadline.after(timeout), dict[TopicPartition, int]()
    while keep_going():
        try:
            now = dict(stored())
        except Unavailable:
            # An outage is no progress and no error: it ends by itself, or at the deadline.
            now = before
        behind = {at: end for at, end in targets.items() if now.get(at, 0) < end}
        if not behind:
            return True
        if now != before:
            # Any progress starts the wait again: a large backlog may take hours.
            deadline, before = Deadline.after(timeout), now
        if deadline.is_over():
            (topic, number), end = next(iter(behind.items()))
            raise PurchasesError(
                f"Not caught up: {topic}-{number} is at {now.get((topic, number), 0)} of {end}"
                f" and has not moved for {timeout:g} s; is a transaction open there, or is the"
                " worker failing (see its log)?"
            )
        time.sleep(POLL_SECONDS)
    return False
