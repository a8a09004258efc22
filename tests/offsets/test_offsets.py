"""Positions of both apps: listed, moved, of backups, partitions, slots and hosts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.in_process import run_here
from tests.offsets.support import (
    COUNT,
    admin,
    drain,
    failure,
    positions,
    produce,
    states,
)
from tests.support import OPEN_TRANSACTION_SECONDS, wait_until


def test_what_retention_deleted_unread_is_counted_and_skipped_by_a_person(
    deployment: Deployment,
) -> None:
    """The processor stops at the first lost record; the reset says how many there were.

    Before, every partition was read: of one that never was nothing can be missing.
    """
    produce(deployment)
    drain(deployment)
    produce(deployment)
    topic = deployment.topic("purchases")
    deleted = {
        TopicPartition(topic, p["partition"], p["end"])
        for p in positions(deployment)
        if p["app"] == "processor"
    }
    client = admin(deployment)
    for future in client.delete_records(list(deleted)).values():
        future.result(60)
    with deployment.running("process"):
        wait_until(failure(deployment, "processor"), 60, "it was not noticed")
    lost = [p for p in positions(deployment) if p["state"] == "lost"]
    assert sum(p["missing"] for p in lost) == COUNT
    deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
    produce(deployment, 30)
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT + 30


def test_partitions_that_were_added_are_read_from_their_beginning(deployment: Deployment) -> None:
    """While both run, and nothing of it is lost."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        produce(deployment)
        client = admin(deployment)
        for name in ("purchases", "analytics"):
            topic = deployment.topic(name)
            client.create_partitions([NewPartitions(topic, 7)])[topic].result(60)
        produce(deployment, 3 * COUNT)
        wait_until(
            lambda: deployment.count("analytics_event") == 4 * COUNT, 60, "some are not stored"
        )
    assert {p["partition"] for p in positions(deployment) if p["app"] == "processor"} == set(
        range(7)
    )
    deployment.succeed("verify")


@pytest.mark.sqlite("a backup of the file")
def test_yesterdays_backup_is_caught_up_exactly(deployment: Deployment) -> None:
    """The database says where to go on, and Kafka still holds the difference."""
    produce(deployment)
    drain(deployment)
    backup = deployment.home / "yesterday.db"
    deployment.succeed("db", "backup", str(backup))
    produce(deployment)
    drain(deployment)
    after = deployment.rows("SELECT sum(items_sold), sum(events) FROM day_ledger")
    deployment.succeed("db", "restore", str(backup))
    assert deployment.count("analytics_event") == COUNT
    drain(deployment)
    assert deployment.rows("SELECT sum(items_sold), sum(events) FROM day_ledger") == after
    deployment.succeed("verify")


def test_a_database_newer_than_the_log_is_refused(deployment: Deployment) -> None:
    """A position beyond the end is no position: the log was cut, or it is another one."""
    produce(deployment)
    drain(deployment)
    deployment.succeed("offsets", "reset", "analytics", "--to", "latest", "--yes")
    with deployment.writing() as store:
        store.execute("UPDATE stream_offset SET next_offset = next_offset + 1000")
    assert states(deployment, "analytics") == {"ahead"}
    once = deployment.run("analyze", "--until-caught-up")
    assert once.returncode == 1
    assert "past its end" in once.stderr
    assert "purchases offsets reset" in once.stderr
    printed = deployment.succeed(
        "offsets", "reset", "analytics", "--to", "latest", "--yes", "--json"
    )
    assert json.loads(printed)["moved"] is True
    assert states(deployment, "analytics") == {"ok"}


def test_positions_are_moved_by_offset_and_by_time_and_read_again_once(
    deployment: Deployment,
) -> None:
    """What is read again is a duplicate."""
    produce(deployment)
    drain(deployment)
    printed = deployment.succeed("offsets", "reset", "analytics", "--to", "2011-01-01")
    assert f"{COUNT:,} read again" in printed or printed.count("read again") == 5
    of = ("--topic", deployment.topic("analytics"))
    wrong = deployment.run("offsets", "reset", "analytics", "--to", "999999", *of)
    assert wrong.returncode == 2
    assert "outside" in wrong.stderr
    both = deployment.run("offsets", "reset", "analytics", "--to", "0", "--partition", "0")
    assert both.returncode == 2
    assert "--topic" in both.stderr
    deployment.succeed(
        "offsets", "reset", "analytics", "--to", "0", "--partition", "0", *of, "--yes"
    )
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT
    deployment.succeed("verify")
    deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT
    assert deployment.run("offsets", "reset", "nobody", "--to", "0").returncode == 2


def test_a_database_without_positions_has_none_to_move(deployment: Deployment) -> None:
    """Before the first `analyze` nobody knows the group that it will be."""
    deployment.succeed("db", "upgrade")
    with deployment.writing() as store:
        store.execute("DELETE FROM deployment")
    refused = deployment.run("offsets", "reset", "analytics", "--to", "latest", "--yes")
    assert refused.returncode == 1
    assert "no positions yet" in refused.stderr


def test_what_stands_behind_an_open_transaction_is_waited_for_and_named(
    deployment: Deployment,
) -> None:
    """The target is the high watermark at the start, of which the last stable offset is short.

    With undecided offsets too: status and positions are shown meanwhile.
    """
    produce(deployment)
    drain(deployment)
    servers, topic = deployment.bootstrap_servers, deployment.topic("analytics")
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": deployment.topic("stranger"),
            "transaction.timeout.ms": OPEN_TRANSACTION_SECONDS * 1_000,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"{}", partition=0)
    assert producer.flush(60) == 0
    group = Consumer(
        {"bootstrap.servers": servers, "group.id": deployment.topic("purchase-processor")}
    )
    offsets = [TopicPartition(deployment.topic("purchases"), 0, 0)]
    producer.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), 60)
    group.close()

    def hidden() -> bool:
        status = json.loads(deployment.run("status", "--json").stdout)
        return any(partition["hidden_records"] for partition in status["partitions"])

    # It gives the broker less than a second, which a loaded one may exceed.
    wait_until(hidden, 30, "the status does not show what is hidden")
    assert states(deployment, "processor") == {"ok"}

    def is_waited_for() -> bool:
        waited = run_here(
            deployment.module,
            ["analyze", "--until-caught-up", "--timeout", "3"],
            deployment.environment,
        )
        assert waited.returncode == 1
        return f"{topic}-0 is at" in waited.stderr

    wait_until(is_waited_for, 60, "it does not say how far it is")
    producer.abort_transaction(60)
    deployment.analyze()


def test_two_databases_on_one_cluster_each_receive_everything(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Their groups differ by the deployment's id."""
    other = replace(deployment, home=tmp_path / "other")
    other.home.mkdir()
    produce(deployment)
    drain(deployment)
    other.analyze()
    assert deployment.count("analytics_event") == other.count("analytics_event") == COUNT


def test_the_same_slot_on_two_hosts_works_once_and_is_taken_over(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The second stands by, naming the first, and takes over when that one is killed."""
    other = replace(deployment, home=tmp_path / "other")
    other.home.mkdir()

    def state(of: Deployment) -> str:
        status = read_status(of.home, "processor", 0)
        return "" if status is None else status.state

    deployment.succeed("db", "upgrade")
    other.succeed("db", "upgrade")
    with deployment.running("process") as first:
        wait_until(lambda: state(deployment) == "caught_up", 60, "it does not work")
        with other.running("process"), other.running("analyze"):
            wait_until(lambda: state(other) == "standby", 60, "the second does not stand by")
            status = read_status(other.home, "processor", 0)
            assert status is not None
            assert str(deployment.home) in status.detail
            assert state(deployment) == "caught_up"
            worker = deployment.worker_pid("processor")
            first.kill()
            first.wait()
            wait_until(lambda: deployment.worker_pid("processor") is None, 60, str(worker))
            wait_until(lambda: state(other) == "caught_up", 60, "it does not take over")
            produce(other)
            wait_until(lambda: other.count("analytics_event") == COUNT, 60, "not stored")


@pytest.mark.faults
def test_more_slots_than_partitions_share_what_there_is(deployment: Deployment) -> None:
    """A slot that owns nothing is idle, and none of it is lost or doubled."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process", "--slots", "6"), deployment.running("analyze"):
        produce(deployment)
        wait_until(lambda: deployment.count("analytics_event") == COUNT, 60, "not stored")
        wait_until(
            lambda: all(
                (s := read_status(deployment.home, "processor", slot)) and s.state == "caught_up"
                for slot in range(6)
            ),
            60,
            "a slot is not idle",
        )
    deployment.succeed("verify")
