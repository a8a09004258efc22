"""The embedded broker from outside: started, found, killed, stopped, and what stands in its way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streaming.broker import embedded
from streaming.broker.config import retention_properties
from streaming.broker.embedded import start_broker
from streaming.broker.identity import BrokerIdentity
from streaming.broker.jars import class_path, user_cache
from streaming.errors import PurchasesError
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import Config, common_config, read_client_properties
from streaming.kafka.names import Names
from streaming.kafka.topic_options import read_options, retention
from streaming.kafka.topics import topic_definitions
from streaming.settings import Settings
from streaming.system.home import Home
from tests.conftest import bring_jars
from tests.deployment import read_topic
from tests.in_process import run_here
from tests.support import wait_until

RECORDS = 500
WITHOUT_NETWORK = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")


class BrokerHome:
    """A home, and commands on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
        # In the locale C, Java takes each byte beyond ASCII for a question mark.
        self.environment = {**clean, "LC_ALL": "C", "PURCHASES_HOME": str(path)}

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, in this process."""
        return run_here("streaming", arguments, {**self.environment, **more})

    def start(self, *prefix: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Start the broker by a process of its own, which the words of `prefix` run."""
        return subprocess.run(
            [*prefix, sys.executable, "-m", "streaming", "broker", "start"],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def expect_refusal(self, *arguments: str, **more: str) -> str:
        """Run a command that must fail with exit code 1 and one sentence; give that."""
        return sentence_of(self.run(*arguments, **more))

    def status(self) -> dict[str, object]:
        """Return what `broker status --json` prints."""
        done = run_here("streaming", ("broker", "status", "--json"), self.environment)
        status: dict[str, object] = json.loads(done.stdout)
        return status


def sentence_of(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the one sentence of a command that must have failed with exit code 1."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.endswith("...")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def home(jars: Path, tmp_path: Path) -> Iterator[BrokerHome]:
    """A home with Kafka's jars, at a path that Java reads amiss; nothing of it runs at the end."""
    path = tmp_path / "Geschäft, Kasse:3 = 100 % größer\\n店"
    path.mkdir()
    bring_jars(jars, path)
    made = BrokerHome(path)
    yield made
    made.run("broker", "stop")


def dead_letter_share(home: BrokerHome) -> object:
    """Return what `status` says of the disk that the dead letters take."""
    done = run_here("streaming", ("status", "--json"), home.environment)
    return json.loads(done.stdout)["broker"]["dead_letter_share"]


def send(login: Config, topic: str) -> None:
    """Send records, all of which must be acknowledged."""
    producer = Producer({**login, "acks": "all"})
    failed: list[object] = []
    for number in range(RECORDS):
        producer.produce(
            topic, b"%d" % number, on_delivery=lambda e, _: failed.append(e) if e else None
        )
    assert producer.flush(60) == 0
    assert not failed


def test_it_keeps_what_was_acknowledged_its_address_and_its_cluster_through_sigkill(
    home: BrokerHome,
) -> None:
    """Start closed, start again, kill -9, start open: the same broker and records; then a stop."""
    settings = Settings(home=home.path)
    assert home.status()["state"] == "stopped"
    assert home.start(PURCHASES_BROKER_OPEN="off").returncode == 0
    first = home.status()
    assert (first["state"], first["bootstrap_servers"]) == ("running", None)
    pid, file = int(str(first["pid"])), Path(str(first["client_properties"]))
    assert home.run("broker", "start", PURCHASES_BROKER_OPEN="off").returncode == 0
    assert home.status() == first, "a second start is not harmless"
    assert "PURCHASES_BROKER_OPEN" in home.expect_refusal("broker", "start")
    servers = bootstrap_servers(settings)
    require_only_by_login(pid, servers)
    assert home.run("topics", "create").returncode == 0
    login = common_config(settings, servers, "test")
    send(login, "purchases")
    assert (home.path / "broker" / "data" / "purchases-0").is_dir()
    cluster = AdminClient(login).list_topics(timeout=60).cluster_id

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: home.status()["state"] == "stopped", 60, "SIGKILL did not end it")
    assert "No broker runs" in home.expect_refusal("topics", "list")
    assert home.run("broker", "start").returncode == 0
    again = home.status()
    assert again["pid"] != pid
    assert read_client_properties(file)["bootstrap.servers"] == servers
    assert bootstrap_servers(settings) == servers
    admin = AdminClient(login)
    assert admin.list_topics(timeout=60).cluster_id == cluster
    assert len(read_topic(str(again["bootstrap_servers"]), "purchases")) == RECORDS
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    configuration = admin.describe_configs([resource])[resource].result(60)
    assert configuration["offsets.retention.minutes"].value == "525600"
    topics = list(topic_definitions(Names()))
    bound = int(retention_properties(shutil.disk_usage(home.path).total)["log.retention.bytes"])
    sizes = {retention(options).size for options in read_options(admin, topics).values()}
    assert sizes == {bound}
    # A status waits a moment for the topics' options, and leaves the share out without them.
    wait_until(lambda: dead_letter_share(home) == 0.0, 60, "the share is not known")

    assert home.run("broker", "stop").returncode == 0
    assert home.status()["state"] == "stopped"
    assert home.run("broker", "stop").returncode == 0, "a second stop is not harmless"


def require_only_by_login(pid: int, servers: str) -> None:
    """Fail if the broker listens beyond this host, or answers who has no password or another."""
    listening = [c for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"]
    assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
    user = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    addresses = {f"127.0.0.1:{connection.laddr.port}" for connection in listening}
    assert servers in addresses
    for address in addresses:
        stranger: Config = {"bootstrap.servers": address, "log_level": 0}
        for login in ({}, {**user, "sasl.username": "purchases", "sasl.password": "guess"}):
            with pytest.raises(KafkaException):
                AdminClient({**stranger, **login}).list_topics(timeout=1)


def test_a_home_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """Java cannot open it, and would look for another directory."""
    with pytest.raises(PurchasesError, match="is not UTF-8"):
        start_broker(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), print)


def test_a_port_that_is_taken_is_named_with_its_remedy(home: BrokerHome) -> None:
    """The remembered port is kept, as clients know it; so somebody has to decide."""
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        remembered = BrokerIdentity("x" * 22, port, other.getsockname()[1])
        (home.path / "broker" / "broker.json").write_bytes(msgspec.json.encode(remembered))
        sentence = home.expect_refusal("broker", "start")
    assert f"Port {port}" in sentence
    assert "broker.json" in sentence


def test_too_few_open_files_are_named_with_their_remedy(home: BrokerHome) -> None:
    """A frame of a Java stack says nothing to whoever has set the limit."""
    done = home.start("/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    assert "allow more, such as with `ulimit -n 4096`" in sentence_of(done)


def test_data_of_another_cluster_is_refused(home: BrokerHome) -> None:
    """Data that was copied from elsewhere would be served under a wrong name."""
    remembered = BrokerIdentity("AAAAAAAAAAAAAAAAAAAAAA", 1, 2)
    (home.path / "broker" / "broker.json").write_bytes(msgspec.json.encode(remembered))
    data = home.path / "broker" / "data"
    data.mkdir()
    (data / "meta.properties").write_text("cluster.id=BBBBBBBBBBBBBBBBBBBBBB\n")
    sentence = home.expect_refusal("broker", "start")
    assert "AAAAAAAAAAAAAAAAAAAAAA" in sentence
    assert "BBBBBBBBBBBBBBBBBBBBBB" in sentence


def test_a_disk_with_too_little_space_is_refused_before_anything_is_written(
    home: BrokerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk has is compared with a need that no disk meets."""
    monkeypatch.setattr(embedded, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(PurchasesError, match="MiB free"):
        start_broker(home.path, print)
    assert not (home.path / "broker" / "data").exists()


def test_without_a_registry_the_first_start_says_what_it_needs(home: BrokerHome) -> None:
    """No jars, and no way to fetch them."""
    (home.path / "broker" / "jars").unlink()
    sentence = home.expect_refusal(
        "broker", "start", **WITHOUT_NETWORK, XDG_CACHE_HOME=str(home.path)
    )
    assert "Maven Central" in sentence
    assert "PURCHASES_BOOTSTRAP_SERVERS" in sentence


def test_a_jar_that_was_changed_is_not_used(home: BrokerHome) -> None:
    """Its sum is not the recorded one, so it is fetched again, which fails here."""
    jars = home.path / "broker" / "jars"
    shared = jars.resolve()
    jars.unlink()
    shutil.copytree(shared, jars)
    jar = next(jars.glob("kafka_2.13-*.jar"))
    content = bytearray(jar.read_bytes())
    content[len(content) // 2] ^= 1
    jar.write_bytes(content)
    home.expect_refusal("broker", "start", **WITHOUT_NETWORK, XDG_CACHE_HOME=str(home.path))
    assert home.status()["state"] == "stopped"


def test_a_second_home_of_a_user_gets_the_jars_without_a_network(
    jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the user's cache; a changed jar there is not used, and a foreign directory neither."""
    for name, value in {**WITHOUT_NETWORK, "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    cache = user_cache()
    assert cache is not None
    shutil.copytree(jars, cache)
    said: list[str] = []
    names = class_path(tmp_path / "one", said.append).split(os.pathsep)
    assert said == []
    assert {path.name for path in Home(tmp_path / "one").jars.iterdir()} == {
        Path(name).name for name in names
    }
    next(cache.glob("kafka_2.13-*.jar")).write_bytes(b"no jar")
    with pytest.raises(PurchasesError, match="Maven Central"):
        class_path(tmp_path / "two", said.append)
    assert said == ["Fetching Apache Kafka 4.3.1 (42 MB, once for all homes) ..."]
    if os.geteuid() == 0:
        os.chown(tmp_path, 65_534, 65_534)
        assert user_cache() is None


def test_with_a_broker_of_ones_own_none_is_started(home: BrokerHome) -> None:
    """Two brokers would be one too many, and nobody would notice which one is used."""
    done = home.run("broker", "start", PURCHASES_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (home.path / "broker" / "data").exists()
