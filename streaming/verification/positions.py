"""The positions of one moment, and whether they are of this cluster and of these topics.

What lies between the positions is read by `topic_reader` and compared by `topic_checks`.
"""

from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.apps import PROCESSOR
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import list_bounds
from streaming.kafka.preflight import Cluster
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.verification.check import Check
from streaming.verification.topic_reader import Range, TopicReader, committed_offsets


class ConsumerPosition(Struct, frozen=True):
    """A row of `stream_offset`: the next offset, how many records were read, and of which topic.

    Of the records `read_again` may have been read twice, after a person moved the position back.
    """

    next_offset: int
    records: int
    read_again: int
    topic_id: str
    cluster_id: str


class TopicPositions(Struct, frozen=True):
    """The limits of a comparison: every position as it was at one moment.

    `stored` are the consumer's; `committed` are the processor's offsets with their metadata, which
    is the topic's id; `bounds` are first and end offset of each log.
    """

    stored: dict[TopicPartition, ConsumerPosition]
    committed: dict[TopicPartition, tuple[int, str]]
    bounds: dict[TopicPartition, Range]

    def processed_ranges(self) -> dict[TopicPartition, Range]:
        """Return the range of each partition that the processor has done."""
        return {
            # An offset is negative if nothing was committed, and below the first if retention
            # deleted what was processed.
            partition: (first, max(offset, first))
            for partition, (offset, _) in self.committed.items()
            for first in [self.bounds[partition][0]]
        }

    def read_offsets(self) -> dict[TopicPartition, int]:
        """Return up to which offset an app has read each partition, or was moved by a person."""
        stored = {partition: position.next_offset for partition, position in self.stored.items()}
        return stored | {partition: offset for partition, (offset, _) in self.committed.items()}

    def stored_ranges(self, topic: str) -> dict[int, Range]:
        """Return of each partition of an output what Kafka still holds below the position."""
        ranges = {}
        for (name, number), (first, _) in self.bounds.items():
            if name == topic:
                position = self.stored.get((name, number))
                ranges[number] = (first, max(first, position.next_offset if position else first))
        return ranges

    def count_read(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return how many records the consumer read of each partition, and how many again."""
        return {
            number: (position.records, position.read_again)
            for (name, number), position in self.stored.items()
            if name == topic
        }


def read_positions(
    connection: StoreConnection,
    settings: Settings,
    cluster: Cluster,
    group: str,
    reader: TopicReader,
) -> TopicPositions:
    """Read the positions, the database's first and the ends last; `group` is the consumer's.

    In this order, whatever a later step could show is there when it is looked for.
    """
    rows = connection.execute(
        "SELECT topic, partition, next_offset, records, duplicates + not_storable, topic_id,"
        " cluster_id FROM stream_offset WHERE consumer_group = ?",
        (group,),
    )
    stored = {(row[0], row[1]): ConsumerPosition(*row[2:]) for row in rows}
    read = Names.of(settings).read_by(PROCESSOR)
    partitions = [
        (name, number)
        for name, topic in cluster.topics.items()
        for number in range(topic.partitions)
    ]
    committed = committed_offsets(reader, [one for one in partitions if one[0] in read])
    admin = AdminClient(common_config(settings, cluster.bootstrap_servers, "verify"))
    # The high watermark, because an output may still be behind the last stable offset when its
    # purchase's offset is visible.
    bounds = list_bounds(admin, partitions, stable=False, timeout=CALL_SECONDS)
    return TopicPositions(stored, committed, bounds)


def check_identity(positions: TopicPositions, cluster: Cluster) -> Check:
    """Compare cluster, topic ids and the logs' ends with what the positions say."""
    check = Check("cluster and topics")
    _check_stored(check, positions, cluster)
    _check_committed(check, positions, cluster)
    return check


def _check_stored(check: Check, positions: TopicPositions, cluster: Cluster) -> None:
    for (topic, number), position in sorted(positions.stored.items()):
        check.compared += 1
        current = cluster.topics.get(topic)
        _, end = positions.bounds.get((topic, number), (0, -1))
        if position.cluster_id != cluster.cluster_id:
            check.differ(
                f"The position of {topic}-{number} is of cluster {position.cluster_id}, this one"
                f" is {cluster.cluster_id}."
            )
        elif current is None or topic_id_text(current.topic_id) != position.topic_id:
            check.differ(f"{topic} was deleted and created again since {number} was read.")
        elif position.next_offset > end:
            check.differ(
                f"The position of {topic}-{number} is {position.next_offset}, but its log ends at"
                f" {end}."
            )


def _check_committed(check: Check, positions: TopicPositions, cluster: Cluster) -> None:
    for (topic, number), (offset, topic_id) in sorted(positions.committed.items()):
        check.compared += 1
        _, end = positions.bounds[topic, number]
        expected = topic_id_text(cluster.topics[topic].topic_id)
        # Offsets that another tool committed have no metadata.
        if offset >= 0 and topic_id and topic_id != expected:
            check.differ(f"{topic} was deleted and created again since {number} was processed.")
        elif offset > end:
            check.differ(
                f"The processor's offset of {topic}-{number} is {offset}, its log ends at {end}."
            )
