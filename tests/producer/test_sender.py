"""Tests of sending: what is acknowledged, and what is named because it is not."""

import json

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streaming.kafka.config import Config
from streaming.producer import sender as sender_module
from streaming.producer.sender import RecordSender, SendProgress
from streaming.system.shutdown import StopRequest
from tests.support import Broker, wait_until

NOBODY: Config = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def message(number: int) -> bytes:
    """Return a value with an event id."""
    return json.dumps({"event_id": f"id-{number}"}, separators=(",", ":")).encode()


def new_topic(broker: Broker, name: str, config: dict[str, str] | None = None) -> str:
    """Create a topic of one partition; return its name."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1, config=config or {})])[name].result(60)
    wait_until(lambda: name in admin.list_topics(timeout=60).topics, 60, "no topic")
    return name


def test_what_was_not_acknowledged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, stopping takes seconds, and each record is named by its event id."""
    monkeypatch.setattr(sender_module, "STOP_SECONDS", 0.3)
    stop = StopRequest()
    reported: list[SendProgress] = []
    sender = RecordSender(dict(NOBODY), "purchases", stop, reported.append, 3)
    for number in range(3):
        assert sender.send(b"17850", message(number))
    stop.set()
    assert sorted(sender.finish()) == ["id-0", "id-1", "id-2"]
    assert not sender.wait_until_drained()
    assert reported[-1][:2] == (3, 0)
    assert reported[-1].total == 3


def test_a_full_queue_waits_until_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record for which there is no room is left out, and not counted as sent."""
    monkeypatch.setattr(sender_module, "STOP_SECONDS", 0.3)
    stop = StopRequest()
    sender = RecordSender(
        {**NOBODY, "queue.buffering.max.messages": 2}, "purchases", stop, lambda _: stop.set()
    )
    assert [sender.send(None, message(number)) for number in range(3)] == [True, True, False]
    assert (sender.sent, len(sender.finish())) == (2, 2)


def test_a_record_that_the_broker_refuses_is_named_with_the_reason(
    broker: Broker, namespace: str
) -> None:
    """The others are acknowledged."""
    topic = new_topic(broker, f"{namespace}.small", {"max.message.bytes": "2000"})
    config = {"bootstrap.servers": broker.bootstrap_servers}
    sender = RecordSender(dict(config), topic, StopRequest())
    sender.send(b"1", message(1))
    assert sender.wait_until_drained()
    sender.send(b"2", message(2)[:-1] + b',"x":"' + b"x" * 5_000 + b'"}')
    assert sender.finish() == ["id-2"]
    assert sender.failure
    assert "large" in sender.failure.lower()


def test_a_record_too_large_to_be_sent_ends_the_sending(broker: Broker) -> None:
    """It is left out and named; nothing hangs and nothing else is lost."""
    config: Config = {"bootstrap.servers": broker.bootstrap_servers}
    sender = RecordSender(config, "purchases", StopRequest())
    assert not sender.send(b"1", message(1) + b" " * sender_module.MAX_RECORD_BYTES)
    assert (sender.finish(), sender.sent) == ([], 0)
    assert sender.failure
    assert "id-1" in sender.failure


def test_an_offered_record_hears_of_its_own_delivery(broker: Broker, namespace: str) -> None:
    """With its offset in Kafka; HTTP ingest answers by it, for each record of a request."""
    config: Config = {
        "bootstrap.servers": broker.bootstrap_servers,
        "delivery.report.only.error": False,
    }
    topic = new_topic(broker, f"{namespace}.offers")
    sender = RecordSender(config, topic, StopRequest())
    offsets: list[tuple[object, object]] = []
    for number in range(2):
        assert sender.offer(
            b"1",
            message(number),
            [("a", b"b")],
            lambda error, record: offsets.append((error, record.offset())),
        )
    sender.flush(60)
    assert offsets == [(None, 0), (None, 1)]


def test_an_offer_to_a_full_queue_does_not_wait() -> None:
    """So that a web server can answer at once that more is under way than Kafka takes."""
    sender = RecordSender({**NOBODY, "queue.buffering.max.messages": 1}, "purchases", StopRequest())
    assert [sender.offer(None, message(number)) for number in range(2)] == [True, False]
    assert sender.failure is None
