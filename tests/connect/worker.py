"""A worker of Kafka Connect, with the configuration of docs/connect and Debezium's connectors."""

import json
import os
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streaming.broker.jars import java
from tests.java_archive import OPTIONS, class_path_in
from tests.maven import fetch_files
from tests.support import free_port, wait_until

CONFIGURATION = Path(__file__).parents[2] / "docs" / "connect"
FETCHED = Path(__file__).with_name("jars.sha256")
DRIVERS = ("mssql-jdbc", "mysql-connector", "mariadb-java", "ojdbc")
"""Of the sink for databases that no test has: a third of its jars' size."""
JAVA_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"
START_SECONDS = 120.0


@dataclass(frozen=True)
class Worker:
    """What a worker runs in `directory`: `environment` is what the files of docs/connect name.

    `connectors` has what is changed in each connector's file.
    """

    jars: Path
    directory: Path
    environment: Mapping[str, str]
    connectors: Mapping[str, Mapping[str, str]]
    java: Path = field(default_factory=java)


@dataclass(frozen=True)
class Connect:
    """A worker that runs, and where its REST is."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def ask(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the answer of its REST."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=120) as answer:  # noqa: S310 - ours
            return json.load(answer)

    def put(self, path: str, body: object) -> None:
        """Send a body to its REST."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{self.url}{path}", json.dumps(body).encode(), headers, method="PUT"
        )
        urllib.request.urlopen(request, timeout=120).close()  # noqa: S310 - likewise

    def states(self) -> dict[str, list[str]]:
        """Return the states of the tasks of each connector; a failed one fails the test."""
        status = self.ask("/connectors?expand=status")
        tasks = {name: each["status"]["tasks"] for name, each in status.items()}
        failed = [task["trace"] for each in tasks.values() for task in each if "trace" in task]
        assert not failed, failed
        return {name: [task["state"] for task in each] for name, each in tasks.items()}


def unpack_plugins(directory: Path) -> None:
    """Unpack the connectors, each into a directory of its own."""
    for archive in fetch_files(FETCHED):
        if archive.suffix == ".gz":
            with tarfile.open(archive) as packed:
                names = [m for m in packed if not Path(m.name).name.startswith(DRIVERS)]
                packed.extractall(directory, names, filter="data")


def connector(name: str, changes: Mapping[str, str]) -> dict[str, str]:
    """Return a connector's configuration, in part changed."""
    read: dict[str, str] = json.loads((CONFIGURATION / f"{name}.json").read_text())
    assert changes.keys() <= read.keys()
    return {**read, **changes}


@contextmanager
def running_connect(worker: Worker) -> Iterator[Connect]:
    """Run the worker until SIGKILL ends it; a later one goes on where it was."""
    port, directory = free_port(), worker.directory
    files = [f"{name}.json" for name in worker.connectors]
    for name, changes in worker.connectors.items():
        (directory / f"{name}.json").write_text(json.dumps(connector(name, changes)))
    # Of two lines with one name Java takes the last.
    changed = f"\nlisteners=http://127.0.0.1:{port}\noffset.flush.interval.ms=500\n"
    properties = directory / "worker.properties"
    properties.write_text((CONFIGURATION / properties.name).read_text() + changed)
    fetched = [str(file) for file in fetch_files(FETCHED) if file.suffix == ".jar"]
    classes = ":".join([class_path_in(worker.jars), *fetched])
    log = directory / "connect.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(worker.java), *JAVA_OPTIONS, "-cp", classes, MAIN, properties.name, *files],
            cwd=directory,
            # The archive of classes is for Kafka's jars alone.
            env={**os.environ, **worker.environment, OPTIONS: ""},
            stdout=output,
            stderr=output,
        )
    try:
        made = Connect(process, f"http://127.0.0.1:{port}", log)
        names = set(worker.connectors)
        wait_until(lambda: _runs(made, names), START_SECONDS, "Connect does not work")
        yield made
    finally:
        process.kill()
        process.wait()


def _runs(connect: Connect, names: set[str]) -> bool:
    """Return whether the REST answers, and all connectors have tasks that run."""
    assert connect.process.poll() is None, connect.log.read_text()[-4_000:]
    try:
        states = connect.states()
    except OSError:
        return False
    return states.keys() == names and all(each == ["RUNNING"] for each in states.values())
