"""Starting, finding and stopping the embedded broker of a home.

Alive means: the Java process holds the lease on `<home>/broker/lock`, whose descriptor it
inherited, so the kernel frees it at its death. Fetching jars and configuration live elsewhere.
"""

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from streaming.broker.config import HOST, properties_text, server_properties
from streaming.broker.jars import class_path, java
from streaming.errors import PurchasesError
from streaming.events.identifiers import topic_id_text
from streaming.system.disk_space import LEAST_FREE_BYTES, free_bytes
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder

START_SECONDS: Final = 60.0
JAVA_OPTIONS: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


class Remembered(Struct, frozen=True):
    """What a home remembers of its broker: the cluster's id and the ports, chosen once."""

    cluster_id: str
    port: int
    controller_port: int

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"{HOST}:{self.port}"


@dataclass(frozen=True)
class BrokerStatus:
    """How the broker of a home is; `starting` does not answer yet."""

    state: Literal["running", "starting", "stopped"]
    bootstrap_servers: str | None
    pid: int | None


def broker_status(home: Path) -> BrokerStatus:
    """Tell whether the broker of `home` runs, and where."""
    pid, remembered = holder(Home(home).broker_lease), _remembered(home)
    if not pid or remembered is None:
        return BrokerStatus("stopped", None, None)
    state: Literal["running", "starting"] = "running" if _listens(remembered.port) else "starting"
    return BrokerStatus(state, remembered.bootstrap_servers, pid)


def remembered_servers(home: Path) -> str | None:
    """Tell where the broker of `home` listens when it runs; None where it never ran.

    Raises `PurchasesError` where that was not written by this program.
    """
    remembered = _remembered(home)
    return None if remembered is None else remembered.bootstrap_servers


def start_broker(home: Path, progress: Callable[[str], None]) -> BrokerStatus:
    """Start the broker of `home` in the background, and wait until it serves.

    Harmless when it runs, or is being started. Raises `PurchasesError` saying why it cannot.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = broker_status(home)
        if status.state == "running":
            return status
        lease = None if status.state == "starting" else acquire(Home(home).broker_lease)
        if lease is not None:
            with lease:
                return _start(home, lease, progress)
        if time.monotonic() > deadline:
            raise PurchasesError(
                f"Another process has been starting the broker of {home} for"
                f" {START_SECONDS:.0f} s; see {Home(home).broker_log}."
            )
        time.sleep(0.1)


def stop_broker(home: Path, timeout: float = 8.0) -> bool:
    """Stop the broker of `home`: cleanly, and after `timeout` seconds with SIGKILL.

    Gives False where none ran. What was acknowledged survives both.
    """
    path = Home(home).broker_lease
    pid = holder(path)
    if not pid:
        return False
    deadline = time.monotonic() + timeout
    _send(pid, signal.SIGCONT)
    _send(pid, signal.SIGTERM)
    while holder(path) == pid and time.monotonic() < deadline:
        time.sleep(0.05)
    if holder(path) == pid:
        _send(pid, signal.SIGKILL)
        while holder(path) == pid:
            time.sleep(0.02)
    return True


def _start(home: Path, lease: Lease, progress: Callable[[str], None]) -> BrokerStatus:
    directory = Home(home).broker
    free = free_bytes(directory)
    if free < LEAST_FREE_BYTES:
        raise PurchasesError(
            f"The disk of {home} has {free // 2**20} MiB free, too little for Kafka's logs; free"
            f" {LEAST_FREE_BYTES // 2**20} MiB, or name another PURCHASES_HOME."
        )
    jars = class_path(home, progress)
    remembered = _require_own_cluster(home, _remembered(home) or _remember(home))
    for port in (remembered.port, remembered.controller_port):
        _require_free(port, home)
    properties = Home(home).broker_properties
    properties.write_text(
        properties_text(
            server_properties(Home(home).broker_data, remembered.port, remembered.controller_port)
        )
    )
    command = [str(java()), *JAVA_OPTIONS, "-cp", jars]
    if not (Home(home).broker_data / "meta.properties").exists():
        _format(command, remembered.cluster_id, properties)
    progress("Starting the Kafka broker ...")
    log = Home(home).broker_log
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            start_new_session=True,
            pass_fds=[lease.descriptor],
        )
    lease.hand_to(process.pid)
    _wait_until_serving(home, process, remembered)
    return BrokerStatus("running", remembered.bootstrap_servers, process.pid)


def _format(command: list[str], cluster_id: str, properties: Path) -> None:
    done = subprocess.run(
        [
            *command,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            f"--cluster-id={cluster_id}",
            "-c",
            str(properties),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise PurchasesError(f"Kafka's storage cannot be made in {properties.parent}: {reason[0]}")


def _wait_until_serving(
    home: Path, process: "subprocess.Popen[bytes]", remembered: Remembered
) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": remembered.bootstrap_servers, "log_level": 0})
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if _listens(remembered.port) and client.list_topics(timeout=1).brokers:
                return
        except KafkaException:
            pass
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
        process.wait()
        raise PurchasesError(
            f"Kafka did not serve within {START_SECONDS:.0f} s; see {Home(home).broker_log}."
        )
    log = Home(home).broker_log
    raise PurchasesError(f"Kafka died at its start: {_last_words(log)} See {log}.")


def _last_words(log: Path) -> str:
    """Find the line of the log that says why: the deepest cause, or the last error."""
    lines = log.read_text(errors="replace").splitlines()
    if any("No space left on device" in line for line in lines):
        return "no space left on device; free some."
    told = [line for line in lines if line.startswith("Caused by:")]
    told = told or [line for line in lines if "ERROR" in line or "Exception" in line] or lines
    return f"{told[-1].strip()[:300]}." if told else "it said nothing."


def _remembered(home: Path) -> Remembered | None:
    path = Home(home).broker_identity
    try:
        return msgspec.json.decode(path.read_bytes(), type=Remembered)
    except FileNotFoundError:
        return None
    except ValueError:
        raise PurchasesError(
            f"{path} is not what this program wrote; remove it, and new ports are chosen."
        ) from None


def _remember(home: Path) -> Remembered:
    """Choose free ports once, and a cluster id unless the data has one already."""
    cluster_id = _data_cluster_id(home) or topic_id_text(uuid.uuid4().bytes)
    with socket.socket() as first, socket.socket() as second:
        first.bind((HOST, 0))
        second.bind((HOST, 0))
        remembered = Remembered(cluster_id, first.getsockname()[1], second.getsockname()[1])
    temporary = Home(home).broker / "broker.json.partial"
    temporary.write_bytes(msgspec.json.encode(remembered))
    temporary.replace(Home(home).broker_identity)
    return remembered


def _require_own_cluster(home: Path, remembered: Remembered) -> Remembered:
    found = _data_cluster_id(home)
    if found is not None and found != remembered.cluster_id:
        raise PurchasesError(
            f"The data in {Home(home).broker_data} is of cluster {found}, but {home} belongs to"
            f" cluster {remembered.cluster_id}; put the right data back, or name another"
            " PURCHASES_HOME."
        )
    return remembered


def _data_cluster_id(home: Path) -> str | None:
    path = Home(home).broker_data / "meta.properties"
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "cluster.id":
            return value.strip()
    return None


def _require_free(port: int, home: Path) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PurchasesError(
                f"Port {port}, which the broker of this home uses, is taken by another program;"
                f" end that one, or remove {Home(home).broker_identity} to choose other ports."
            ) from None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
