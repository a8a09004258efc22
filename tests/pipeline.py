"""The whole stream as tests run it: its processes, what was acknowledged, and the one oracle.

The oracle reads the topics and the database by itself and shares no code with the apps.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from streaming.settings import Settings
from streaming.system.lease import holder
from tests.support import wait_until


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
            **self.more,
        }

    @property
    def settings(self) -> Settings:
        """The settings that its commands read."""
        return Settings(
            home=self.home, bootstrap_servers=self.bootstrap_servers, namespace=self.namespace
        )

    def whole(self) -> "Deployment":
        """Give the same, by the whole command line: the batch half too."""
        return replace(self, module="orchestration.cli.main")

    def topic(self, name: str) -> str:
        """Give a topic's full name."""
        return f"{self.namespace}.{name}"

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", self.module, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def succeed(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command that must exit with 0; give what it printed."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Keep a command running; SIGTERM ends it, and it must then leave within 10 s."""
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
                process.wait(10)
            except subprocess.TimeoutExpired:
                # Its stack goes to its log, which is shown with the failed test.
                process.send_signal(signal.SIGABRT)
                process.wait(10)
                raise
            finally:
                process.kill()
                log.close()

    def worker_pid(self, app: str, slot: int = 0) -> int | None:
        """Give the process id of a slot's worker, if one holds its lease."""
        return holder(self.home / "workers" / f"{app}-{slot}.lock")

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Query the database."""
        with closing(sqlite3.connect(f"file:{self.home / 'purchases.db'}?mode=ro", uri=True)) as c:
            return list(c.execute(statement, parameters))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Change the database by hand, in a transaction."""
        with closing(sqlite3.connect(self.home / "purchases.db")) as store, store:
            yield store

    def count(self, table: str) -> int:
        """Count the rows of a table; 0 before there is a database."""
        if not (self.home / "purchases.db").exists():
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
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    found: list[Message] = []
    ended: set[int] = set()
    deadline = time.monotonic() + 60
    while len(ended) < len(partitions) and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.2):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
    consumer.close()
    assert len(ended) == len(partitions), f"{topic} could not be read to its end"
    return sorted(found, key=lambda m: (m.partition(), m.offset()))


@dataclass
class Sent:
    """What was handed to Kafka, and what of it was acknowledged.

    Of what is `unknown` Kafka has not said whether it is in the log: by event id, or by value.
    """

    good: dict[str, str] = field(default_factory=dict)
    bad: set[bytes] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unknown_bad: set[bytes] = field(default_factory=set)


class Load:
    """Sends purchases at a rate from a thread; every acknowledged one is remembered."""

    def __init__(
        self, deployment: Deployment, rate: float, bad_share: float = 0.01, users: int = 50
    ) -> None:
        self.sent = Sent()
        self.count = 0
        self._deployment = deployment
        self._rate, self._bad_share, self._users = rate, bad_share, users
        self._random = random.Random(7)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="load")
        self._sequence: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the load did not end"

    def _send(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._deployment.bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
            }
        )
        start = time.monotonic()
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - start) * self._rate)
            for _ in range(due - self.count):
                self._send_one(producer)
            producer.poll(0)
        producer.flush(60)

    def _send_one(self, producer: Producer) -> None:
        self.count += 1
        user = f"user-{self._random.randrange(self._users)}"
        self._sequence[user] += 1
        bad = self._random.random() < self._bad_share
        event_id = str(uuid.uuid4())
        value = json.dumps(
            {
                "event_id": event_id,
                "user": user,
                "item": f"item-{self._random.randrange(20)}",
                "timestamp": int(time.time() * 1000),
                "quantity": 0 if bad else self._random.randrange(1, 5),
                "unit_price": "1.25",
                "order_id": f"{self._sequence[user]:09d}",
            }
        ).encode()

        def acknowledge(error: KafkaError | None, _message: Message) -> None:
            if error is not None and bad:
                self.sent.unknown_bad.add(value)
            elif error is not None:
                self.sent.unknown.add(event_id)
            elif bad:
                self.sent.bad.add(value)
            else:
                self.sent.good[event_id] = user

        producer.produce(
            self._deployment.topic("purchases"), value, user.encode(), on_delivery=acknowledge
        )


def wait_until_quiet(deployment: Deployment, sent: Sent, deadline: float = 60) -> None:
    """Wait until the database has as many events and dead letters as were acknowledged."""

    def arrived() -> bool:
        try:
            events = deployment.count("analytics_event")
            letters = deployment.count("dead_letter")
        except sqlite3.OperationalError:
            return False
        return events >= len(sent.good) and letters >= len(sent.bad)

    wait_until(arrived, deadline, "not all acknowledged purchases arrived in the database")


def require_exactly_once(deployment: Deployment, sent: Sent) -> None:
    """Acknowledged = stored ∪ dead-lettered, disjoint, each once, order per key kept.

    What is unknown may be there or not, but once.
    """
    stored = {str(row[0]) for row in deployment.rows("SELECT event_id FROM analytics_event")}
    assert set(sent.good) <= stored, "an acknowledged purchase is not stored"
    assert stored <= set(sent.good) | sent.unknown, "something is stored that was not sent"
    letters = deployment.read_topic("purchases.dlq")
    values = Counter(letter.value() or b"" for letter in letters)
    assert sent.bad <= set(values), "an acknowledged refusal is not dead-lettered"
    assert set(values) <= sent.bad | sent.unknown_bad, "something else is dead-lettered"
    assert max(values.values(), default=1) == 1, "a refused record was dead-lettered twice"
    published = Counter(
        json.loads(message.value() or b"")["event_id"]
        for message in deployment.read_topic("analytics")
    )
    assert set(published) == stored
    assert max(published.values(), default=1) == 1, "an event was published twice"
    rows = deployment.rows("SELECT count(*) FROM dead_letter WHERE state = 'open'")
    assert rows == [(len(values),)]
    require_order_per_user(deployment)
    require_figures_agree(deployment)


def require_order_per_user(deployment: Deployment) -> None:
    """Each user's orders stand on `analytics` in the order in which they were sent."""
    rows = deployment.rows(
        "SELECT user, order_id FROM analytics_event ORDER BY stream_partition, stream_offset"
    )
    last: dict[object, str] = {}
    for user, order in rows:
        assert str(order) > last.get(user, ""), f"{user}'s orders are out of order"
        last[user] = str(order)


def require_figures_agree(deployment: Deployment) -> None:
    """Live totals and day ledger are the sums of the stored events."""
    sums = "SELECT count(*), sum(quantity), sum(coalesce(amount_micros, 0)) FROM analytics_event"
    totals = "SELECT events, items_sold, net_revenue_micros FROM live_totals"
    ledger = "SELECT sum(events), sum(items_sold), sum(net_revenue_micros) FROM day_ledger"
    items = "SELECT sum(events), sum(items_sold), sum(net_revenue_micros) FROM live_item_totals"
    expected = deployment.rows(sums)
    if expected[0][0] == 0:
        assert deployment.count("live_totals") == deployment.count("day_ledger") == 0
        return
    assert deployment.rows(totals) == expected
    assert deployment.rows(ledger) == expected
    assert deployment.rows(items) == expected


def kill_workers(
    deployment: Deployment,
    apps: list[str],
    times: int,
    still_useful: Callable[[], bool],
    signal_number: int = signal.SIGKILL,
) -> Counter[str]:
    """Kill each app's worker `times` times at random moments, each time a newly started one."""
    chance = random.Random(11)
    killed: Counter[str] = Counter()
    last: dict[str, int] = {}
    while sum(killed.values()) < times * len(apps):
        app = chance.choice([app for app in apps if killed[app] < times])

        def next_pid(app: str = app) -> bool:
            pid = deployment.worker_pid(app)
            return bool(pid) and pid != last.get(app)

        wait_until(next_pid, 30, f"the {app} was not started again")
        pause = threading.Event()
        pause.wait(chance.uniform(0.1, 1.6))
        pid = deployment.worker_pid(app)
        if pid and still_useful():
            os.kill(pid, signal_number)
            last[app] = pid
            killed[app] += 1
    return killed
