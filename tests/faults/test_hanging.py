"""Transactions that a broker forgot to end: the processor ends them, and goes on.

A broker forgets one in some dozens of kills and stops (see docs/faults.md), too seldom for a test.
Here the processor hears once that the offsets are undecided, in the middle of the stream, and
what such a transaction published is put into the log by the protocol's bytes.
"""

import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterable

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.deployment import Deployment
from tests.faults.cluster import Cluster
from tests.faults.test_workers import worker_of
from tests.faults.wire import begin, leave_open
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until

ASKED_ONCE = """
import sys
from unittest.mock import patch
from confluent_kafka import KafkaError, KafkaException
from streaming.processor import app
timed_out = KafkaException(KafkaError(KafkaError._TIMED_OUT))
# Unlike an assignment it refuses a name that is not there.
with patch.object(app.GroupConsumer, "read_committed_offsets", side_effect=timed_out):
    sys.exit(app.run_worker(app.PROCESSOR, app.run_processor))
"""


@pytest.mark.faults
def test_ending_what_hangs_leaves_nothing_behind(deployment: Deployment) -> None:
    """What it writes to reach each partition nobody sees, and its offsets count for nothing."""
    deployment.succeed("db", "upgrade")
    with deployment.running("analyze"), Load(deployment, 500) as load:
        with deployment.running("process"):
            wait_until(lambda: deployment.count("analytics_event") > 500, 60, "nothing is stored")
            assert worker_of(deployment, "processor")
        ended = subprocess.run(
            [sys.executable, "-c", ASKED_ONCE],
            env=deployment.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ended.returncode == 1
        assert "aborting_hanging_transactions" in ended.stderr
        assert "hanging_partition_not_added" not in ended.stderr
        with deployment.running("process"):
            before = deployment.count("analytics_event")
            wait_until(
                lambda: deployment.count("analytics_event") > before + 500, 60, "it does not go on"
            )
    with deployment.running("process"), deployment.running("analyze"):
        wait_until_quiet(deployment, load.sent)
        deployment.succeed("verify")
    require_exactly_once(deployment, load.sent)


@pytest.mark.parametrize("forgotten", ["abort", pytest.param("commit", marks=pytest.mark.faults)])
def test_what_was_left_open_is_decided_by_the_offsets(
    alone: Deployment, cluster: Cluster, forgotten: str
) -> None:
    """Published by an aborted transaction it is aborted, by a committed one it is not lost."""
    let_producers_write_unasked(cluster)
    alone.succeed("produce", "--rate", "max", "--count", "200")
    alone.process()
    like = alone.read_topic("analytics")[-1]
    event = json.loads(like.value() or b"")
    alone.succeed("produce", "--rate", "max", "--count", "50", "--seed", "2")
    committed = set(count_published(alone))
    if forgotten == "abort":
        unread = next(m for m in alone.read_topic("purchases") if event_id(m) not in committed)
        source = {"source_partition": unread.partition(), "source_offset": unread.offset()}
        event |= {"event_id": event_id(unread), **source}
    else:
        event["event_id"] = str(uuid.uuid4())
    leave_open(
        cluster.nodes[0].port,
        f"{alone.namespace}.processor-0",
        alone.topic("analytics"),
        like.partition() or 0,
        json.dumps(event).encode(),
    )
    assert event["event_id"] not in count_published(alone)

    done = alone.run("process", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    records = count_published(alone)
    assert set(records.values()) == {1}
    purchases = {event_id(message) for message in alone.read_topic("purchases")}
    assert set(records) == purchases | {event["event_id"]}
    assert ("aborting_hanging_transactions" in done.stderr) == (forgotten == "abort")


@pytest.mark.faults
@pytest.mark.parametrize("markers", [1, 2])
def test_offsets_follow_what_a_forgotten_commit_published(
    alone: Deployment, cluster: Cluster, markers: int
) -> None:
    """If the commit reached the events, or some of them, but not the offsets: nothing comes twice.

    Of two events in one transaction both or one have the marker, and the offsets have none.
    """
    let_producers_write_unasked(cluster)
    alone.succeed("produce", "--rate", "max", "--count", "200")
    alone.process()
    events = first_by_partition(alone.read_topic("analytics"))
    alone.succeed("produce", "--rate", "max", "--count", "100", "--seed", "2")
    done = set(count_published(alone))
    unread = first_by_partition(m for m in alone.read_topic("purchases") if event_id(m) not in done)
    analytics, purchases = alone.topic("analytics"), alone.topic("purchases")
    group = alone.topic("purchase-processor")
    targets = sorted(events)[:2]
    with begin(cluster.nodes[0].port, f"{alone.namespace}.processor-0") as transaction:
        for target, number in zip(targets, sorted(unread)[:2], strict=True):
            purchase, offset = unread[number], unread[number].offset() or 0
            source = {"source_partition": number, "source_offset": offset}
            like = json.loads(events[target].value() or b"")
            event = like | {"event_id": event_id(purchase), **source}
            transaction.produce(analytics, target, json.dumps(event).encode())
            transaction.send_offset(group, purchases, number, offset + 1)
        for target in targets[:markers]:
            transaction.write_commit_marker(analytics, target)

    ended = alone.run("process", "--until-caught-up")
    assert "committing_undecided_offsets" in ended.stderr
    assert "aborting_hanging_transactions" not in ended.stderr
    assert set(count_published(alone).values()) == {1}
    assert set(count_published(alone)) == {
        event_id(message) for message in alone.read_topic("purchases")
    }


def first_by_partition(messages: Iterable[Message]) -> dict[int, Message]:
    """Return the first of the messages of each partition."""
    first: dict[int, Message] = {}
    for message in messages:
        first.setdefault(message.partition() or 0, message)
    return first


def event_id(message: Message) -> str:
    """Return the event id of a purchase or of an analytics event."""
    return str(json.loads(message.value() or b"")["event_id"])


def count_published(deployment: Deployment) -> Counter[str]:
    """Count the committed events on `analytics` by their ids."""
    return Counter(event_id(message) for message in deployment.read_topic("analytics"))


def let_producers_write_unasked(cluster: Cluster) -> None:
    """Have the broker take what its coordinator knows nothing of, as a forgotten end leaves it."""
    option = "transaction.partition.verification.enable"
    entry = ConfigEntry(option, "false", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(60)
