"""Standing by: the same slot on two hosts, of which one works and the other waits its turn.

Within a host a slot's lease is a file lock; between hosts Kafka's static ids fence. So a worker
asks first who holds its id: to join all the same would end the other, who would end us, for ever.
"""

from typing import Final, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.kafka.config import Config

LOOK_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 1.0
CALL_SECONDS: Final = 5.0


class Waiting(Protocol):
    """What of a worker's life is needed here."""

    def turn(self) -> bool:
        """Say whether to go on."""

    def pause(self, by: str, seconds: float = 1.0) -> None:
        """Wait, paused by something."""

    def stand_by(self, of: str, seconds: float) -> None:
        """Wait, as another works this slot."""


def await_turn(runtime: Waiting, config: Config, group: str, instance: str) -> bool:
    """Wait until no other client holds the static id; False where asked to stop meanwhile.

    A member of our own `client.id` is what a process of ours left, and is taken over at once.
    """
    admin = AdminClient(config)
    own = str(config["client.id"])
    while runtime.turn():
        try:
            other = other_client(admin, group, instance, own)
        except Unavailable as error:
            runtime.pause(str(error))
            # A client asks its first coordinator for ever, also when that is one no more.
            admin = AdminClient(config)
            continue
        if other is None:
            return True
        runtime.stand_by(f"of {other}", LOOK_SECONDS)
    return False


def other_client(admin: AdminClient, group: str, instance: str, own: str) -> str | None:
    """Give the client that holds the static id in the group; None where it is ours or nobody's.

    Raises `Unavailable` where the brokers do not answer.
    """
    try:
        # Asked of a broker that is away and comes back, librdkafka's next question ends the process
        # (an assertion in rd_kafka_enq_once_del_source_return), so see first whether one is there.
        admin.list_topics(timeout=PROBE_SECONDS)
        asked = admin.describe_consumer_groups([group], request_timeout=CALL_SECONDS)
        members = asked[group].result(CALL_SECONDS).members
    except (KafkaException, TimeoutError) as error:
        raise Unavailable(f"the broker does not answer: {error}") from None
    held = (str(m.client_id) for m in members if m.group_instance_id == instance)
    return next((client for client in held if client != own), None)
