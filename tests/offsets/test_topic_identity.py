"""Positions of a recreated topic, or that Kafka forgot: noticed, and refused until a reset."""

import re

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from streaming.errors import PurchasesError
from tests.deployment import Deployment
from tests.offsets.support import (
    COUNT,
    admin,
    delete_group,
    drain,
    failure,
    log_of,
    produce,
    recreate,
    require_crash_loop,
    states,
)
from tests.support import wait_until


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
    with pytest.raises(PurchasesError, match=rf"\(see {deployment.topic('analytics')}-"):
        deployment.process()
    one = ("offsets", "reset", "processor", "--to", "latest", "--partition", "0", "--yes")
    assert "of all partitions" in deployment.run(*one).stderr
    deployment.succeed("offsets", "reset", "processor", "--to", "earliest", "--yes")
    assert states(deployment, "processor") == {"ok"}
    drain(deployment)
    assert deployment.count("analytics_event") == COUNT + 50
    deployment.succeed("verify")


@pytest.mark.faults
def test_a_processor_without_its_positions_is_a_crash_loop_in_the_status(
    deployment: Deployment,
) -> None:
    """The status names the cause, and the supervisor still starts it again."""
    produce(deployment)
    drain(deployment)
    recreate(deployment, "purchases")
    with deployment.running("process"):
        require_crash_loop(deployment)


def test_positions_that_expired_are_noticed_where_only_dead_letters_were_published(
    deployment: Deployment,
) -> None:
    """All is read again, and stored once."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for _ in range(3):
        producer.produce(deployment.topic("purchases"), b"no purchase")
    assert producer.flush(60) == 0
    drain(deployment)
    delete_group(deployment)
    assert states(deployment, "processor") == {"deleted"}
    with pytest.raises(PurchasesError, match="has no position any more"):
        deployment.process()
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
        future.result(60)
    assert states(deployment, "processor") == {"deleted"}
    with pytest.raises(PurchasesError, match="has no position any more"):
        deployment.process()


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
    producer.init_transactions(60)
    producer.begin_transaction()
    event = b'{"source_topic": "purchases", "source_partition": 0, "source_offset": 0}'
    producer.produce(deployment.topic("analytics"), event, partition=0)
    assert producer.flush(60) == 0
    producer.abort_transaction(60)
    producer.begin_transaction()
    producer.produce(deployment.topic("purchases.dlq"), b"a stranger's")
    producer.commit_transaction(60)
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

    def has_altered() -> bool:
        done = client.alter_consumer_group_offsets(asked)[group].result(60)
        return not any(partition.error for partition in done.topic_partitions)

    wait_until(has_altered, 60, "the group takes no offsets")
    assert states(deployment, "processor") == {"other_topic"}
    with pytest.raises(PurchasesError, match="purchases offsets reset"):
        deployment.process()
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
