"""The door for purchases over HTTP: sends them, and answers when Kafka has acknowledged all.

What is sent is made ready in `intake`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec
from confluent_kafka import KafkaError
from confluent_kafka import Message as KafkaMessage
from msgspec import Struct
from starlette.responses import Response

from streaming.api.endpoint import JSON, PROBLEM, Endpoint, ProblemDetails
from streaming.dashboard.ingest_records import LINES, Batch, Outgoing, read_batch
from streaming.errors import NotFound, Unavailable
from streaming.events.purchase import PurchaseFields, Rules, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.producer.sender import RecordSender
from streaming.settings import PREFIX, Settings
from streaming.system.shutdown import StopRequest

BODY_BYTES: Final = 16 * 1024 * 1024
CONFIRM_SECONDS: Final = 10.0
SLICE_SECONDS: Final = 0.05
AT_ONCE: Final = 16
ANY_TOPIC: Final = bytes(16)


class Taken(Struct, frozen=True):
    """One record's place in Kafka, null where that is not confirmed.

    `refused` is the code by which the processor refuses it, null where it does not.
    """

    event_id: str | None
    partition: int | None
    offset: int | None
    refused: str | None


class TakenBatch(Struct, frozen=True):
    """What became of each record, in their order; Kafka has acknowledged all."""

    records: list[Taken]


class Unconfirmed(ProblemDetails, frozen=True):
    """Kafka has not acknowledged all: the same is to be sent again, and is stored once."""

    records: Sequence[Taken] = ()


@dataclass
class _Delivery:
    """A record on its way; `message` is what Kafka acknowledged."""

    outgoing: Outgoing
    done: bool = False
    message: KafkaMessage | None = None

    def report(self, error: KafkaError | None, message: KafkaMessage) -> None:
        """Keep what became of it."""
        self.message = None if error else message
        self.done = True


class Door:
    """Keeps one sender: made when it is first needed, and replaced when it can send no more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = Names.of(settings).purchases
        self._rules = Rules(settings.currency, settings.history_start_time)
        self._making = Lock()
        self._sender: RecordSender | None = None

    def endpoint(self) -> Endpoint:
        """Give the endpoint through which purchases come in."""
        return Endpoint(
            "POST",
            "purchases",
            "Send one purchase, or up to 1,000 as an array or as lines of JSON",
            lambda _settings, batch: self.take(batch),
            TakenBatch,
            parameters=PurchaseFields | list[PurchaseFields],
            parse=read_batch,
            body_types=(JSON, *LINES),
            max_concurrent=AT_ONCE,
            max_body_bytes=BODY_BYTES,
        )

    def take(self, batch: Batch) -> TakenBatch | Response:
        """Send a batch; give the places of its records, or 503 where one is not confirmed in 10 s.

        Raises `NotFound` where HTTP in is off, `Unavailable` where there is no broker.
        """
        if not self._settings.http_in:
            raise NotFound(f"HTTP in is off; set {PREFIX}HTTP_IN=on where the page is started.")
        deliveries = [_Delivery(record) for record in batch.records]
        self._send(deliveries, batch)
        taken = [self._taken(delivery) for delivery in deliveries]
        missing = sum(delivery.message is None for delivery in deliveries)
        if not missing:
            return TakenBatch(taken)
        problem = Unconfirmed(
            "Service Unavailable",
            503,
            f"Kafka did not confirm {missing:,} of {len(taken):,} records in"
            f" {CONFIRM_SECONDS:.0f} s; send the same again, it is stored once.",
            records=taken,
        )
        return Response(msgspec.json.encode(problem), 503, {"retry-after": "1"}, PROBLEM)

    def close(self) -> None:
        """Send what is still on its way, for two seconds at most."""
        if self._sender is not None:
            self._sender.flush(2)

    def _send(self, deliveries: Sequence[_Delivery], batch: Batch) -> None:
        """Send and wait. Raises `Unavailable` if not every record could be given to the client."""
        sender = self._ready()
        for delivery in deliveries:
            record = delivery.outgoing
            if not sender.offer(record.key, record.value, batch.headers, delivery.report):
                self._refuse_failed(sender)
                raise Unavailable("More is on its way than Kafka takes; send the same again.")
        deadline = time.monotonic() + CONFIRM_SECONDS
        while time.monotonic() < deadline and not all(d.done for d in deliveries):
            sender.tick(SLICE_SECONDS)
            self._refuse_failed(sender)

    def _refuse_failed(self, sender: RecordSender) -> None:
        """Raise `Unavailable` if the sender can send no more; the next request makes another."""
        if sender.failure:
            self._sender = None
            raise Unavailable(f"{sender.failure}.")

    def _ready(self) -> RecordSender:
        with self._making:
            if self._sender is None:
                config = producer_config(
                    self._settings, bootstrap_servers(self._settings), "http-in"
                )
                milliseconds = int(CONFIRM_SECONDS * 1000)
                self._sender = RecordSender(
                    {
                        **config,
                        "delivery.timeout.ms": milliseconds,
                        "delivery.report.only.error": False,
                    },
                    self._topic,
                    StopRequest(),
                )
            return self._sender

    def _taken(self, delivery: _Delivery) -> Taken:
        """Say where a record is, and what the processor will say of it, by its own function."""
        sent, message = delivery.outgoing, delivery.message
        if message is None:
            return Taken(sent.event_id, None, None, None)
        partition, offset = message.partition() or 0, message.offset() or 0
        record = Record(
            self._topic, ANY_TOPIC, partition, offset, message.timestamp()[1], sent.key, sent.value
        )
        verdict = read_purchase(record, self._rules)[1]
        refused = str(verdict.reason) if isinstance(verdict, Refusal) else None
        return Taken(sent.event_id, partition, offset, refused)
