"""What other users of the machine can do to a home and its broker, before and after an update."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    NewPartitions,
    NewTopic,
)
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from streaming.broker.config import (
    MOST_CONNECTIONS,
    properties_text,
    server_properties,
)
from streaming.broker.embedded import JAVA_OPTIONS, stop_broker
from streaming.broker.identity import free_ports, read_identity
from streaming.broker.jars import java
from streaming.dashboard.connections import raise_file_limit
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.open_listener import start_embedded_broker
from streaming.kafka.topics import create_topics, topic_definitions
from streaming.settings import Settings
from streaming.system.home import Home
from tests.conftest import bring_jars
from tests.deployment import read_topic
from tests.java_archive import class_path_in
from tests.store.users import drop_privileges
from tests.support import allow_everything, wait_until

CLUSTER_ID = "c3RyYW5nZXJzLWNsdXN0ZX"
NAMES = Names()
WRITES_OF_OURS = (NAMES.analytics, NAMES.dead_letters, NAMES.redrive)
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


@pytest.fixture
def settings(jars: Path) -> Iterator[Settings]:
    """A home that every user of the machine can reach and read, as a release before left it."""
    directory = Path(tempfile.mkdtemp(prefix="purchases-test-"))
    directory.chmod(0o755)
    home = directory / "home"
    home.mkdir(mode=0o755)
    bring_jars(jars, home)
    yield Settings(home=home)
    stop_broker(home)
    shutil.rmtree(directory)


@contextmanager
def released_broker(home: Path) -> Iterator[None]:
    """Run Kafka as a release did that had one listener, without passwords and rules."""
    port, controller_port = free_ports(2)
    Home(home).broker_identity.write_text(
        f'{{"cluster_id":"{CLUSTER_ID}","port":{port},"controller_port":{controller_port}}}'
    )
    listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
    properties = {
        **server_properties(Home(home).broker_data, controller_port),
        "listeners": listeners,
        "advertised.listeners": listeners,
    }
    path = Home(home).broker_properties
    path.write_text(properties_text(properties))
    command = [str(java()), *JAVA_OPTIONS, "-cp", class_path_in(Home(home).jars)]
    tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID]
    subprocess.run([*command, *tool, "-c", str(path)], check=True, capture_output=True)
    process = subprocess.Popen([*command, "kafka.Kafka", str(path)], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def serves(settings: Settings) -> bool:
    """Return whether the broker answers our programs."""
    admin = AdminClient(common_config(settings, bootstrap_servers(settings), "test"))
    try:
        return bool(admin.list_topics(timeout=10).brokers)
    except KafkaException:
        return False


def send(servers: str, topic: str, **options: object) -> KafkaError | None:
    """Send a record as anybody may who has the address; give why it was refused."""
    errors: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": servers, **options})
    producer.produce(topic, b"{}", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    return errors[0]


def is_denied(attempt: Callable[[], object]) -> bool:
    """Return whether the broker does not permit an attempt; other errors are raised."""
    try:
        attempt()
    except KafkaException as error:
        if error.args[0].code() not in DENIED:
            raise
        return True
    return False


def attempts(servers: str) -> dict[str, Callable[[], object]]:
    """Return what a stranger may not do, by name."""
    admin = AdminClient({"bootstrap.servers": servers})
    position = TopicPartition(NAMES.purchases, 0, 1)
    offsets = ConsumerGroupTopicPartitions(NAMES.processor_group, [position])
    broker = ConfigResource(ConfigResource.Type.BROKER, "1")
    change = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ConfigResource.Type.TOPIC, NAMES.purchases, incremental_configs=[change])

    def result(asked: Mapping[Any, Future[Any]]) -> Any:  # noqa: ANN401 - as its caller asks
        return next(iter(asked.values())).result(60)

    def move() -> None:
        position = result(admin.alter_consumer_group_offsets([offsets])).topic_partitions[0]
        if position.error is not None:
            raise KafkaException(position.error)

    def begin_transaction() -> None:
        Producer({"bootstrap.servers": servers, "transactional.id": "t"}).init_transactions(60)

    return {
        "delete a topic": lambda: result(admin.delete_topics([NAMES.purchases])),
        "create a topic": lambda: result(admin.create_topics([NewTopic("theirs", 1, 1)])),
        "add partitions": lambda: result(
            admin.create_partitions([NewPartitions(NAMES.purchases, 9)])
        ),
        "delete records": lambda: result(admin.delete_records([position])),
        "alter a topic": lambda: result(admin.incremental_alter_configs([topic])),
        "see the broker's options": lambda: result(admin.describe_configs([broker])),
        "make rules": lambda: result(admin.create_acls(allow_everything())),
        "delete a group": lambda: result(admin.delete_consumer_groups([NAMES.processor_group])),
        "move the processor": move,
        "begin a transaction": begin_transaction,
        **{
            f"join {group}": partial(join, servers, group)
            for group in (NAMES.processor_group, NAMES.analytics_group("12345678"))
        },
    }


def join(servers: str, group: str) -> None:
    """Become a member of a group, which takes partitions away from others."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    consumer.subscribe([NAMES.purchases])
    try:
        message = consumer.poll(60)
        assert message is not None, "neither refused nor assigned"
        error = message.error()
        if error is not None:
            raise KafkaException(error)
    finally:
        consumer.close()


def test_a_stranger_may_send_purchases_read_topics_and_nothing_else(settings: Settings) -> None:
    """Also in a home that a release before made, whose records and address stay."""
    home = settings.home
    with released_broker(home):
        wait_until(lambda: serves(settings), 60, "the older Kafka does not serve")
        create_topics(settings, bootstrap_servers(settings))
        before = bootstrap_servers(settings)
        assert send(before, NAMES.purchases) is None
        assert send(before, NAMES.analytics) is None

    status = start_embedded_broker(settings, print)
    servers = str(status.bootstrap_servers)
    assert servers == before
    assert len(read_topic(servers, NAMES.purchases)) == 1
    assert send(servers, NAMES.purchases) is None
    assert send(servers, NAMES.purchases, **{"enable.idempotence": True}) is None
    for topic in topic_definitions(NAMES):
        read_topic(servers, topic)
    for topic in WRITES_OF_OURS:
        refused = send(servers, topic)
        assert refused is not None, topic
        assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, topic
    for name, attempt in attempts(servers).items():
        assert is_denied(attempt), name

    require_files_left(settings)
    assert start_embedded_broker(settings, print) == status, "a second start is not harmless"
    require_private(home)


def require_files_left(settings: Settings) -> None:
    """Fail if a stranger's connections end the broker, or what is connected.

    On the open listener they keep nobody of ours out; on the others nobody who is in.
    """
    raise_file_limit()
    identity = read_identity(settings.home)
    assert identity is not None
    connected = AdminClient(common_config(settings, bootstrap_servers(settings), "test"))
    connected.list_topics(timeout=120)
    with ExitStack() as held:
        hold(held, identity.port, MOST_CONNECTIONS["OPEN"] + 50)
        assert serves(settings), "a stranger's connections keep ours out"
        hold(held, identity.own_port, MOST_CONNECTIONS["SASL"])
        hold(held, identity.controller_port, MOST_CONNECTIONS["CONTROLLER"])
        assert connected.list_topics(timeout=120).brokers
    wait_until(lambda: serves(settings), 60, "who has left keeps ours out")


def hold(held: ExitStack, port: int, connections: int) -> None:
    """Hold connections to a port, as many as the broker takes."""
    for _ in range(connections):
        held.enter_context(socket.create_connection(("127.0.0.1", port), 60))


def require_private(home: Path) -> None:
    """Fail if `nobody` sees a name in the home, reads a file or locks one."""
    paths = [path for path in home.rglob("*") if "jars" not in path.parts]
    files = Home(home)
    secrets = [files.broker_identity, files.broker_properties, files.broker_client_properties]
    assert {*secrets, files.broker_lease} < set(paths)
    assert [path.stat().st_mode & 0o077 for path in secrets] == [0, 0, 0]
    with drop_privileges():
        assert os.geteuid() != 0
        for path in paths:
            with pytest.raises(PermissionError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
