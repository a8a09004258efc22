"""Offsets as the client takes them."""

from streaming.kafka.consumer import offset_at

PLACE = ("purchases", 1)


def test_an_offset_has_an_epoch_where_one_is_known() -> None:
    """Records of Kafka's old formats have none, which is no error."""
    known = offset_at(PLACE, 5, 3, "id")
    assert (known.topic, known.partition, known.offset) == (*PLACE, 5)
    assert (known.metadata, known.leader_epoch) == ("id", 3)
    assert offset_at(PLACE, 5, None).leader_epoch is None
