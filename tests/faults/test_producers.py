"""Producers killed between sending and acknowledgement, which send again."""

import json
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.deployment import Deployment
from tests.faults.table import keep
from tests.oracle import require_figures_agree, require_order_per_user
from tests.producer.recordings import EXAMPLE
from tests.support import wait_until

LONG = pytest.mark.faults
COUNT = 3_000
REPLAYED = 20_000


def records_on(deployment: Deployment) -> int:
    """Count the records of `purchases`."""
    topic = deployment.topic("purchases")
    reader = Consumer({"bootstrap.servers": deployment.bootstrap_servers, "group.id": "count"})
    partitions = reader.list_topics(topic, timeout=60).topics[topic].partitions
    ends = [reader.get_watermark_offsets(TopicPartition(topic, p), timeout=60) for p in partitions]
    reader.close()
    return sum(end for _, end in ends)


def kill_midway(deployment: Deployment, *arguments: str) -> None:
    """Run a command, and kill it once it has sent something more."""
    before = records_on(deployment)
    with deployment.running(*arguments) as process:
        wait_until(lambda: records_on(deployment) > before, 60, "it sends nothing")
        assert process.poll() is None, "it was done before it was killed"
        process.kill()


def require_stored_once(deployment: Deployment, request: pytest.FixtureRequest) -> None:
    """What is on `purchases` is stored once each, and everything else counted as duplicate."""
    deployment.process()
    deployment.analyze()
    sent = Counter(
        json.loads(message.value() or b"")["event_id"]
        for message in deployment.read_topic("purchases")
    )
    rows = deployment.rows("SELECT event_id FROM analytics_event_readable")
    stored = Counter(row[0] for row in rows)
    assert stored == Counter(set(sent))
    assert deployment.rows("SELECT sum(duplicates), sum(conflicting) FROM stream_offset") == [
        (sent.total() - len(sent), 0)
    ]
    require_figures_agree(deployment)
    deployment.succeed("verify")
    keep(request, deployment, len(sent), [])


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=LONG)])
def test_produce_is_killed_and_run_again(
    deployment: Deployment, request: pytest.FixtureRequest, times: int
) -> None:
    """The same seed and start give the same ids, so that what came twice is stored once."""
    count, rate = str(COUNT), str(COUNT // 20)
    same = ("produce", "--seed", "5", "--start", "2024-03-01", "--count", count)
    for _ in range(times):
        kill_midway(deployment, *same, "--rate", rate)
    deployment.succeed(*same, "--rate", "max")
    assert records_on(deployment) > COUNT
    require_stored_once(deployment, request)
    assert deployment.count("analytics_event") == COUNT


@pytest.mark.faults
def test_replay_is_killed_and_run_again(
    deployment: Deployment, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It finds in the log what was sent, and sends only the others."""
    path = tmp_path / "recording.parquet"
    pl.read_parquet(EXAMPLE).head(REPLAYED).write_parquet(path)
    same = ("replay", str(path), "--as-recorded", "--speed")
    for _ in range(5):
        kill_midway(deployment, *same, "30000")
    deployment.succeed(*same, "max")
    assert records_on(deployment) == REPLAYED
    require_stored_once(deployment, request)
    assert deployment.count("analytics_event") == REPLAYED


@LONG
def test_a_foreign_producer_is_killed_and_sends_what_it_heard_nothing_of(
    deployment: Deployment, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Kafka has the records and the producer does not know; their ids make them one."""
    values, acknowledged = tmp_path / "values", tmp_path / "acknowledged"
    purchases = [
        {
            "event_id": str(uuid.UUID(int=number, version=4)),
            "user": f"user-{number % 50}",
            "item": "tea",
            "timestamp": "2011-03-27T10:15:00Z",
            "order_id": f"{number:09d}",
        }
        for number in range(COUNT)
    ]
    values.write_text("".join(f"{json.dumps(purchase)}\n" for purchase in purchases))
    topic = deployment.topic("purchases")
    command = [sys.executable, "-m", "tests.faults.sender", deployment.bootstrap_servers, topic]
    files = [str(values), str(acknowledged)]
    for _ in range(5):
        enough = records_on(deployment) + COUNT // 4
        with subprocess.Popen([*command, *files, str(COUNT // 10)]) as process:
            wait_until(lambda: records_on(deployment) > enough, 60, "nothing")  # noqa: B023
            process.kill()
    subprocess.run([*command, *files, str(COUNT)], check=True, timeout=300)
    assert records_on(deployment) > COUNT
    require_stored_once(deployment, request)
    require_order_per_user(deployment)
    assert deployment.count("analytics_event") == COUNT
