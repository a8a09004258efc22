"""The options by which `purchases` takes no batch that its readers cannot unpack."""

import json

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from streaming.kafka.topic_options import Retention, read_options, retention
from streaming.kafka.topics import PARTITION_BYTES
from tests.deployment import Deployment
from tests.support import wait_until

UNPACKED_BYTES = 20_000_000
RECORD_BYTES = 250 * 1024
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def let_in_everything(deployment: Deployment) -> None:
    """Set the topic to the options that it had before this version."""
    changes = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in {
            "compression.type": "producer",
            "max.message.bytes": "17000000",
        }.items()
    ]
    topic = ConfigResource(
        ConfigResource.Type.TOPIC, deployment.topic("purchases"), incremental_configs=changes
    )
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    admin.incremental_alter_configs([topic])[topic].result(10)


def has_problem(deployment: Deployment) -> bool | None:
    """Return whether `status` reports the topic; None if the broker does not answer it yet."""
    status = json.loads(deployment.run("status", "--json").stdout)
    if status["broker"]["state"] != "answering":
        return None
    return "unsafe_topic" in [problem["code"] for problem in status["problems"]]


def send(deployment: Deployment, codec: str, size: int) -> KafkaError | None:
    """Send a record of one character, and return why it was refused."""
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
    let_in_everything(deployment)
    topic = deployment.topic("purchases")
    wait_until(lambda: has_problem(deployment), 30, "status does not report the topic")
    for _ in range(2):
        said = deployment.succeed("topics", "create")
        assert f"would alter {topic}: compression.type producer → uncompressed" in said
        assert f"would alter {topic}: max.message.bytes 17000000 → 1048588" in said
        assert "--alter does it" in said
    assert f"altered {topic}: compression.type" in deployment.succeed("topics", "create", "--alter")
    assert "alter" not in deployment.succeed("topics", "create")
    wait_until(lambda: has_problem(deployment) is False, 30, "status still reports the topic")
    assert send(deployment, "zstd", UNPACKED_BYTES) is not None


def test_a_new_topic_is_bounded_in_time_and_bytes(deployment: Deployment) -> None:
    """Its batches are not compressed, so a week of many purchases could fill the disk."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    topic = deployment.topic("purchases")
    options = read_options(admin, [topic])[topic]
    assert retention(options) == Retention(7 * 86_400.0, PARTITION_BYTES)
