"""Offsets to commit, made from positions."""

from confluent_kafka import TopicPartition

from streaming.kafka.consumer import offset_at


def test_an_offset_has_its_positions_epoch_where_there_is_one() -> None:
    """Records of Kafka's old formats have none, which is no error."""
    known = offset_at(TopicPartition("purchases", 1, 5, "", 3), "id")
    assert (known.topic, known.partition, known.offset) == ("purchases", 1, 5)
    assert (known.metadata, known.leader_epoch) == ("id", 3)
    assert offset_at(TopicPartition("purchases", 1, 5), "id").leader_epoch is None
