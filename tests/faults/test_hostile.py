"""What anyone with WRITE on `purchases` may send: it ends nobody and hides nothing."""

import json
import re
import time
import uuid

import pytest
from confluent_kafka import Producer

from tests.deployment import Deployment
from tests.faults.table import keep, lag, require_no_names_in_logs
from tests.faults.test_workers import wait
from tests.hostile import BRACKETS, LARGEST, HostileProducer, full_of
from tests.kafka.test_topic_options import BEFORE, alter
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_stored
from tests.support import wait_until

LONG = pytest.mark.faults
DEADLINE_SECONDS = 240
"""A minute after 40 s of attack on two idle cores, more if others load them; see the table."""


@pytest.mark.parametrize("seconds", [3, pytest.param(40, marks=LONG)])
def test_an_honest_producer_beside_a_hostile_one(
    deployment: Deployment, request: pytest.FixtureRequest, seconds: int
) -> None:
    """Every honest purchase is stored as it was sent, soon after the attack; `verify` agrees."""
    deployment.more["PURCHASES_MAX_AMOUNT"] = str(LARGEST)
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, 100, bad_share=0.1) as load, HostileProducer(deployment) as hostile:
            wait(seconds)
            wait_until(lambda: len(hostile.squatted) > 9 and hostile.bombs > 0, 60, "no attack")
        ended = time.monotonic()
        wait_until_stored(deployment, load.sent, DEADLINE_SECONDS)
        took = time.monotonic() - ended
        wait_until(lambda: lag(deployment) == 0, DEADLINE_SECONDS, "the lag is not back at 0")
    deployment.succeed("verify")
    require_exactly_once(deployment, load.sent, alone=False)
    require_no_names_in_logs(deployment)
    squatted = hostile.squatted & set(load.sent.good)
    ((conflicts,),) = deployment.rows("SELECT sum(conflicting) FROM stream_offset")
    assert int(str(conflicts)) >= len(squatted)
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), [took])


@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=LONG)])
def test_records_full_of_brackets_stop_no_processor(
    deployment: Deployment, request: pytest.FixtureRequest, count: int
) -> None:
    """They are valid, so they are stored; honest purchases among them and behind them too."""
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "compression.type": "zstd"}
    )
    with Load(deployment, 100) as load:
        for number in range(count):
            event_id = str(uuid.uuid4())
            value = full_of(BRACKETS[number % len(BRACKETS)], event_id)
            producer.produce(deployment.topic("purchases"), value, b"eve")
            load.sent.good[event_id] = "eve"
            producer.poll(0)
        assert producer.flush(60) == 0
    deployment.succeed("process", "--until-caught-up")
    deployment.analyze()
    assert deployment.rows("SELECT count(*) FROM analytics_event") == [(len(load.sent.good),)]
    deployment.succeed("verify")
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), [])


def test_a_thousand_and_one_headers_are_refused_and_seen(deployment: Deployment) -> None:
    """Those that the client cannot read at all are judged by the purchase alone."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for count in (1_000, 1_001, 100_000):
        purchase = {"user": "eve", "item": f"tea-{count}", "timestamp": "2011-03-27T10:15:00Z"}
        headers: list[tuple[str, str | bytes | None]] = [("a", b"")] * count
        producer.produce(
            deployment.topic("purchases"), json.dumps(purchase).encode(), b"eve", headers=headers
        )
    assert producer.flush(60) == 0
    deployment.process()
    deployment.analyze()
    assert deployment.rows("SELECT item FROM analytics_event") == [("tea-1000",)]
    refused = deployment.rows("SELECT reason, detail FROM dead_letter ORDER BY origin_offset")
    assert refused == [
        ("too_large", "the record has 1001 headers, over 1000"),
        ("too_large", "the record has 100000 headers, over 1000"),
    ]
    deployment.succeed("verify")


def test_a_batch_that_cannot_be_unpacked_names_the_reset_that_goes_on(
    deployment: Deployment,
) -> None:
    """It is only possible on a topic whose options let it in; nothing honest is passed over."""
    alter(deployment, "purchases", BEFORE)
    topic = deployment.topic("purchases")
    for partition in range(4):
        send_purchase(deployment, partition)
    bomb = Producer(
        {
            "bootstrap.servers": deployment.bootstrap_servers,
            "compression.type": "zstd",
            "message.max.bytes": 400_000_000,
            "batch.size": 400_000_000,
            # One batch also where twenty values take the machine a while: `flush` ends the wait.
            "linger.ms": 60_000,
        }
    )
    for _ in range(20):
        bomb.produce(topic, b" " * 8_000_000, partition=2)
    assert bomb.flush(60) == 0
    for partition in range(4):
        send_purchase(deployment, partition)
    log = deployment.home / "process.log"
    with deployment.running("process"):
        wait_until(
            lambda: log.exists() and "cannot be unpacked" in log.read_text(), 60, "it says nothing"
        )
    said = log.read_text()
    reset = re.search(r"`purchases (offsets reset processor [^`]*)`", said)
    assert reset is not None, said
    assert f"The batch of {topic}-2 that begins at 1" in said
    assert reset[1].endswith(f"--topic {topic} --partition 2 --to 21 --yes")
    deployment.succeed(*reset[1].split())
    deployment.process()
    deployment.analyze()
    assert deployment.count("analytics_event") == 8
    verified = json.loads(deployment.succeed("verify", "--json"))
    assert verified["unreadable"] == [
        f"20 records of {topic}-2 from 1 on cannot be unpacked, and are not verified."
    ]
    followed = {check["name"]: check["compared"] for check in verified["checks"]}
    assert followed["purchases on analytics or dead letters"] == 8


def send_purchase(deployment: Deployment, partition: int) -> None:
    """Send an honest purchase to a partition."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    purchase = {"user": "ada", "item": "tea", "timestamp": "2011-03-27T10:15:00Z"}
    producer.produce(
        deployment.topic("purchases"), json.dumps(purchase).encode(), b"ada", partition
    )
    assert producer.flush(60) == 0
