"""A hostile producer: all that the suite knows to send, again and again, as fast as Kafka takes it.

It may read `purchases` and write to it; one of its threads is a local user's, who may write to
`analytics` too. Its payloads are those of the tables of rules and of the tests of single attacks.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from streaming.events.record import INT32_MAX, ORIGIN, Header, Origin, origin_headers
from streaming.kafka.topics import topic_id_of
from tests.analytics.test_not_storable import attacks
from tests.deployment import Deployment
from tests.events.test_tables import ROWS
from tests.kafka.test_topic_options import CODECS, UNPACKED_BYTES
from tests.load import USER
from tests.support import BUSY_FACTOR

LARGEST = 10**9
BEYOND_64_BITS = 9_300
BRACKETS = ("[],", '"[",', "[[]],", "1,")
VALUE_BYTES = 256 * 1024
ANY_PARTITION = -1
TIME = "2011-03-27T10:15:00Z"

Payload = tuple[bytes | None, bytes | None, Sequence[Header]]
"""Value, key and headers of a record."""


class HostileProducer:
    """Attacks from many threads while its context lasts: one for each codec, and two more.

    `sent` counts the records that Kafka acknowledged, `bombs` the batches that it refused, and
    `squatted` the honest ids that were sent again with another content.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.sent = 0
        self.bombs = 0
        self.squatted: set[str] = set()
        self._deployment = deployment
        self._topic = deployment.topic("purchases")
        self._stop = threading.Event()
        self._counting = threading.Lock()
        works: list[Callable[[], None]] = [self._write_analytics, self._squat]
        works += [partial(self._flood, codec) for codec in CODECS]
        self._threads = [threading.Thread(target=work, name="hostile") for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120 * BUSY_FACTOR)
            assert not thread.is_alive(), "the attack did not end"

    def _flood(self, codec: str) -> None:
        """Send every payload in batches of a codec, and a batch that unpacks to 20 MB, in turns."""
        producer, bomber = self._producer(codec), self._producer(codec)
        for _ in range(BEYOND_64_BITS // len(CODECS)):
            self._send(producer, self._topic, largest_sale())
        while not self._stop.is_set():
            for payload in payloads():
                self._send(producer, self._topic, payload)
            bomber.produce(self._topic, b" " * UNPACKED_BYTES, on_delivery=self._acknowledge)
            assert bomber.flush(60 * BUSY_FACTOR) == producer.flush(60 * BUSY_FACTOR) == 0

    def _write_analytics(self) -> None:
        """Write what cannot be stored to `analytics`, made of the first honest event there."""
        producer, reader = self._producer("lz4"), self._reader("analytics")
        records: list[tuple[bytes | None, list[Header]]] = []
        while not self._stop.is_set():
            message = None if records else reader.poll(0.1)
            if message is not None and is_honest(message):
                records = attacks(json.loads(message.value() or b""))
            for value, headers in records:
                self._send(producer, self._deployment.topic("analytics"), (value, None, headers))
            assert producer.flush(60 * BUSY_FACTOR) == 0
        reader.close()

    def _squat(self) -> None:
        """Send each honest purchase's id again with other contents, to the first partition.

        Of what stands there in the same millisecond the lowest partition would win. Beside it, say
        by headers to be the redrive of each.
        """
        producer, reader = self._producer("none"), self._reader("purchases")
        topic_id = self._topic_id()
        while not self._stop.is_set():
            for message in reader.consume(1_000, 0.1):
                if is_honest(message):
                    purchase = json.loads(message.value() or b"")
                    stolen = {**purchase, "user": "mallory", "item": "stolen", "quantity": 9}
                    value = json.dumps(stolen).encode()
                    self._send(producer, self._topic, (value, None, ()), partition=0)
                    forged = forged_origin(message, topic_id)
                    for content in (value, b"{", json.dumps({**stolen, "event_id": None}).encode()):
                        self._send(producer, self._topic, (content, None, forged))
                    self.squatted.add(purchase["event_id"])
            assert producer.flush(60 * BUSY_FACTOR) == 0
        reader.close()

    def _send(
        self, producer: Producer, topic: str, payload: Payload, partition: int = ANY_PARTITION
    ) -> None:
        """Send one record, of 1970 by its own time, as soon as there is room for it."""
        value, key, headers = payload
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    self._acknowledge,
                    timestamp=1,
                    headers=list(headers),
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)

    def _acknowledge(self, error: KafkaError | None, _message: Message) -> None:
        with self._counting:
            if error is None:
                self.sent += 1
            else:
                assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE, error
                self.bombs += 1

    def _producer(self, codec: str) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._deployment.bootstrap_servers,
                "compression.type": codec,
                "message.max.bytes": 2 * UNPACKED_BYTES,
            }
        )

    def _reader(self, topic: str) -> Consumer:
        reader = Consumer(
            {
                "bootstrap.servers": self._deployment.bootstrap_servers,
                "group.id": str(uuid.uuid4()),
            }
        )
        name = self._deployment.topic(topic)
        partitions = reader.list_topics(name, timeout=60).topics[name].partitions
        reader.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions])
        return reader

    def _topic_id(self) -> bytes:
        admin = AdminClient({"bootstrap.servers": self._deployment.bootstrap_servers})
        described = admin.describe_topics(TopicCollection([self._topic]))
        return topic_id_of(described[self._topic].result(60))


def payloads() -> Iterator[Payload]:
    """Yield every payload of the tables of rules, records full of brackets, and many headers."""
    for row in ROWS:
        yield row.value, row.key, row.headers
    for unit in BRACKETS:
        yield full_of(unit, str(uuid.uuid4())), b"eve", ()
    for count in (1_000, 1_001, 100_000):
        yield purchase(item=f"tea-{count}"), b"eve", [("a", b"")] * count
    yield largest_sale()


def is_honest(message: Message) -> bool:
    """Return whether a record is, or was made of, a purchase of the load."""
    return message.error() is None and (message.key() or b"").startswith(USER.encode())


def largest_sale() -> Payload:
    """Return the largest sale that a deployment may allow; 9,224 of them are over 2⁶³ micros."""
    return purchase(item="gold", unit_price=LARGEST), None, ()


def full_of(unit: str, event_id: str) -> bytes:
    """Return a valid purchase of 256 KiB with an unknown field full of a unit of JSON."""
    start = f'{purchase(event_id=event_id).decode()[:-1]}, "x": ['
    return f"{start}{unit * ((VALUE_BYTES - len(start) - 10) // len(unit))}0]}}".encode()


def forged_origin(message: Message, topic_id: bytes) -> list[Header]:
    """Return headers by which a record says that it is the last redrive of this one."""
    origin = Origin(
        message.topic() or "",
        topic_id,
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        INT32_MAX,
    )
    return origin_headers(origin, ORIGIN)


def purchase(**fields: object) -> bytes:
    """Return a valid purchase, but for what is given."""
    return json.dumps({"user": "eve", "item": "tea", "timestamp": TIME, **fields}).encode()
