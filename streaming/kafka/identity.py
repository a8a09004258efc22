"""The identity of cluster and topics, learnt at the start and checked every ten seconds.

A topic that was deleted and created again keeps its name, and its new log may hold the old offset:
only the id tells.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streaming.errors import Mismatch, Unavailable, Unrecoverable
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.topics import topic_id_of
from streaming.runtime.limits import CALL_SECONDS

CHECK_SECONDS: Final = 10.0
"""Two small requests each: often enough to name a recreated topic before an operator wonders."""
KAFKA_DEFAULT_BYTES: Final = 1_000_000
"""Below Kafka's 1,048,588, so that a record with its headers fits too."""
REMEDIES: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "is missing; `purchases topics create` makes it",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "may not be seen: this user lacks READ or WRITE on it; grant it"
    ),
}


Bounds = Callable[[], Mapping[TopicPartition, tuple[int, int]]]
"""Returns position and end of each partition that an app owns."""


@dataclass(frozen=True)
class Identity:
    """A cluster's id, and for each topic by name its 16-byte id."""

    cluster_id: str
    topic_ids: Mapping[str, bytes]


class IdentityWatch:
    """A check of cluster and topics that does not block the loop which calls it."""

    def __init__(self, config: Config, topics: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Watch the `topics`, of which the `optional` ones may be missing."""
        # Kept, because a client that is collected fails its own futures (docs/decisions/0032).
        self._admin = AdminClient(config)
        self._optional = frozenset(optional)
        self._topics = TopicCollection(list(topics))
        self._pending: dict[str, Future[Any]] = {}
        self._asked = 0.0
        self.expected: Identity | None = None

    def learn(self) -> Identity:
        """Ask, wait, and return the answer; blocks for 5 s at most.

        Raises `Unavailable` if the cluster does not answer or lacks a topic.
        """
        self._ask()
        try:
            self.expected = self._answer(CALL_SECONDS)
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"the broker does not answer: {error}") from None
        return self.expected

    def check(self, app: str, bounds: Bounds) -> None:
        """Ask every ten seconds, and compare the answer when it has come. Never blocks.

        Raises `Mismatch` if a topic or the cluster is not the one that was learnt, with the
        positions of `app` there; `Unavailable` if a topic is gone, or may not be seen any more;
        `Unrecoverable` if an optional one is there now, which only a new worker reads.
        """
        if self._pending:
            if all(future.done() for future in self._pending.values()):
                self._compare(app, bounds)
        elif time.monotonic() - self._asked >= CHECK_SECONDS:
            self._ask()

    def message_limit(self, topic: str, desired: int) -> int:
        """Return how large a record `topic` takes: `desired` bytes, or fewer if it says so.

        If that may not be read, it is Kafka's default of about 1 MB, to be on the safe side.
        """
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        future = self._admin.describe_configs([resource], request_timeout=CALL_SECONDS)[resource]
        try:
            return min(desired, int(future.result(CALL_SECONDS)["max.message.bytes"].value))
        except (KafkaException, TimeoutError, KeyError):
            return KAFKA_DEFAULT_BYTES

    def _ask(self) -> None:
        self._asked = time.monotonic()
        self._pending = {
            **self._admin.describe_topics(self._topics, request_timeout=CALL_SECONDS),
            # No topic has an empty name.
            "": self._admin.describe_cluster(request_timeout=CALL_SECONDS),
        }

    def _answer(self, timeout: float) -> Identity:
        # Emptied first, so that the next check asks again after an error.
        pending, self._pending = self._pending, {}
        cluster = pending.pop("").result(timeout)
        topic_ids = {}
        for name, future in pending.items():
            try:
                topic_ids[name] = topic_id_of(_read_description(name, future, timeout))
            except Unavailable:
                if name not in self._optional:
                    raise
        return Identity(str(cluster.cluster_id), topic_ids)

    def _compare(self, app: str, bounds: Bounds) -> None:
        try:
            now = self._answer(0)
        except (KafkaException, TimeoutError):
            # No answer is no difference: the next check asks again.
            return
        if self.expected is None or now == self.expected:
            return
        before = self.expected.topic_ids.keys()
        for name in before - now.topic_ids.keys():
            raise Unavailable(f"the topic {name} {REMEDIES[KafkaError.UNKNOWN_TOPIC_OR_PART]}")
        for name in now.topic_ids.keys() - before:
            raise Unrecoverable(f"the topic {name} exists now, and a new worker reads it")
        read = {partition: at for partition, (at, _) in bounds().items()}
        raise Mismatch(difference(self.expected, now, app, read))


def _read_description(name: str, future: "Future[Any]", timeout: float) -> Any:  # noqa: ANN401 - untyped
    """Return a topic's description. Raises `Unavailable` if it is missing or may not be seen."""
    try:
        return future.result(timeout)
    except KafkaException as error:
        remedy = REMEDIES.get(error.args[0].code())
        if remedy is None:
            raise
        raise Unavailable(f"the topic {name} {remedy}") from None


def difference(
    expected: Identity, now: Identity, app: str, read: Mapping[TopicPartition, int]
) -> str:
    """Return what is another than it was, how far `app` had read there, and how to go on."""
    if expected.cluster_id != now.cluster_id:
        return (
            f"This is cluster {now.cluster_id}, but the stored positions are of cluster"
            f" {expected.cluster_id}; connect to that one, or see `purchases offsets list`, and go"
            f" on with `purchases offsets reset {app} --to earliest`."
        )
    name = next(n for n, topic_id in expected.topic_ids.items() if now.topic_ids.get(n) != topic_id)
    here = sorted((number, at) for (topic, number), at in read.items() if topic == name)
    read_to = ", ".join(f"{name}-{number} at {at}" for number, at in here)
    again = (
        f"The topic {name} was deleted and created again; what the old one still held and was not"
        " read is lost."
    )
    if not here:
        return f"{again} See `purchases offsets list`."
    return (
        f"{again} {app} was at {read_to}. See `purchases offsets list`, and go on with"
        f" `purchases offsets reset {app} --to earliest`."
    )
