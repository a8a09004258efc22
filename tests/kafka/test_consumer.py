"""A group's member on a real broker, apart from the apps."""

from collections.abc import Sequence

from confluent_kafka import ConsumerGroupState
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.kafka.config import consumer_config
from streaming.kafka.consumer import GroupConsumer
from tests.deployment import Deployment
from tests.support import wait_until


def test_a_member_closes_whose_assignment_was_never_served(deployment: Deployment) -> None:
    """The client would not return from it by itself. No offset is looked up on the way."""
    group, topic = f"{deployment.namespace}.closing", deployment.topic("purchases")
    looked_up: list[PartitionOffset] = []

    def look_up(partitions: Sequence[PartitionOffset]) -> list[PartitionOffset]:
        looked_up.extend(partitions)
        return list(partitions)

    servers = deployment.bootstrap_servers
    config = consumer_config(deployment.settings, servers, "closing", group, "closing-0")
    member = GroupConsumer("closing", config, {topic: bytes(16)}, look_up)
    admin = AdminClient({"bootstrap.servers": servers})

    def is_assigned() -> bool:
        listed = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(60)
        return group in {listing.group_id for listing in listed.valid}

    wait_until(is_assigned, 30, "the group does not assign its partitions")
    member.close()
    assert looked_up == []
