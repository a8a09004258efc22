"""Offsets as the client takes them."""

from streaming.kafka.offsets import offset_at

PARTITION = ("purchases", 1)


def test_an_offset_has_an_epoch_where_one_is_known() -> None:
    """Records of Kafka's old formats have none, which is no error."""
    with_epoch = offset_at(PARTITION, 5, 3, "id")
    assert (with_epoch.topic, with_epoch.partition, with_epoch.offset) == (*PARTITION, 5)
    assert (with_epoch.metadata, with_epoch.leader_epoch) == ("id", 3)
    assert offset_at(PARTITION, 5, None).leader_epoch is None
