"""A load of purchases, sent from a thread, and what of it Kafka acknowledged."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from confluent_kafka import KafkaError, Message, Producer

from tests.deployment import Deployment
from tests.support import BUSY_FACTOR

USER = "user-"
"""What the names of a load's users begin with."""
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


def bought_now(_number: int) -> float:
    """Return the present time: a purchase is sent when it is made."""
    return time.time()


@dataclass
class Sent:
    """What was handed to Kafka, and what of it was acknowledged.

    `good` are users by event id. Of what is `unknown` Kafka has not said whether it is in the log:
    by event id, or by value.
    """

    good: dict[str, str] = field(default_factory=dict)
    bad: set[bytes] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unknown_bad: set[bytes] = field(default_factory=set)


class Load:
    """Sends purchases at a rate from a thread; every acknowledged one is remembered."""

    def __init__(  # noqa: PLR0913 - what is sent, and as whom
        self,
        deployment: Deployment,
        rate: float,
        bad_share: float = 0.01,
        users: int = 50,
        *,
        options: Mapping[str, str] = NO_OPTIONS,
        bought_at: Callable[[int], float] = bought_now,
    ) -> None:
        """`options` are the client's; `bought_at` is the time (epoch s) of the n-th purchase."""
        self.sent = Sent()
        self.count = 0
        self._deployment = deployment
        self._rate, self._bad_share, self._users = rate, bad_share, users
        self.bought_at = bought_at
        self._options = options
        self._random = random.Random(7)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="load")
        self._sequence: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120 * BUSY_FACTOR)
        assert not self._thread.is_alive(), "the load did not end"

    def _send(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._deployment.bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                **self._options,
            }
        )
        start = time.monotonic()
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - start) * self._rate)
            for _ in range(due - self.count):
                self._send_one(producer)
            producer.poll(0)
        producer.flush(60 * BUSY_FACTOR)

    def _send_one(self, producer: Producer) -> None:
        self.count += 1
        user = f"{USER}{self._random.randrange(self._users)}"
        self._sequence[user] += 1
        bad = self._random.random() < self._bad_share
        event_id = str(uuid.uuid4())
        value = json.dumps(
            {
                "event_id": event_id,
                "user": user,
                "item": f"item-{self._random.randrange(20)}",
                "timestamp": int(self.bought_at(self.count) * 1000),
                "quantity": 0 if bad else self._random.randrange(1, 5),
                "unit_price": "1.25",
                "order_id": f"{self._sequence[user]:09d}",
            }
        ).encode()

        def acknowledge(error: KafkaError | None, _message: Message) -> None:
            if error is not None and bad:
                self.sent.unknown_bad.add(value)
            elif error is not None:
                self.sent.unknown.add(event_id)
            elif bad:
                self.sent.bad.add(value)
            else:
                self.sent.good[event_id] = user

        producer.produce(
            self._deployment.topic("purchases"), value, user.encode(), on_delivery=acknowledge
        )
