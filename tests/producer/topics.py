"""What the tests of sending need of Kafka: a deployment's topics, and all that stands on one."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streaming.kafka.names import Names
from streaming.kafka.topics import create_topics
from streaming.settings import Settings
from tests.support import Broker, wait_until


def deployment(broker: Broker, home: Path, namespace: str) -> Settings:
    """Return the settings of a new deployment on the session's broker, with its topics."""
    settings = Settings(home=home, bootstrap_servers=broker.bootstrap_servers, namespace=namespace)
    create_topics(settings, broker.bootstrap_servers)
    wait_until(lambda: _is_served(settings), 60, "the new topics have no leaders")
    return settings


def all_of(settings: Settings) -> list[Message]:
    """Read `purchases` from its beginning to its end, each partition in order."""
    topic = Names.of(settings).purchases
    consumer = Consumer(
        {"bootstrap.servers": settings.bootstrap_servers, "group.id": "reader", "log_level": 0}
    )
    try:
        ends = ends_of(consumer, topic)
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        messages: list[Message] = []
        while len(messages) < sum(ends.values()):
            messages += consumer.consume(10_000, 1.0)
    finally:
        consumer.close()
    assert all(message.error() is None for message in messages)
    return messages


def count_of(settings: Settings) -> int:
    """Return how many records `purchases` holds."""
    consumer = Consumer(
        {"bootstrap.servers": settings.bootstrap_servers, "group.id": "reader", "log_level": 0}
    )
    try:
        return sum(ends_of(consumer, Names.of(settings).purchases).values())
    finally:
        consumer.close()


def ends_of(consumer: Consumer, topic: str) -> dict[int, int]:
    """Return where each partition ends."""
    partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
    return {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=60)[1]
        for number in partitions
    }


def _is_served(settings: Settings) -> bool:
    """Return whether each partition has its leader, which takes a moment after it was made."""
    try:
        return count_of(settings) == 0
    except KafkaException:
        return False


def value_of(message: Message) -> bytes:
    """Return a record's value, which must be there."""
    value = message.value()
    assert isinstance(value, bytes), pytest.fail("a record without a value")
    return value
