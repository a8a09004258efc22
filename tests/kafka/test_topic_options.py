"""The options by which topics lose nothing, and take no batch that their readers cannot unpack."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from streaming.errors import Unrecoverable
from streaming.kafka.rejection import rejection_reason
from streaming.kafka.topic_options import Retention, held_until, read_options, retention
from streaming.kafka.topics import PARTITION_BYTES
from streaming.processor import app as processor
from tests import drain
from tests.deployment import Deployment
from tests.support import wait_until

UNPACKED_BYTES = 20_000_000
RECORD_BYTES = 250 * 1024
TOPICS = ("purchases", "purchases.redrive", "analytics", "purchases.dlq")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


BEFORE = {"compression.type": "producer", "max.message.bytes": "17000000"}
"""The options of the topic `purchases` that a version before made."""


def alter(deployment: Deployment, name: str, options: dict[str, str]) -> None:
    """Set options of a topic, as its operator may."""
    changes = [
        ConfigEntry(option, value, incremental_operation=AlterConfigOpType.SET)
        for option, value in options.items()
    ]
    topic = ConfigResource(
        ConfigResource.Type.TOPIC, deployment.topic(name), incremental_configs=changes
    )
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    admin.incremental_alter_configs([topic])[topic].result(60)


def problems(deployment: Deployment) -> dict[str, str] | None:
    """Return the problems' sentences by code; None if the broker does not answer status yet."""
    status = json.loads(deployment.run("status", "--json").stdout)
    if status["broker"]["state"] != "answering":
        return None
    return {problem["code"]: problem["sentence"] for problem in status["problems"]}


def has_problem(deployment: Deployment, code: str, words: str = "") -> bool | None:
    """Return whether `status` has the problem, in these words; None if it cannot know yet."""
    codes = problems(deployment)
    return None if codes is None else code in codes and words in codes[code]


def send(deployment: Deployment, codec: str, size: int) -> KafkaError | None:
    """Send a record of one character without a key, and return why it was refused."""
    errors: list[KafkaError | None] = []

    def acknowledge(error: KafkaError | None, _message: Message) -> None:
        errors.append(error)

    producer = Producer(
        {
            "bootstrap.servers": deployment.bootstrap_servers,
            "compression.type": codec,
            "message.max.bytes": 2 * UNPACKED_BYTES,
        }
    )
    producer.produce(deployment.topic("purchases"), b" " * size, on_delivery=acknowledge)
    assert producer.flush(60) == 0
    return errors[0]


def test_the_broker_refuses_what_unpacks_to_more_than_its_readers_take(
    deployment: Deployment,
) -> None:
    """Of every codec, while records of 250 KiB go in."""
    for codec in CODECS:
        refused = send(deployment, codec, UNPACKED_BYTES)
        assert refused is not None, codec
        assert refused.code() == KafkaError.MSG_SIZE_TOO_LARGE, codec
        assert send(deployment, codec, RECORD_BYTES) is None, codec


def test_an_older_topic_is_reported_and_altered_only_with_consent(deployment: Deployment) -> None:
    """A script that runs `topics create` at each start changes nothing that others made."""
    alter(deployment, "purchases", BEFORE)
    topic = deployment.topic("purchases")
    code = "unsafe_topic"
    wait_until(lambda: has_problem(deployment, code), 30, "status does not report the topic")
    for _ in range(2):
        said = deployment.succeed("topics", "create")
        assert f"would alter {topic}: compression.type producer → uncompressed" in said
        assert f"would alter {topic}: max.message.bytes 17000000 → 1048588" in said
        assert "Add --alter to alter them" in said
    assert f"altered {topic}: compression.type" in deployment.succeed("topics", "create", "--alter")
    assert "alter" not in deployment.succeed("topics", "create")
    wait_until(lambda: has_problem(deployment, code) is False, 30, "status still reports the topic")
    assert send(deployment, "zstd", UNPACKED_BYTES) is not None


def test_a_new_topic_is_bounded_in_time_and_bytes(deployment: Deployment) -> None:
    """Its batches are not compressed, so a week of many purchases could fill the disk."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    topic = deployment.topic("purchases")
    options = read_options(admin, [topic])[topic]
    assert retention(options) == Retention(7 * 86_400.0, PARTITION_BYTES)


def test_a_processor_that_a_compacted_topic_stops_says_so(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused record without a key has a dead letter without one, which Kafka does not take."""
    monkeypatch.setattr(processor, "ABORTS_IN_TURN", 1)
    monkeypatch.setattr(drain, "STARTS", 1)
    alter(deployment, "purchases.dlq", {"cleanup.policy": "compact"})
    assert send(deployment, "none", 1) is None
    with pytest.raises(Unrecoverable, match=r"is compacted, .* `purchases topics create --alter`"):
        deployment.process()
    deployment.succeed("topics", "create", "--alter")
    deployment.process()
    assert len(deployment.read_topic("purchases.dlq")) == 1


def test_a_compacted_topic_is_reported_and_altered_with_consent(deployment: Deployment) -> None:
    """Each of the four: of a customer's purchases Kafka would keep the latest alone."""
    topics = {deployment.topic(name) for name in TOPICS}
    for name in TOPICS:
        alter(deployment, name, {"cleanup.policy": "compact,delete"})
    code = "topic_compacted"
    for topic in topics:
        wait_until(
            lambda: has_problem(deployment, code, topic),  # noqa: B023 - it is called at once
            30,
            f"status does not report {topic}",
        )
    refused = send(deployment, "none", 1)
    assert refused is not None
    said = rejection_reason(refused, deployment.topic("purchases"))
    assert "takes no record without a key" in said
    assert "purchases topics create --alter" in said
    assert deployment.succeed("topics", "create").count("would alter") == len(topics)
    altered = deployment.succeed("topics", "create", "--alter")
    for topic in topics:
        assert f"altered {topic}: cleanup.policy compact,delete → delete" in altered
    wait_until(
        lambda: has_problem(deployment, code) is False, 30, "status still reports the topics"
    )
    assert send(deployment, "none", 1) is None


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ({"retention.ms": "604800000", "segment.ms": "86400000"}, 8),
        ({"retention.ms": "604800000"}, 7),
        ({"retention.ms": "-1", "segment.ms": "86400000"}, None),
        ({"retention.ms": "604800000", "cleanup.policy": "compact"}, None),
        ({"retention.ms": str(2**63 - 1)}, None),
    ],
)
def test_until_when_a_topic_holds_a_record(options: dict[str, str], days: int | None) -> None:
    """Its segment is filled, then kept, and then found by a look of the broker."""
    entries = {name: ConfigEntry(name, value) for name, value in options.items()}
    until = held_until(entries)
    if days is None:
        assert until is None
        return
    assert until is not None
    assert timedelta(days) < until - datetime.now(UTC) < timedelta(days, hours=1)
