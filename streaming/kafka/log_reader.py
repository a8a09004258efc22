"""Reading partitions from given offsets, without a group. What is done with it is the caller's."""

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.events.record import Record, TopicPartition
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
