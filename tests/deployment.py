"""A deployment as tests run it: its home, its commands as processes, its database and topics."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streaming.settings import Settings
from streaming.store.connection import StoreConnection, store_exists
from streaming.system.home import Home
from streaming.system.lease import holder
from tests import drain
from tests.databases import change, read_rows, store_variables, validated_settings
from tests.in_process import run_here
from tests.support import BUSY_FACTOR, wait_until


@dataclass(frozen=True)
class Deployment:
    """One deployment of a test: its own namespace on the session's broker, its own home."""

    home: Path
    bootstrap_servers: str
    namespace: str
    more: dict[str, str] = field(default_factory=dict)
    module: str = "streaming"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this deployment's commands."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
        return {
            **clean,
            "PYTHONFAULTHANDLER": "1",
            "PURCHASES_HOME": str(self.home),
            "PURCHASES_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "PURCHASES_NAMESPACE": self.namespace,
            **self._variables,
        }

    @property
    def settings(self) -> Settings:
        """The settings that its commands read."""
        variables = self._variables.items()
        more = {name.removeprefix("PURCHASES_").lower(): v for name, v in variables}
        return validated_settings(
            {
                "home": self.home,
                "bootstrap_servers": self.bootstrap_servers,
                "namespace": self.namespace,
                **more,
            }
        )

    @property
    def _variables(self) -> dict[str, str]:
        """What else its commands have in their environment: its database, and what a test added."""
        own = {} if "PURCHASES_DATABASE_URL" in self.more else store_variables(self.home)
        return {**own, **self.more}

    def whole(self) -> "Deployment":
        """Return the same, by the whole command line: the batch half too."""
        return replace(self, module="orchestration.cli.main")

    def topic(self, name: str) -> str:
        """Return a topic's full name."""
        return f"{self.namespace}.{name}"

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command to its end: in this process, unless it has child processes of its own.

        The start of a process costs more than most commands.
        """
        if arguments[0] not in {"process", "analyze"}:
            return run_here(self.module, arguments, self.environment)
        return subprocess.run(
            [sys.executable, "-m", self.module, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def succeed(self, *arguments: str, timeout: float = 300) -> str:
        """Run a command that must exit with 0; give what it printed."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def create_topics(self) -> None:
        """Create its topics: a broker that many tests share may be slower than a command waits."""
        wait_until(lambda: self.run("topics", "create").returncode == 0, 60, "there are no topics")

    def process(self) -> None:
        """Let the processor do in this process what is there."""
        drain.process(self.settings)

    def analyze(self) -> None:
        """Let the consumer do in this process what is there."""
        drain.analyze(self.settings)

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Keep a command running; SIGTERM ends it, and it must then leave."""
        log = (self.home / f"{arguments[0]}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", self.module, *arguments],
            env=self.environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                # Its stack goes to its log, which is shown with the failed test.
                process.send_signal(signal.SIGABRT)
                process.wait(120)
                raise
            finally:
                process.kill()
                log.close()

    def worker_pid(self, app: str, slot: int = 0) -> int | None:
        """Return the process id of a slot's worker, if one holds its lease."""
        return holder(Home(self.home).worker_lease(app, slot))

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Query the database."""
        return read_rows(self.settings, statement, *parameters)

    def writing(self) -> AbstractContextManager[StoreConnection]:
        """Change the database by hand, in a transaction."""
        return change(self.settings)

    def count(self, table: str) -> int:
        """Count the rows of a table; 0 before there is a database."""
        if not store_exists(self.settings):
            return 0
        return int(str(self.rows(f"SELECT count(*) FROM {table}")[0][0]))

    def read_topic(self, name: str) -> list[Message]:
        """Read a topic from its beginning to its end, committed records only."""
        return read_topic(self.bootstrap_servers, self.topic(name))


def read_topic(bootstrap_servers: str, topic: str) -> list[Message]:
    """Read all committed records of a topic, partition by partition in their order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"reader-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages: list[Message] = []
    ended: set[int] = set()
    deadline = time.monotonic() + 60 * BUSY_FACTOR
    while len(ended) < len(partitions) and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.2):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
    consumer.close()
    assert len(ended) == len(partitions), f"{topic} could not be read to its end"
    return sorted(messages, key=lambda m: (m.partition(), m.offset()))
