"""Tests of sending: pacing under a clock of our own, and what is acknowledged or named."""

import json
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streaming.kafka.config import Config
from streaming.producer import sender as app_module
from streaming.producer.sender import Pace, ProducerApp, Progress
from streaming.system.shutdown import Stop
from tests.support import Broker, wait_until

NOBODY: Config = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class Clock(Stop):
    """A clock that moves only when somebody waits; told to stop after `end` seconds."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.now = 1_000.0
        self._end = self.now + end

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass."""
        self.pass_by(timeout or 0)
        return self.is_set()

    def pass_by(self, seconds: float) -> None:
        """Let the time pass, and stop at the end."""
        self.now += seconds
        if self.now >= self._end:
            self.set()


def paced(clock: Clock, rate: float, cost: Callable[[int], float]) -> int:
    """Send at a rate until the clock stops, each taking `cost` seconds; give how many."""
    pace = Pace(clock, lambda: None, lambda: clock.now)
    sent = 0
    while pace.reached(sent / rate):
        clock.pass_by(cost(sent))
        sent += 1
    return sent


@pytest.mark.parametrize("rate", [0.5, 10, 1_000, 3_000, 50_000])
def test_the_rate_is_held_by_count(rate: float) -> None:
    """Within 2 % over 100 s, though each record takes time and waits are coarse."""
    sent = paced(Clock(100), rate, lambda _: 0.9 / rate)
    assert abs(sent - 100 * rate) <= max(0.02 * 100 * rate, 1)


def test_a_short_delay_is_caught_up() -> None:
    """Five seconds without a record change nothing in the count."""
    sent = paced(Clock(100), 100, lambda number: 5 if number == 3_000 else 0.001)
    assert 9_800 <= sent <= 10_200


def test_a_long_delay_is_not_sent_in_one_flood() -> None:
    """Of a minute's delay ten seconds are caught up."""
    sent = paced(Clock(100), 100, lambda number: 60 if number == 3_000 else 0.001)
    assert 4_900 <= sent <= 5_100


def test_a_delay_ends_when_told_to_stop() -> None:
    """However far away the next record is."""
    clock = Clock(3)
    assert not Pace(clock, lambda: None, lambda: clock.now).reached(10**9)
    assert clock.now < 1_004


def message(number: int) -> bytes:
    """Give a value with an event id."""
    return json.dumps({"event_id": f"id-{number}"}, separators=(",", ":")).encode()


def test_what_was_not_acknowledged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, stopping takes seconds, and each record is named by its event id."""
    monkeypatch.setattr(app_module, "STOP_SECONDS", 0.3)
    stop = Stop()
    reported: list[Progress] = []
    app = ProducerApp(dict(NOBODY), "purchases", stop, reported.append, 3)
    for number in range(3):
        assert app.send(b"17850", message(number))
    stop.set()
    assert sorted(app.finish()) == ["id-0", "id-1", "id-2"]
    assert not app.drained()
    assert reported[-1][:2] == (3, 0)
    assert reported[-1].total == 3


def test_a_full_queue_waits_until_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record that found no place is left out, and not counted as sent."""
    monkeypatch.setattr(app_module, "STOP_SECONDS", 0.3)
    stop = Stop()
    app = ProducerApp(
        {**NOBODY, "queue.buffering.max.messages": 2}, "purchases", stop, lambda _: stop.set()
    )
    assert [app.send(None, message(number)) for number in range(3)] == [True, True, False]
    assert (app.sent, len(app.finish())) == (2, 2)


def test_a_record_that_the_broker_refuses_is_named_with_the_reason(
    broker: Broker, namespace: str
) -> None:
    """The others are acknowledged."""
    topic = f"{namespace}.small"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    small = NewTopic(topic, 1, 1, config={"max.message.bytes": "2000"})
    admin.create_topics([small])[topic].result(10)
    config = {"bootstrap.servers": broker.bootstrap_servers}
    wait_until(lambda: topic in admin.list_topics(timeout=5).topics, 10, "no topic")
    app = ProducerApp(dict(config), topic, Stop(), lambda _: None)
    app.send(b"1", message(1))
    assert app.drained()
    app.send(b"2", message(2)[:-1] + b',"x":"' + b"x" * 5_000 + b'"}')
    assert app.finish() == ["id-2"]
    assert app.failure
    assert "large" in app.failure.lower()


def test_a_record_too_large_to_be_sent_ends_the_sending(broker: Broker) -> None:
    """It is left out and named; nothing hangs and nothing else is lost."""
    config: Config = {"bootstrap.servers": broker.bootstrap_servers}
    app = ProducerApp(config, "purchases", Stop(), lambda _: None)
    assert not app.send(b"1", message(1) + b" " * app_module.MAX_RECORD_BYTES)
    assert (app.finish(), app.sent) == ([], 0)
    assert app.failure
    assert "id-1" in app.failure
