"""Reading partitions from given offsets, without a group. What is done with it is the caller's."""

from collections.abc import Iterator, Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Unavailable
from streaming.events.record import Record, TopicPartition
from streaming.kafka.client_errors import PASSING
from streaming.kafka.config import Config
from streaming.kafka.records import read_record
from streaming.system.deadline import Deadline


def read_from(
    consumer: Consumer, starts: Mapping[TopicPartition, int], deadline: Deadline
) -> Iterator[tuple[TopicPartition, Record | KafkaError]]:
    """Yield what comes from each start on, until the deadline is over.

    That is records, and the client's errors; with `enable.partition.eof` the end of a partition is
    one of them.
    """
    # Assigned, not subscribed: no group is joined, so no app's partitions move.
    consumer.assign([PartitionOffset(*partition, start) for partition, start in starts.items()])
    while not deadline.is_over():
        message = consumer.poll(deadline.left())
        if message is not None:
            partition = (message.topic() or "", message.partition() or 0)
            yield partition, message.error() or read_record(message)


def read_to_ends(
    common: Config, group: str, starts: Mapping[TopicPartition, int], seconds: float
) -> Iterator[Record]:
    """Yield the committed records from each start to the end of what is decided.

    What was aborted is passed over. Raises `Unavailable` if for `seconds` nothing comes although
    an end is not reached, or if the client reports an error that does not pass by itself.
    """
    left = set(starts)
    config: Config = {
        **common,
        # The client wants a group's name. Partitions are assigned, so the group is not joined.
        "group.id": group,
        # Retention may delete the first record between the question for it and the reading.
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    with closing(Consumer(config)) as consumer:
        consumer.assign([PartitionOffset(*partition, start) for partition, start in starts.items()])
        while left:
            message = consumer.poll(seconds)
            if message is None:
                raise Unavailable("the broker does not return in time what was published")
            error = message.error()
            if error is None:
                yield read_record(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard((message.topic() or "", message.partition() or 0))
            elif error.code() not in PASSING:
                raise Unavailable(f"what was published cannot be read: {error.str()}")
