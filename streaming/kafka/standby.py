"""Standby: the same slot on two hosts, of which one works and the other waits its turn.

Within a host a slot's lease is a file lock; between hosts Kafka's static ids fence. So a worker
asks first who holds its id. If it joined without asking, it would end the other, which would come
back and end this one, and so on.
"""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, MemberDescription  # type: ignore[attr-defined]

from streaming.errors import Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.runtime.limits import CALL_SECONDS, COORDINATOR_REQUEST_SECONDS
from streaming.runtime.worker import Runtime

STANDBY_SECONDS: Final = 2.0
"""Between two questions: the other host's slot is taken over so long after its session ended."""
PROBE_SECONDS: Final = 2.0
"""As long as the pause, so that a silent broker delays the takeover by little. A client that is
new connects meanwhile, for which a broker far away needs more than a second."""
ADDED: Final = "partitions were added; the group forgets who left before within its session timeout"


def await_turn(
    runtime: Runtime, config: Config, group: str, instance: str, topics: Sequence[str]
) -> bool:
    """Wait until the static id may be taken in the group; False if asked to stop meanwhile.

    A member of our own `client.id` is what a process of ours left, and is taken over at once. But
    that gives it back only the partitions that it had. If some of the `topics` were added since,
    the wait is for the group to forget it.
    """
    admin = AdminClient(config)
    own = str(config["client.id"])
    while runtime.heartbeat():
        try:
            partitions, members = _ask(admin, group, topics)
        except Unavailable as error:
            runtime.pause(str(error))
            # A client keeps asking its first coordinator, even one that is none any more.
            admin = AdminClient(config)
            continue
        holders = [member for member in members if member.group_instance_id == instance]
        other = next((str(m.client_id) for m in holders if m.client_id != own), None)
        if other is not None:
            runtime.stand_by(f"of {other}", STANDBY_SECONDS)
        elif holders and partitions - _assigned_partitions(members):
            runtime.pause(ADDED)
        else:
            return True
    return False


def _ask(
    admin: AdminClient, group: str, topics: Sequence[str]
) -> tuple[set[TopicPartition], Sequence[MemberDescription]]:
    """Ask for the topics' partitions (none while the group rebalances), and the group's members.

    Raises `Unavailable` if the brokers do not answer.
    """
    try:
        topics_now = admin.list_topics(timeout=PROBE_SECONDS).topics
        asked = admin.describe_consumer_groups([group], request_timeout=COORDINATOR_REQUEST_SECONDS)
        described = asked[group].result(CALL_SECONDS)
    except (KafkaException, TimeoutError) as error:
        if _is_forbidden(error):
            raise Unavailable(
                f"This user lacks the permission READ on the group {group}; grant it."
            ) from None
        raise Unavailable(f"the broker does not answer: {str(error) or 'timed out'}") from None
    stable = described.state == ConsumerGroupState.STABLE
    partitions = {
        (topic, number)
        for topic in topics
        if stable and topic in topics_now
        for number in topics_now[topic].partitions
    }
    return partitions, described.members


def _is_forbidden(error: Exception) -> bool:
    return (
        isinstance(error, KafkaException)
        and error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    )


def _assigned_partitions(members: Sequence[MemberDescription]) -> set[TopicPartition]:
    return {
        (partition.topic, partition.partition)
        for member in members
        for partition in member.assignment.topic_partitions
    }
