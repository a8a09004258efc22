"""Standing by: the same slot on two hosts, of which one works and the other waits its turn.

Within a host a slot's lease is a file lock; between hosts Kafka's static ids fence. So a worker
asks first who holds its id: to join all the same would end the other, who would end us, for ever.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient, MemberDescription  # type: ignore[attr-defined]

from streaming.errors import Unavailable
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.runtime.limits import CALL_SECONDS

LOOK_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 1.0
ADDED: Final = "partitions were added; the group forgets who left before within its session timeout"


class Waiting(Protocol):
    """What of a worker's life is needed here."""

    def heartbeat(self) -> bool:
        """Say whether to go on."""

    def pause(self, by: str, seconds: float = 1.0) -> None:
        """Wait, paused by something."""

    def stand_by(self, of: str, seconds: float) -> None:
        """Wait, as another works this slot."""


def await_turn(
    runtime: Waiting, config: Config, group: str, instance: str, topics: Sequence[str]
) -> bool:
    """Wait until the static id may be taken in the group; False where asked to stop meanwhile.

    A member of our own `client.id` is what a process of ours left, and is taken over at once. But
    that gives it back the partitions that it had: where some of the `topics` were added since, the
    group is waited for to forget it.
    """
    admin = AdminClient(config)
    own = str(config["client.id"])
    while runtime.heartbeat():
        try:
            partitions, members = _ask(admin, group, topics)
        except Unavailable as error:
            runtime.pause(str(error))
            # A client asks its first coordinator for ever, also when that is one no more.
            admin = AdminClient(config)
            continue
        holding = [member for member in members if member.group_instance_id == instance]
        other = next((str(m.client_id) for m in holding if m.client_id != own), None)
        if other is not None:
            runtime.stand_by(f"of {other}", LOOK_SECONDS)
        elif holding and partitions - _assigned(members):
            runtime.pause(ADDED)
        else:
            return True
    return False


def _ask(
    admin: AdminClient, group: str, topics: Sequence[str]
) -> tuple[set[TopicPartition], Sequence[MemberDescription]]:
    """Ask for the topics' partitions (none while the group rebalances), and the group's members.

    Raises `Unavailable` where the brokers do not answer.
    """
    try:
        # Asked of a broker that is away and comes back, librdkafka's next question ends the process
        # (an assertion in rd_kafka_enq_once_del_source_return), so see first whether one is there.
        known = admin.list_topics(timeout=PROBE_SECONDS).topics
        asked = admin.describe_consumer_groups([group], request_timeout=CALL_SECONDS)
        found = asked[group].result(CALL_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise Unavailable(f"the broker does not answer: {error}") from None
    stable = found.state == ConsumerGroupState.STABLE
    places = {
        (topic, partition)
        for topic in topics
        if stable and topic in known
        for partition in known[topic].partitions
    }
    return places, found.members


def _assigned(members: Sequence[MemberDescription]) -> set[TopicPartition]:
    return {
        (place.topic, place.partition)
        for member in members
        for place in member.assignment.topic_partitions
    }
