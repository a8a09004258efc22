"""A look into a topic: newest, by key, from a time or an offset on, without moving a position."""

import json
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, Producer

from streaming.errors import NotFound, Unavailable, UsageError
from streaming.kafka.peek import PeekRequest, _starts, follow, peek, read_start, topic_named
from tests.deployment import Deployment
from tests.support import free_port


def test_a_look_finds_records_by_key_time_and_offset(deployment: Deployment) -> None:
    """Transaction markers are no records, and bytes that are no text are escaped."""
    topic, settings = deployment.topic("purchases"), deployment.settings
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in range(30):
        key = b"ada" if number % 10 == 0 else b"\xff%d" % number
        producer.produce(topic, b"\x1b[2J\xfe%d" % number, key, 0, headers=[("trace", b"\xfd")])
    assert producer.flush(60) == 0
    newest = peek(settings, PeekRequest(topic, limit=2))
    assert [record.value for record in newest.records] == ["\x1b[2J\\xfe28", "\x1b[2J\\xfe29"]
    assert newest.records[0].key == "\\xff28"
    assert newest.records[0].headers == (("trace", "\\xfd"),)
    of_ada = peek(settings, PeekRequest(topic, b"ada"))
    assert ([r.offset for r in of_ada.records], of_ada.scanned) == ([0, 10, 20], 30)
    first = peek(settings, PeekRequest(topic, b"ada", start=(0, 5), limit=1))
    assert [record.offset for record in first.records] == [10]
    assert [r.offset for r in peek(settings, PeekRequest(topic, since=0, limit=3)).records] == [
        0,
        1,
        2,
    ]
    assert peek(settings, PeekRequest(topic, start=(0, 10**20))).records == ()
    printed = deployment.succeed("topics", "peek", "purchases", "-n", "1")
    assert "\\x1b[2J" in printed
    assert "\x1b" not in printed
    line = deployment.succeed("topics", "peek", topic, "--key", "ada", "-n", "1", "--json")
    assert json.loads(line)["offset"] == 20

    done = threading.Event()

    def send_until_seen() -> None:
        while not done.wait(0.1):
            producer.produce(topic, b"later", b"ada", 0)
            assert producer.flush(60) == 0

    sending = threading.Thread(target=send_until_seen)
    sending.start()
    try:
        came = next(follow(settings, topic, b"ada", lambda: True))
    finally:
        done.set()
        sending.join()
    assert (came.value, came.offset >= 30) == ("later", True)


def test_a_broker_that_goes_away_is_unavailable(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a look begins, and when it asks for a time: not the client's own error."""
    topic = deployment.topic("purchases")
    gone = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "peek", "log_level": 0}
    with (
        closing(Consumer(gone)) as consumer,
        pytest.raises(Unavailable, match="broker does not answer"),
    ):
        _starts(consumer, PeekRequest(topic, since=0), {(topic, 0): (0, 1)})
    monkeypatch.setattr("streaming.kafka.peek.consumer_config", lambda *_: gone)
    with pytest.raises(Unavailable, match="broker does not answer"):
        peek(deployment.settings, PeekRequest(topic))


def test_what_is_no_topic_and_no_offset_is_refused(deployment: Deployment) -> None:
    """By name, and with what there is."""
    with pytest.raises(NotFound, match=r"it has purchases, "):
        topic_named(deployment.settings, "__consumer_offsets")
    assert topic_named(replace(deployment, namespace="").settings, "analytics") == "analytics"
    with pytest.raises(NotFound, match="no partition 99"):
        peek(deployment.settings, PeekRequest(deployment.topic("purchases"), start=(99, 0)))
    for text in ("1", "1:", ":1", "a:b", "-1:5", "1:2:3"):
        with pytest.raises(UsageError, match="PARTITION:OFFSET"):
            read_start(text)
