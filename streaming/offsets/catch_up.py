"""Whether an app has done what was there: the ends of the logs now, and its stored positions.

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

Positions = Mapping[TopicPartition, int]


class GroupLooker:
    """Looks at a group from outside, without joining it."""

    def __init__(self, settings: Settings, servers: str, group: str) -> None:
        self._group = group
        self._consumer = Consumer(consumer_config(settings, servers, "looker", group))
        self._admin = AdminClient(common_config(settings, servers, "looker"))

    def ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Give the high watermark of every partition that holds something.

        What stands behind an open transaction is below it. Raises `Unavailable` where no broker
        answers.
        """
        places = [(p.topic, p.partition) for p in self._partitions(topics)]
        bounds = list_bounds(self._admin, places, stable=False, timeout=ANSWER_SECONDS)
        return {place: end for place, (first, end) in bounds.items() if first < end}

    def committed(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Give the group's committed offset of each partition; the beginning where none is."""
        found = answer(lambda seconds: committed_offsets(self._admin, self._group, seconds))
        return {
            (p.topic, p.partition): at.offset if at else self._watermarks(p)[0]
            for p in self._partitions(topics)
            for at in [found.get((p.topic, p.partition))]
        }

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _partitions(self, topics: Sequence[str]) -> list[PartitionOffset]:
        known = answer(lambda seconds: self._consumer.list_topics(timeout=seconds)).topics
        return [
            PartitionOffset(topic, partition)
            for topic in topics
            if topic in known
            for partition in known[topic].partitions
        ]

    def _watermarks(self, partition: PartitionOffset) -> tuple[int, int]:
        place = PartitionOffset(partition.topic, partition.partition)
        return answer(lambda seconds: self._consumer.get_watermark_offsets(place, timeout=seconds))


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
    """Wait until the stored positions have reached the targets; False where told to stop before.

    Raises `PurchasesError` after `timeout` seconds without any progress, naming the partition,
    its position and its end: an open transaction hides what is behind it. Who does not answer for
    a while has made no progress.
    """
    moved_at, before = time.monotonic(), dict[TopicPartition, int]()
    while keep_going():
        try:
            now = stored()
        except Unavailable:
            now = before
        behind = {place: end for place, end in targets.items() if now.get(place, 0) < end}
        if not behind:
            return True
        if now != before:
            moved_at, before = time.monotonic(), dict(now)
        if time.monotonic() - moved_at > timeout:
            (topic, partition), end = next(iter(behind.items()))
            raise PurchasesError(
                f"Not caught up: {topic}-{partition} stands at {now.get((topic, partition), 0)} of"
                f" {end} and has not moved for {timeout:g} s; is a transaction open there, or is"
                " the worker failing (see its log)?"
            )
        time.sleep(0.1)
    return False
