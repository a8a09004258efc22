"""Brokers of a test's own, each behind a proxy: to be killed, stopped, cut off, started again."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.broker.config import properties_text, server_properties
from streaming.broker.embedded import JAVA_OPTIONS
from streaming.broker.identity import free_ports
from streaming.broker.jars import java
from tests.faults.proxy import Proxy
from tests.java_archive import class_path_in
from tests.support import wait_until

CLUSTER_ID = "ZmF1bHRzLWNsdXN0ZXItaQ"
BOOTSTRAP = "bootstrap.checkpoint"
DIRECTORY_IDS = ("YWFhYWFhYWFhYWFhYWFhYQ", "YmJiYmJiYmJiYmJiYmJiYg", "Y2NjY2NjY2NjY2NjY2NjYw")


@dataclass
class Node:
    """One broker that is controller too, its process, and the proxy that clients go through."""

    number: int
    port: int
    controller_port: int
    properties: Path
    command: list[str]
    proxy: Proxy
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start its process."""
        with self.properties.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "kafka.Kafka", str(self.properties)], stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Cluster:
    """The nodes; clients know them by their proxies."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return ",".join(f"127.0.0.1:{node.proxy.port}" for node in self.nodes)

    def serves(self) -> bool:
        """Return whether all brokers are known to a client."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return len(admin.list_topics(timeout=10).brokers) == len(self.nodes)
        except KafkaException:
            return False

    def leader_of(self, topic: str, partition: int = 0) -> Node:
        """Return the node that leads a partition; waits for the end of an election."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        leading: list[Node] = []

        def is_led() -> bool:
            described = admin.list_topics(topic, timeout=60).topics[topic].partitions[partition]
            leading[:] = [node for node in self.nodes if node.number == described.leader]
            return bool(leading)

        wait_until(is_led, 60, f"nobody leads {topic}-{partition}")
        return leading[0]


def nothing_more(_node: Node) -> dict[str, str]:
    """Return no property beyond those that all nodes have."""
    return {}


@contextmanager
def running_cluster(
    jars: Path,
    directory: Path,
    number: int,
    more: Callable[[Node], dict[str, str]] = nothing_more,
) -> Iterator[Cluster]:
    """Format and run brokers for as long as a test needs them; with three, everything is on all.

    `more` are properties of a node in place of the usual ones.
    """
    directory.mkdir()
    command, bootstrap = _java_command(jars), _bootstrap_records(jars)
    ports = free_ports(2 * number)
    controllers = ports[number:]
    with ExitStack() as ending:
        cluster = Cluster()
        for index in range(number):
            proxy = ending.enter_context(Proxy(ports[index]))
            path = directory / f"node{index + 1}.properties"
            node = Node(index + 1, ports[index], controllers[index], path, command, proxy)
            properties = _properties(node, directory, controllers) | more(node)
            path.write_text(properties_text(properties))
            _format(node, directory, bootstrap)
            cluster.nodes.append(node)
            ending.callback(_end, node)
            node.start()
        wait_until(cluster.serves, 90, "the cluster does not serve")
        yield cluster


def _properties(node: Node, directory: Path, controllers: list[int]) -> dict[str, str]:
    copies = str(len(controllers))
    return server_properties(directory / f"data{node.number}", node.controller_port) | {
        "node.id": str(node.number),
        "listeners": (
            f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}"
        ),
        **_voters(controllers),
        "advertised.listeners": (
            f"PLAINTEXT://127.0.0.1:{node.proxy.port},CONTROLLER://127.0.0.1:{node.controller_port}"
        ),
        "default.replication.factor": copies,
        "min.insync.replicas": str(min(len(controllers), 2)),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": str(min(len(controllers), 2)),
        "broker.session.timeout.ms": "3000",
        "log.cleaner.dedupe.buffer.size": "4194304",
    }


def _voters(controllers: list[int]) -> dict[str, str]:
    voters = (f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, start=1))
    return {"controller.quorum.voters": ",".join(voters)}


def _format(node: Node, directory: Path, bootstrap: bytes) -> None:
    """Write what Kafka's tool writes into a node's storage, without the start of a Java for it."""
    data = directory / f"data{node.number}"
    data.mkdir()
    (data / BOOTSTRAP).write_bytes(bootstrap)
    properties = {
        "version": "1",
        "cluster.id": CLUSTER_ID,
        "node.id": str(node.number),
        "directory.id": DIRECTORY_IDS[node.number - 1],
    }
    (data / "meta.properties").write_text(properties_text(properties))


@cache
def _bootstrap_records(jars: Path) -> bytes:
    """Return the features that Kafka's tool gives to new clusters, the same for all nodes."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "node.properties"
        own = {"listeners": "CONTROLLER://127.0.0.1:1", "process.roles": "controller"}
        properties = server_properties(directory / "data", 1) | own | _voters([1])
        path.write_text(properties_text(properties))
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]
        words = [*_java_command(jars), *tool, "-c", str(path)]
        subprocess.run(words, check=True, capture_output=True)
        return (directory / "data" / BOOTSTRAP).read_bytes()


def _java_command(jars: Path) -> list[str]:
    return [str(java()), *JAVA_OPTIONS, "-cp", class_path_in(jars)]


def _end(node: Node) -> None:
    if node.process is not None and node.process.poll() is None:
        node.send(signal.SIGCONT)
        node.process.kill()
        node.process.wait()
