"""A group's member on a real broker, apart from the apps."""

from collections.abc import Sequence

from confluent_kafka import Consumer, ConsumerGroupState
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.kafka.config import Config, consumer_config
from streaming.kafka.consumer import GroupConsumer
from tests.deployment import Deployment
from tests.support import wait_until

PURCHASES, REDRIVE = "purchases", "purchases.redrive"
ALL = {(topic, number) for topic in (PURCHASES, REDRIVE) for number in range(4)}


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


def config_of(deployment: Deployment, instance: str) -> Config:
    """Return the configuration of a static member of a group of the deployment."""
    group = f"{deployment.namespace}.sharing"
    servers = deployment.bootstrap_servers
    return consumer_config(deployment.settings, servers, instance, group, instance)


def join(deployment: Deployment, instance: str) -> GroupConsumer:
    """Join the group as a member that reads `purchases`, which `purchases.redrive` follows."""
    topic_ids = {deployment.topic(topic): bytes(16) for topic in (PURCHASES, REDRIVE)}
    followers = {deployment.topic(REDRIVE)}
    return GroupConsumer("sharing", config_of(deployment, instance), topic_ids, list, followers)


def owned_by(member: GroupConsumer | Consumer) -> set[tuple[str, int]]:
    """Return the partitions that a member reads, by topics without their namespace."""
    return {(at.topic.partition(".")[2], at.partition) for at in member.assignment()}


def owned_after(members: Sequence[GroupConsumer], numbers: Sequence[int]) -> bool:
    """Let the members go on for a moment; return whether each has so many of `purchases`."""
    for member in members:
        member.fetch(1, 0)
    owned = [sum(topic == PURCHASES for topic, _ in owned_by(member)) for member in members]
    return owned == list(numbers)


def test_members_share_a_topic_evenly_and_its_followers_go_with_partition_0(
    deployment: Deployment,
) -> None:
    """Shared out too, a follower would count as much: one member could get all of a topic."""
    deployment.create_topics()
    first = join(deployment, "sharing-0")
    wait_until(lambda: owned_after([first], [4]), 30, "the first does not get all")
    assert owned_by(first) == ALL
    second = join(deployment, "sharing-1")
    both = [first, second]
    wait_until(lambda: owned_after(both, [2, 2]), 30, "they do not share")
    assert owned_by(first) | owned_by(second) == ALL
    assert not owned_by(first) & owned_by(second)
    for member in both:
        follows = (
            {at for at in ALL if at[0] == REDRIVE} if (PURCHASES, 0) in owned_by(member) else set()
        )
        assert {at for at in owned_by(member) if at[0] == REDRIVE} == follows
    owner = next(member for member in both if (PURCHASES, 0) in owned_by(member))
    both.remove(owner)
    owner.close()
    wait_until(lambda: owned_after(both, [4]), 30, "the other does not take over")
    assert owned_by(both[0]) == ALL
    both[0].close()


def test_a_member_that_the_group_assigned_followers_before_reads_them_once(
    deployment: Deployment,
) -> None:
    """So it was in earlier releases, and a static member comes back to what it had."""
    deployment.create_topics()
    earlier = Consumer(config_of(deployment, "sharing-0"))
    earlier.subscribe([deployment.topic(topic) for topic in (PURCHASES, REDRIVE)])
    wait_until(lambda: [earlier.poll(0.1), owned_by(earlier) == ALL][1], 30, "nothing is assigned")
    earlier.close()
    member = join(deployment, "sharing-0")
    wait_until(lambda: owned_after([member], [4]), 30, "nothing is assigned")
    assert len(member.assignment()) == len(ALL)
    assert owned_by(member) == ALL
    member.close()
