"""Bounds of partitions and offsets of groups, asked of the brokers for all partitions at once."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
)
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from streaming.errors import Unavailable, Unrecoverable
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.runtime.limits import COORDINATOR_REQUEST_SECONDS


def offset_at(
    partition: TopicPartition, offset: int, leader_epoch: int | None, metadata: str = ""
) -> PartitionOffset:
    """Return an offset as the client takes it; Kafka's old formats have no epoch."""
    epoch = -1 if leader_epoch is None else leader_epoch
    return PartitionOffset(*partition, offset, metadata, epoch)


def list_partitions(
    consumer: Consumer, topics: Iterable[str], timeout: float
) -> list[PartitionOffset]:
    """Return all partitions of the topics, waiting up to `timeout` seconds for each topic.

    Raises `Unrecoverable` if the brokers do not name those of one.
    """
    partitions: list[PartitionOffset] = []
    for topic in topics:
        try:
            described = consumer.list_topics(topic, timeout).topics[topic]
        except KafkaException as failed:
            error = failed.args[0]
        else:
            error = described.error
        if error is not None:
            # Left out, they would not be read until somebody asks again.
            raise Unrecoverable(f"no answer about the partitions of {topic}: {error.str()}")
        partitions += [PartitionOffset(topic, number) for number in described.partitions]
    return partitions


def list_bounds(
    admin: AdminClient, partitions: Iterable[TopicPartition], *, stable: bool, timeout: float
) -> dict[TopicPartition, tuple[int, int]]:
    """Return first offset and end of each partition: last stable offset, or high watermark.

    Raises `Unavailable` if the brokers do not answer within `timeout` seconds.
    """
    # Asked as "latest" under `read_committed`, the leader answers with the last stable offset.
    level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
    listed = list(partitions)
    try:
        begins, ends = [
            {
                (at.topic, at.partition): future.result(timeout).offset
                for at, future in admin.list_offsets(
                    {PartitionOffset(*partition): specification for partition in listed},
                    isolation_level=level,
                    request_timeout=timeout,
                ).items()
            }
            for specification in _specifications()
        ]
    except KafkaException as error:
        raise Unavailable(f"The broker does not answer: {error.args[0].str()}.") from None
    except TimeoutError:
        raise Unavailable("The broker does not answer in time.") from None
    return {partition: (begins[partition], ends[partition]) for partition in listed}


def group_reader(common: Config, group: str) -> Consumer:
    """Return a consumer that never joins, to ask for the group's offsets.

    The admin client of librdkafka 2.16 ends the process if the group's coordinator is just moving
    (docs/postmortems/0014-admin-client-of-a-moving-group.md).
    """
    config: Config = {
        **common,
        "group.id": group,
        "enable.auto.commit": False,
        # Under `read_committed` the answer would wait until an open transaction is decided.
        "isolation.level": "read_uncommitted",
    }
    return Consumer(config)


def read_group_offsets(
    reader: Consumer, partitions: Iterable[TopicPartition], timeout: float
) -> dict[TopicPartition, PartitionOffset]:
    """Return what the group of `reader` has committed of the partitions, with its metadata.

    An open transaction changes nothing of it. Raises `KafkaException` if no answer comes within
    `timeout` seconds.
    """
    asked = [PartitionOffset(*partition) for partition in partitions]
    committed = reader.committed(asked, timeout=timeout) if asked else []
    return {(p.topic, p.partition): p for p in committed if p.error is None and p.offset >= 0}


def committed_offsets(
    common: Config, group: str, partitions: Iterable[TopicPartition], timeout: float
) -> dict[TopicPartition, PartitionOffset]:
    """Return what `read_group_offsets` does, asked once by a reader of its own."""
    with closing(group_reader(common, group)) as reader:
        return read_group_offsets(reader, partitions, timeout)


def commit_offsets(
    admin: AdminClient, group: str, offsets: list[PartitionOffset], timeout: float
) -> str | None:
    """Commit for a group without members; return why that was refused, None if it was done."""
    asked = [ConsumerGroupTopicPartitions(group, offsets)]
    try:
        altered = admin.alter_consumer_group_offsets(
            asked, request_timeout=COORDINATOR_REQUEST_SECONDS
        )
        done = altered[group].result(timeout)
    except KafkaException as error:
        return str(error.args[0].str())
    except TimeoutError:
        return "the brokers do not answer"
    errors = (partition.error for partition in done.topic_partitions)
    return next((error.str() for error in errors if error is not None), None)


def _specifications() -> list[Any]:
    return [OffsetSpec.earliest(), OffsetSpec.latest()]  # type: ignore[no-untyped-call]
