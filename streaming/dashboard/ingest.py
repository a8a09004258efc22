"""Purchases over HTTP: they are sent to Kafka, and answered once Kafka has acknowledged all.

The records of a request are prepared in `ingest_records`. Whether a purchase is valid is decided by
the processor, whose own function tells the sender beforehand.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec
from confluent_kafka import KafkaError
from confluent_kafka import Message as KafkaMessage
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from streaming.api.endpoint import JSON, PROBLEM, Endpoint, ProblemDetails
from streaming.api.endpoint import MAX_BODY_BYTES as SMALL_BODY_BYTES
from streaming.dashboard.ingest_records import LINES, IngestBatch, IngestRecord, read_batch
from streaming.errors import Mismatch, NotFound, Unavailable
from streaming.events.framing import read_framing
from streaming.events.identifiers import derived_id
from streaming.events.purchase import PurchaseFields, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.kafka.purchase_rules import purchase_rules
from streaming.kafka.recorded_settings import require_recorded_settings
from streaming.kafka.records import read_record
from streaming.kafka.registry.client import ANSWER_SECONDS
from streaming.kafka.registry.schemas import schema_cache
from streaming.kafka.rejection import rejection_reason
from streaming.producer.record import RawPurchase, encode_purchase
from streaming.producer.sender import UNKNOWN, RecordSender
from streaming.settings import PREFIX, Settings
from streaming.system.shutdown import StopRequest

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""A thousand records of 16 KiB, which is far more than a purchase has."""
CONFIRM_SECONDS: Final = 10.0
"""Shorter than the 30 s after which most HTTP clients and proxies give up."""
POLL_SECONDS: Final = 0.05
"""Long for a poll, which returns with the first report: it ends a wait without any."""
FLUSH_SECONDS: Final = 2.0
"""At the end of the page. A client whose request is not confirmed sends it again."""
TEST_ITEM: Final = "test-purchase"
TEST_DESCRIPTION: Final = "sent from the dashboard to see the stream work"
NO_TOPIC_ID: Final = bytes(16)
"""The topic's id says nothing about whether a purchase is valid."""


class RecordReceipt(Struct, frozen=True):
    """Where a record is in Kafka; null if Kafka has not acknowledged it.

    `refused` is the reason for which the processor will refuse it; null if it will not, or if its
    schema cannot be looked up now.
    """

    event_id: str | None
    partition: int | None
    offset: int | None
    refused: str | None


class BatchReceipt(Struct, frozen=True):
    """The receipt of each record, in their order; Kafka has acknowledged all."""

    records: list[RecordReceipt]


class UnconfirmedBatch(ProblemDetails, frozen=True):
    """Kafka has not acknowledged all. The same request, sent again, is stored once."""

    records: Sequence[RecordReceipt] = ()


@dataclass
class _Delivery:
    """A record that was sent; `message` is what Kafka acknowledged, `error` why it did not."""

    record: IngestRecord
    done: bool = False
    message: KafkaMessage | None = None
    error: KafkaError | None = None

    def report(self, error: KafkaError | None, message: KafkaMessage) -> None:
        """Store the outcome; called by the producer's `poll`."""
        self.message, self.error = None if error else message, error
        # Last: the request's thread reads `message` as soon as this is set.
        self.done = True


class PurchaseIngest:
    """Sends batches with one sender, made at the first use and again after a fatal error."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = Names.of(settings).purchases
        self._schemas = schema_cache(settings)
        self._rules = purchase_rules(settings, self._schemas)
        self._sender_lock = Lock()
        self._sender: RecordSender | None = None

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoint that takes purchases, and the one that sends a test purchase."""
        test = Endpoint(
            "POST",
            "purchases/test",
            "Send one test purchase, of one item without a price",
            lambda _settings, _: self.send_test(),
            BatchReceipt,
            max_concurrent=1,
        )
        return [self._purchases(), test]

    def _purchases(self) -> Endpoint:
        return Endpoint(
            "POST",
            "purchases",
            "Send one purchase, or up to 1,000 as an array or as lines of JSON",
            lambda _settings, batch: self.send(batch),
            BatchReceipt,
            parameters=PurchaseFields | list[PurchaseFields],
            parse=self._read_batch,
            body_types=(JSON, *LINES),
            # What is switched off takes no memory either.
            max_body_bytes=MAX_BODY_BYTES if self._settings.http_in else SMALL_BODY_BYTES,
        )

    def _read_batch(self, request: Request, body: bytes) -> IngestBatch:
        """Return the records of a request. Raises what `read_batch` does, `NotFound` if it is off.

        What is off is off, whatever is wrong with the records.
        """
        if not self._settings.http_in:
            raise NotFound(
                f"HTTP in is off; set {PREFIX}HTTP_IN=on for the dashboard and start it again."
            )
        return read_batch(request, body)

    def send_test(self) -> BatchReceipt | Response:
        """Send a purchase that is seen in every figure, and changes no sum of money.

        Returns and raises what `send` does, also if HTTP in is off: it takes nothing from outside.
        """
        now = time.time_ns() // 1_000_000
        event_id = derived_id(now, os.urandom(16))
        purchase = RawPurchase(None, TEST_ITEM, now, event_id, 1, description=TEST_DESCRIPTION)
        record = IngestRecord(event_id, None, encode_purchase(purchase))
        return self.send(IngestBatch([record], []))

    def send(self, batch: IngestBatch) -> BatchReceipt | Response:
        """Send a batch; return its receipt, or 503 if Kafka does not acknowledge all in 10 s.

        Raises `Unavailable` if there is no broker.
        """
        deliveries = [_Delivery(record) for record in batch.records]
        self._deliver(deliveries, batch)
        receipts = self._receipts(deliveries)
        missing = sum(delivery.message is None for delivery in deliveries)
        if not missing:
            return BatchReceipt(receipts)
        problem = UnconfirmedBatch(
            "Service Unavailable",
            503,
            f"Kafka did not confirm {missing:,} of {len(receipts):,} records"
            f"{self._why(deliveries)}; send the same request again, it is stored once.",
            records=receipts,
        )
        return Response(msgspec.json.encode(problem), 503, {"retry-after": "1"}, PROBLEM)

    def close(self) -> None:
        """Wait for unacknowledged records, two seconds at most."""
        if self._sender is not None:
            self._sender.flush(FLUSH_SECONDS)

    def _deliver(self, deliveries: Sequence[_Delivery], batch: IngestBatch) -> None:
        """Send and wait. Raises `Unavailable` if not every record could be given to the client."""
        sender = self._current_sender()
        for delivery in deliveries:
            record = delivery.record
            if not sender.offer(record.key, record.value, batch.headers, delivery.report):
                self._require_no_failure(sender)
                # Those before it are sent. They are stored once, however often they come.
                raise Unavailable(
                    "The queue to Kafka is full because Kafka is slow; send the same request again."
                )
        # The poll of another request may take these reports too, so this one waits for their marks.
        deadline = time.monotonic() + CONFIRM_SECONDS
        while time.monotonic() < deadline and not all(d.done for d in deliveries):
            sender.tick(POLL_SECONDS)
            self._require_no_failure(sender)

    def _require_no_failure(self, sender: RecordSender) -> None:
        """Raise `Unavailable` if the sender can send no more; the next request makes another."""
        if sender.failure:
            self._sender = None
            raise Unavailable(f"{sender.failure}; send the same request again.")

    def _why(self, deliveries: Sequence[_Delivery]) -> str:
        """Return why the first unconfirmed record has no acknowledgement, as part of a sentence."""
        error = next((delivery.error for delivery in deliveries if delivery.error), None)
        if error is None or error.code() in UNKNOWN:
            return f" in {CONFIRM_SECONDS:.0f} s"
        return f": {rejection_reason(error, self._topic)}"

    def _current_sender(self) -> RecordSender:
        with self._sender_lock:
            if self._sender is None:
                _require_settings(self._settings)
                config = producer_config(
                    self._settings, bootstrap_servers(self._settings), "http-in"
                )
                # A record that was not acknowledged in time must not be sent after the answer.
                milliseconds = int(CONFIRM_SECONDS * 1000)
                self._sender = RecordSender(
                    {
                        **config,
                        "delivery.timeout.ms": milliseconds,
                        # A receipt has the offset of each record, which only a report of success
                        # says.
                        "delivery.report.only.error": False,
                    },
                    self._topic,
                    StopRequest(),
                )
            return self._sender

    def _receipts(self, deliveries: Sequence[_Delivery]) -> list[RecordReceipt]:
        """Return where each record is, and for which reason the processor will refuse it."""
        records = [
            None if one.message is None else read_record(one.message, NO_TOPIC_ID)
            for one in deliveries
        ]
        self._learn([record for record in records if record is not None])
        return [
            RecordReceipt(one.record.event_id, None, None, None)
            if record is None
            else RecordReceipt(
                one.record.event_id, record.partition, record.offset, self._verdict(record)
            )
            for one, record in zip(deliveries, records, strict=True)
        ]

    def _learn(self, records: Sequence[Record]) -> None:
        """Look up the schemas of records, for a few seconds at most."""
        if self._schemas is not None:
            until = time.monotonic() + ANSWER_SECONDS
            # The records are in Kafka; the processor waits for the registry.
            with suppress(Unavailable):
                self._schemas.learn(records, lambda: time.monotonic() < until)

    def _verdict(self, record: Record) -> str | None:
        """Return for which reason the processor will refuse a record; None if it will not.

        None too if its schema was not looked up.
        """
        framing = None if self._schemas is None else read_framing(record)
        named = None if framing is None else framing.schema
        if self._schemas is not None and named is not None and named not in self._schemas.readers:
            return None
        outcome = read_purchase(record, self._rules)[1]
        return str(outcome.reason) if isinstance(outcome, Refusal) else None


def _require_settings(settings: Settings) -> None:
    """Raise `Unavailable`, because only the operator can mend it, not who sends purchases."""
    try:
        require_recorded_settings(settings)
    except Mismatch as error:
        raise Unavailable(str(error)) from None
