"""Positions that do not fit the log: noticed, said, and mended by a person, on a real broker."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.support import wait_until

COUNT = 400


def admin(deployment: Deployment) -> AdminClient:
    """Return an admin client of the broker."""
    return AdminClient({"bootstrap.servers": deployment.bootstrap_servers})


def recreate(deployment: Deployment, name: str) -> None:
    """Delete a topic and create it again under its name, with the same settings."""
    topic = deployment.topic(name)
    client = admin(deployment)
    client.delete_topics([topic])[topic].result(10)
    wait_until(lambda: topic not in client.list_topics(timeout=5).topics, 60, "it stays")
    deployment.succeed("topics", "create")


def produce(deployment: Deployment, count: int = COUNT) -> None:
    """Send generated purchases."""
    deployment.succeed("produce", "--rate", "max", "--count", str(count))


def drain(deployment: Deployment) -> None:
    """Let both apps do what is there."""
    deployment.process()
    deployment.analyze()


def positions(deployment: Deployment) -> list[dict[str, Any]]:
    """Return what `offsets list --json` prints."""
    found: list[dict[str, Any]] = json.loads(deployment.succeed("offsets", "list", "--json"))[
        "positions"
    ]
    return found


def states(deployment: Deployment, app: str) -> set[str]:
    """Return the states of an app's positions on purchases or analytics."""
    return {
        str(p["state"])
        for p in positions(deployment)
        if p["app"] == app and not p["topic"].endswith(("dlq", "redrive"))
    }


def log_of(deployment: Deployment, command: str) -> str:
    """Return what the supervisor that the command ran, and its workers, have logged."""
    return (deployment.home / f"{command}.log").read_text()


def failure(deployment: Deployment, app: str) -> Callable[[], bool]:
    """Return the condition that an app's worker has stopped, naming the remedy."""

    def stopped() -> bool:
        status = read_status(deployment.home, app, 0)
        return status is not None and "purchases offsets reset" in status.detail

    return stopped


def test_a_recreated_topic_is_noticed_while_the_processor_runs_and_read_after_a_reset(
    deployment: Deployment,
) -> None:
    """Its new log may hold the old offset, so only its id tells; nothing of the new one is lost.

    The workers that are started again stop too: Kafka deleted the positions with the topic.
    """
    deployment.succeed("db", "upgrade")
    topic = deployment.topic("purchases")
    with deployment.running("analyze"):
        with deployment.running("process"):
            produce(deployment)
            wait_until(lambda: deployment.count("analytics_event") == COUNT, 60, "not stored")
            recreate(deployment, "purchases")
            said = rf"{topic}-\d at \d+|{topic} is missing"
            wait_until(
                lambda: re.search(said, log_of(deployment, "process")) is not None,
                60,
                "it was not noticed",
            )
            produce(deployment, COUNT + 50)
            wait_until(
                lambda: "has no position any more" in log_of(deployment, "process"), 60, "it began"
            )
            refused = deployment.run("offsets", "reset", "processor", "--to", "earliest")
            assert refused.returncode == 1
            assert "stop it first" in refused.stderr
        assert deployment.count("analytics_event") == COUNT
        deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
        with deployment.running("process"):
            wait_until(
                lambda: deployment.count("analytics_event") == 2 * COUNT + 50, 60, "it is lost"
            )
    deployment.succeed("verify")


def require_crash_loop(deployment: Deployment) -> None:
    """Wait until the status shows a crash loop with its cause, which is still retried."""
    problem: dict[str, str] = {}

    def told() -> bool:
        found = json.loads(deployment.run("status", "--json").stdout)
        problem.update(next((p for p in found["problems"] if p["code"] == "crash_loop"), {}))
        return bool(problem)

    wait_until(told, 150, "the status shows no crash loop")
    assert "has no position any more" in problem["sentence"]
    deaths = log_of(deployment, "process").count("worker_ended")
    wait_until(
        lambda: log_of(deployment, "process").count("worker_ended") > deaths, 60, "it was given up"
    )


@pytest.mark.timeout(300)
def test_a_topic_recreated_while_no_processor_ran_is_refused_until_a_reset(
    deployment: Deployment,
) -> None:
    """Kafka deletes the positions with it, but what was published shows that there were some."""
    produce(deployment)
    drain(deployment)
    recreate(deployment, "purchases")
    produce(deployment, 50)
    assert states(deployment, "processor") == {"deleted"}
    once = deployment.run("process", "--until-caught-up")
    assert once.returncode == 1
    assert "Kafka deleted the position" in once.stderr
    with deployment.running("process"):
        require_crash_loop(deployment)
    assert f"see {deployment.topic('analytics')}-" in log_of(deployment, "process")
    one = ("offsets", "reset", "processor", "--to", "latest", "--partition", "0", "--yes")
    assert "of all partitions" in deployment.run(*one).stderr
    deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
    assert states(deployment, "processor") == {"ok"}
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT + 50
    deployment.succeed("verify")


def delete_group(deployment: Deployment) -> None:
    """Delete the processor's group, as Kafka does with its offsets when nobody ran for a week."""
    client, group = admin(deployment), deployment.topic("purchase-processor")
    wait_until(
        lambda: client.delete_consumer_groups([group])[group].exception(10) is None,
        60,
        "the group is not empty",
    )


def test_positions_that_expired_are_noticed_where_only_dead_letters_were_published(
    deployment: Deployment,
) -> None:
    """All is read again, and stored once."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for _ in range(3):
        producer.produce(deployment.topic("purchases"), b"no purchase")
    assert producer.flush(10) == 0
    drain(deployment)
    delete_group(deployment)
    assert states(deployment, "processor") == {"deleted"}
    with deployment.running("process"):
        wait_until(failure(deployment, "processor"), 60, "it was not noticed")
    deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
    produce(deployment)
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT
    assert deployment.count("dead_letter") == 3


def test_positions_that_expired_are_noticed_where_what_was_published_did_too(
    deployment: Deployment,
) -> None:
    """The beginning of the log has moved then, which shows that something stood there."""
    produce(deployment)
    drain(deployment)
    delete_group(deployment)
    topic, client = deployment.topic("analytics"), admin(deployment)
    ends = [TopicPartition(topic, number, -1) for number in range(4)]
    for future in client.delete_records(ends).values():
        future.result(10)
    assert states(deployment, "processor") == {"deleted"}
    refused = deployment.run("process", "--until-caught-up")
    assert refused.returncode == 1
    assert "Kafka deleted the position" in refused.stderr


def test_what_others_wrote_and_what_was_aborted_is_no_sign_of_deleted_positions(
    deployment: Deployment,
) -> None:
    """A first transaction that was never committed, and a foreign dead letter: it just begins."""
    producer = Producer(
        {
            "bootstrap.servers": deployment.bootstrap_servers,
            "transactional.id": deployment.topic("processor-0"),
        }
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    event = b'{"source_topic": "purchases", "source_partition": 0, "source_offset": 0}'
    producer.produce(deployment.topic("analytics"), event, partition=0)
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(deployment.topic("purchases.dlq"), b"a stranger's")
    producer.commit_transaction(10)
    assert states(deployment, "processor") == {"new"}
    produce(deployment)
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT


def test_offsets_of_an_earlier_topic_are_refused_until_a_person_moves_them(
    deployment: Deployment,
) -> None:
    """As when a cluster was copied with its groups; a dry run changes nothing."""
    produce(deployment)
    drain(deployment)
    topic, group = deployment.topic("purchases"), f"{deployment.namespace}.purchase-processor"
    wrong = [TopicPartition(topic, partition, 1, "A" * 22) for partition in range(4)]
    client = admin(deployment)
    asked = [ConsumerGroupTopicPartitions(group, wrong)]

    def altered() -> bool:
        done = client.alter_consumer_group_offsets(asked)[group].result(10)
        return not any(partition.error for partition in done.topic_partitions)

    wait_until(altered, 60, "the group takes no offsets")
    assert states(deployment, "processor") == {"other_topic"}
    with deployment.running("process"):
        wait_until(failure(deployment, "processor"), 60, "it was not noticed")
    dry = deployment.succeed("offsets", "reset", "processor", "--to", "earliest")
    assert "--yes" in dry
    assert states(deployment, "processor") == {"other_topic"}
    deployment.succeed("offsets", "reset", "processor", "--to", "latest", "--yes")
    assert states(deployment, "processor") == {"ok"}
    produce(deployment, 50)
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT + 50


def test_a_recreated_analytics_topic_is_refused_and_reset_goes_on(deployment: Deployment) -> None:
    """What was stored stays; what the new log brings is added."""
    produce(deployment)
    drain(deployment)
    recreate(deployment, "analytics")
    produce(deployment, 50)
    deployment.process()
    with deployment.running("analyze"):
        wait_until(failure(deployment, "analytics"), 60, "it was not noticed")
    assert deployment.count("analytics_event") == COUNT
    deployment.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT + 50
    deployment.succeed("verify")


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
        future.result(10)
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
            client.create_partitions([NewPartitions(topic, 7)])[topic].result(10)
        produce(deployment, 3 * COUNT)
        wait_until(
            lambda: deployment.count("analytics_event") == 4 * COUNT, 60, "some are not stored"
        )
    assert {p["partition"] for p in positions(deployment) if p["app"] == "processor"} == set(
        range(7)
    )
    deployment.succeed("verify")


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
    with deployment.running("analyze"):
        wait_until(failure(deployment, "analytics"), 60, "it was not noticed")
    deployment.succeed("offsets", "reset", "analytics", "--to", "latest", "--yes")
    assert states(deployment, "analytics") == {"ok"}


def test_positions_are_moved_by_offset_and_by_time_and_read_again_once(
    deployment: Deployment,
) -> None:
    """What is read again is a duplicate."""
    produce(deployment)
    drain(deployment)
    told = deployment.succeed("offsets", "reset", "analytics", "--to", "2011-01-01")
    assert f"{COUNT:,} read again" in told or told.count("read again") == 5
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
            "transaction.timeout.ms": 60_000,
        }
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, b"{}", partition=0)
    producer.flush(10)
    group = Consumer(
        {"bootstrap.servers": servers, "group.id": deployment.topic("purchase-processor")}
    )
    offsets = [TopicPartition(deployment.topic("purchases"), 0, 0)]
    producer.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), 10)
    group.close()
    status = json.loads(deployment.run("status", "--json").stdout)
    assert status["broker"]["state"] == "answering"
    assert any(partition["hidden_records"] for partition in status["partitions"])
    assert states(deployment, "processor") == {"ok"}
    waited = deployment.run("analyze", "--until-caught-up", "--timeout", "3")
    assert waited.returncode == 1
    assert f"{topic}-0 is at" in waited.stderr
    producer.abort_transaction(10)
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
