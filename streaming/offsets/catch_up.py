"""Catch-up: whether an app's positions have reached the end offsets measured at the start.

The processor's positions are its group's committed offsets, the consumer's are in the database.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import PurchasesError, Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.retry import ANSWER_SECONDS, answer
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.system.deadline import POLL_SECONDS, Deadline

Positions = Mapping[TopicPartition, int]


class GroupReader:
    """A reader of a group's offsets and its topics' ends that does not join the group."""

    def __init__(self, settings: Settings, servers: str, group: str) -> None:
        self._group = group
        self._consumer = Consumer(consumer_config(settings, servers, "catch-up", group))
        self._common = common_config(settings, servers, "catch-up")
        self._admin = AdminClient(self._common)

    def ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return the high watermark of every partition that holds something.

        What is behind an open transaction is below it. Raises `Unavailable` if no broker answers.
        """
        partitions = [(p.topic, p.partition) for p in self._partitions(topics)]
        bounds = list_bounds(self._admin, partitions, stable=False, timeout=ANSWER_SECONDS)
        # A partition that holds nothing has no position to wait for.
        return {partition: end for partition, (first, end) in bounds.items() if first < end}

    def committed(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return the group's committed offset of each partition; else its first offset."""
        partitions = self._partitions(topics)
        asked = [(at.topic, at.partition) for at in partitions]
        offsets = answer(
            lambda seconds: committed_offsets(self._common, self._group, asked, seconds)
        )
        committed = {}
        for at in partitions:
            offset = offsets.get((at.topic, at.partition))
            first = self._watermarks(at)[0] if offset is None else 0
            committed[at.topic, at.partition] = first if offset is None else offset.offset
        return committed

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _partitions(self, topics: Sequence[str]) -> list[PartitionOffset]:
        described = answer(lambda seconds: self._consumer.list_topics(timeout=seconds)).topics
        return [
            PartitionOffset(topic, number)
            for topic in topics
            if topic in described
            for number in described[topic].partitions
        ]

    def _watermarks(self, partition: PartitionOffset) -> tuple[int, int]:
        return answer(
            lambda seconds: self._consumer.get_watermark_offsets(partition, timeout=seconds)
        )


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
