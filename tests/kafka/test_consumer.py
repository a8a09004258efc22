"""A group's member on a real broker, apart from the apps."""

from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Producer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.events.record import Record
from streaming.kafka.config import Config, consumer_config
from streaming.kafka.consumer import GroupConsumer
from streaming.kafka.records import HEADER_BYTES
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


def count_owned(member: GroupConsumer) -> int:
    """Return how many partitions of `purchases` a member reads."""
    return sum(topic == PURCHASES for topic, _ in owned_by(member))


def owned_after(members: Sequence[GroupConsumer], numbers: Sequence[int]) -> bool:
    """Let the members go on for a moment; return whether each has so many of `purchases`."""
    for member in members:
        member.fetch(1, 0)
    return [count_owned(member) for member in members] == list(numbers)


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


def send(deployment: Deployment, count: int, headers: list[tuple[str, str | bytes | None]]) -> None:
    """Send records 0 to `count` to `purchases`, over its four partitions."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in range(count):
        producer.produce(
            deployment.topic(PURCHASES),
            str(number).encode(),
            partition=number % 4,
            headers=headers,
        )
        producer.poll(0)
    assert producer.flush(60) == 0


def read_until(fetch: Callable[[], list[Record]], count: int) -> list[Record]:
    """Fetch until there are at least so many records."""
    read: list[Record] = []

    def read_more() -> bool:
        read.extend(fetch())
        return len(read) >= count

    wait_until(read_more, 30, "records are missing")
    return read


def numbers(records: Sequence[Record]) -> list[int]:
    """Return which records these are, in order."""
    return sorted(int(record.value or b"") for record in records)


@pytest.mark.parametrize("fitting", [1, 5])
def test_of_large_headers_no_more_is_unpacked_than_fits_into_memory(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    """The client counts values alone. What waits is not lost, and positions stand before it."""
    monkeypatch.setattr("streaming.kafka.consumer.READ_BYTES", fitting * 20 * HEADER_BYTES)
    deployment.create_topics()
    send(deployment, 200, [("h", b"")] * 20)
    member = join(deployment, "sharing-0")

    def fetch_some() -> list[Record]:
        records = member.fetch(5_000, 0.05)
        assert len(records) <= fitting
        return records

    first = read_until(fetch_some, 1)
    # As while a schema registry is away: each turn must not add to what waits.
    for _ in range(30):
        member.put_back(first)
        assert {at.offset for at in member.positions().values()} == {0}
        assert fetch_some() == first
    assert numbers(first + read_until(fetch_some, 200 - len(first))) == list(range(200))
    assert {at.offset for at in member.positions().values()} == {50}
    send(deployment, 4, [])
    assert numbers(read_until(lambda: member.fetch(5_000, 0.05), 4)) == list(range(4))
    member.close()


def test_a_paused_member_goes_back_to_where_it_is_rewound_to(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that could not be written comes again, whole and once, with what waited behind it."""
    monkeypatch.setattr("streaming.kafka.consumer.READ_BYTES", 5 * 20 * HEADER_BYTES)
    deployment.create_topics()
    send(deployment, 200, [("h", b"")] * 20)
    member = join(deployment, "sharing-0")
    read = read_until(lambda: member.fetch(5_000, 0.5), 1)
    member.put_back(read[1:])
    member.rewind([PartitionOffset(at.topic, at.partition, 0) for at in member.assignment()])
    assert numbers(read_until(lambda: member.fetch(5_000, 0), 200)) == list(range(200))
    member.close()


def test_a_partition_that_moves_while_its_member_is_paused_is_read_by_both(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client keeps a pause over a revocation: the partition would never be read again."""
    monkeypatch.setattr("streaming.kafka.consumer.READ_BYTES", 20 * HEADER_BYTES)
    deployment.create_topics()
    send(deployment, 200, [("h", b"")] * 20)
    first = join(deployment, "sharing-0")
    held = read_until(lambda: first.fetch(5_000, 0.5), 1)

    def stay_paused() -> list[Record]:
        """Let the first go on as while a schema registry is away."""
        first.put_back(held)
        held[:] = first.fetch(5_000, 0.05)
        return held

    for _ in range(10):
        stay_paused()
    second = join(deployment, "sharing-1")
    read: list[Record] = []

    def both_own_two() -> bool:
        stay_paused()
        read.extend(second.fetch(5_000, 0.05))
        return count_owned(first) == count_owned(second) == 2

    wait_until(both_own_two, 30, "they do not share")
    read += read_until(lambda: second.fetch(5_000, 0.05), 100 - len(read))
    assert len({(at.topic, at.partition) for at in read}) == 2
    second.close()
    after: set[int] = set()

    def reads_all_again() -> bool:
        after.update(at.partition for at in first.fetch(5_000, 0.05))
        return after == set(range(4))

    wait_until(reads_all_again, 30, "a partition stays paused")
    first.close()


def test_nothing_is_added_to_as_many_records_as_a_fetch_may_have(deployment: Deployment) -> None:
    """However often they are put back, while a registry is away."""
    deployment.create_topics()
    send(deployment, 200, [])
    member = join(deployment, "sharing-0")
    held: list[Record] = []

    def fetch_again() -> bool:
        held[:] = member.fetch(20, 0.05)
        member.put_back(held)
        return len(held) == 20

    wait_until(fetch_again, 30, "too few are read")
    for _ in range(30):
        assert fetch_again()
    member.close()
