"""Sending records to one topic, and which of them Kafka acknowledged.

Generator, replay, redrive and HTTP ingest all send with it. What is sent, and how fast, is theirs.
"""

import re
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from streaming.events.record import Headers
from streaming.events.refusal import excerpt
from streaming.kafka.client_errors import ErrorWatch
from streaming.kafka.config import Config
from streaming.kafka.rejection import rejection_reason
from streaming.system.shutdown import StopRequest

# Together less than the 10 s after which `docker stop` kills.
STOP_SECONDS: Final = 6.0
# For the reports on what was purged, which are there at once.
PURGE_SECONDS: Final = 1.0
# How soon a signal ends a wait; librdkafka's calls do not return for one.
SLICE_SECONDS: Final = 0.2
# A line at a terminal that is written over: more often it would flicker.
REPORT_SECONDS: Final = 0.2
# Records between two polls for delivery errors; a poll for each would slow the sending down.
TICK_EVERY: Final = 1_000
# So short that the queue, which holds `QUEUED_RECORDS`, does not run empty meanwhile.
FULL_QUEUE_SECONDS: Final = 0.02
# Enough to fill batches; more would only add to what may be unacknowledged at a stop.
QUEUED_RECORDS: Final = 30_000
# Over the 16 MiB of the largest dead letter, which is redriven with the headers of its origin.
MAX_RECORD_BYTES: Final = 17 * 1024 * 1024

# Errors after which the record may be in the log or not; any other says that it is not.
UNKNOWN: Final = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - librdkafka's local codes are spelled so
        KafkaError._PURGE_QUEUE,  # noqa: SLF001
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
    }
)

_EVENT_ID = re.compile(rb'"event_id":"([^"]{1,64})"').search


OnDelivery = Callable[[KafkaError | None, KafkaMessage], None]


class SendProgress(NamedTuple):
    """How far sending has come; `seconds` since the start, `total` if an end is known."""

    sent: int
    acknowledged: int
    seconds: float
    total: int | None


class RecordSender:
    """Sends to one topic, idempotently and in the order of the calls.

    `config` is the client's; what it says goes before the defaults here. `stop` may be set by a
    signal handler: then waiting ends, and `finish` takes 7 s at most. `report` is called a few
    times a second, with `total` where an end is known. `failure` says why no more can be sent.
    Several threads may call `offer`, `tick` and `flush`; the rest is for one.
    """

    def __init__(
        self,
        config: Config,
        topic: str,
        stop: StopRequest,
        report: Callable[[SendProgress], None] = lambda _: None,
        total: int | None = None,
    ) -> None:
        self.unacknowledged: list[str] = []
        self.failure: str | None = None
        self.sent = 0
        self._topic = topic
        self._total = total
        self._stop = stop
        self._report = report
        self._begun = self._reported = time.monotonic()
        self._producer = Producer(
            {
                "message.max.bytes": MAX_RECORD_BYTES,
                "queue.buffering.max.messages": QUEUED_RECORDS,
                # Each report calls back into Python, and here only the failures matter.
                "delivery.report.only.error": True,
                **config,
                "on_delivery": self._on_failed_delivery,
                "error_cb": ErrorWatch(),
            }
        )

    def send(self, key: bytes | None, value: bytes | None, headers: Headers = ()) -> bool:
        """Queue one record; wait while the queue is full, as long as the broker does not answer.

        Return False, with the record left out, if asked to stop while it waits, or if no more can
        be sent; then `failure` says why.
        """
        while not self.offer(key, value, headers):
            if self.failure:
                return False
            self.tick(FULL_QUEUE_SECONDS)
            if self._stop.is_set() or self.failure:
                return False
        self.sent += 1
        if self.sent % TICK_EVERY == 0:
            self.tick()
        return True

    def offer(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        on_delivery: OnDelivery | None = None,
    ) -> bool:
        """Queue one record without waiting; False if the queue is full, or with `failure` set.

        `on_delivery` gets the result of this record alone, which then counts nowhere else. Of a
        success it hears only if `config` sets `delivery.report.only.error` to False.
        """
        options: dict[str, Any] = {"headers": list(headers)} if headers else {}
        if on_delivery is not None:
            options["on_delivery"] = on_delivery
        try:
            self._producer.produce(self._topic, value, key, **options)
        except BufferError:
            return False
        except KafkaException as error:
            self._fail(error.args[0], _name_of(value))
            return False
        return True

    def tick(self, seconds: float = 0.0) -> None:
        """Take delivery errors, waiting up to `seconds`, and report progress when it is due."""
        self._serve(self._producer.poll, seconds)
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._report(self.progress())

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until nothing is under way."""
        self._serve(self._producer.flush, seconds)

    def progress(self) -> SendProgress:
        """Return how far sending has come."""
        acknowledged = self.sent - len(self._producer) - len(self.unacknowledged)
        return SendProgress(
            self.sent, max(acknowledged, 0), time.monotonic() - self._begun, self._total
        )

    def wait_until_drained(self) -> bool:
        """Wait until everything sent is acknowledged, or asked to stop; return whether it is."""
        while len(self._producer) and not self._stop.is_set() and not self.failure:
            self.flush(SLICE_SECONDS)
            self.tick()
        return not len(self._producer) and not self.unacknowledged

    def finish(self) -> list[str]:
        """Wait for the acknowledgements; return the event ids of what has none.

        What is not acknowledged may be in the log or not. Once asked to stop, it waits for 7 s at
        most and gives up what is still under way.
        """
        self.wait_until_drained()
        deadline = time.monotonic() + STOP_SECONDS
        while len(self._producer) and time.monotonic() < deadline:
            self.flush(SLICE_SECONDS)
            self.tick()
        if len(self._producer):
            # Purged, each gets a report at once, which says that its outcome is unknown.
            self._producer.purge()
            self.flush(PURGE_SECONDS)
        self._report(self.progress())
        return self.unacknowledged

    def _serve(self, wait: Callable[[float], int], seconds: float) -> None:
        try:
            wait(seconds)
        except KafkaException as error:
            self._fail(error.args[0], "this producer")

    def _on_failed_delivery(self, error: KafkaError, message: KafkaMessage) -> None:
        name = _name_of(message.value() or b"")
        self.unacknowledged.append(name)
        if error.code() not in UNKNOWN:
            self._fail(error, name)

    def _fail(self, error: KafkaError, name: str) -> None:
        # The first one is the cause, and the others follow from it.
        reason = rejection_reason(error, self._topic)
        self.failure = self.failure or f"Kafka takes no more of {name}: {reason}"


def _name_of(value: bytes | None) -> str:
    """Return the event id of a value, or an excerpt of a value without one."""
    match = _EVENT_ID(value or b"")
    return match[1].decode() if match else excerpt(value)
