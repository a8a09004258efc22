"""The embedded broker of a home: its start, its status and its stop.

It lives while its Java process holds the lease `<home>/broker/lock`: the process inherited the
descriptor, so the kernel frees the lease at its death. The jars are in `jars`, cluster id and ports
in `identity`, the configuration in `config`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from streaming.broker.config import (
    listener_properties,
    properties_text,
    retention_properties,
    server_properties,
)
from streaming.broker.identity import HOST, BrokerIdentity, read_identity, require_identity
from streaming.broker.jars import class_path, java
from streaming.errors import PurchasesError
from streaming.settings import outer_environment
from streaming.system.child_process import start_child, stop_child
from streaming.system.disk_space import LEAST_FREE_BYTES, free_bytes
from streaming.system.files import replace_file
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder
from streaming.system.log_writer import start_log_writer
from streaming.system.privacy import keep_private

START_SECONDS: Final = 180.0
"""A start takes 3 s on a quiet machine; a loaded one, or a long recovery of logs, takes longer."""
WRITER_SECONDS: Final = 5.0
"""The rest of the log is written in milliseconds."""
JAVA_OPTIONS: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # One compiler alone starts in half the time, at a lower peak speed (docs/decisions/0002).
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
START_FAILURES: Final = {
    "No space left on device": "no space left on device; free some.",
    "Too many open files": (
        "this user may open too few files at once; allow more, such as with `ulimit -n 4096`."
    ),
}
"""What Java says somewhere in its log, and what to say instead."""
UNICODE: Final = {"LC_ALL": "C.UTF-8"}
"""In the locale C, Java cannot name a working directory whose path is not ASCII."""


@dataclass(frozen=True)
class BrokerStatus:
    """The state of a home's broker; one that is `starting` does not answer yet.

    `bootstrap_servers` is where anybody may connect, None if nobody may. `client_properties` is the
    file with which a client logs in.
    """

    state: Literal["running", "starting", "stopped"]
    bootstrap_servers: str | None
    pid: int | None
    client_properties: str | None = None


def broker_status(home: Path) -> BrokerStatus:
    """Return whether the broker of `home` runs, and where."""
    pid, identity = holder(Home(home).broker_lease), read_identity(home)
    if not pid or identity is None:
        return BrokerStatus("stopped", None, None)
    is_up = _listens(identity.own_port or identity.port)
    return _status("running" if is_up else "starting", home, identity, pid)


def start_broker(
    home: Path, progress: Callable[[str], None], *, is_open: bool = True
) -> BrokerStatus:
    """Start the broker of `home` in the background, and wait until it serves who logs in.

    A broker that runs, or is being started, is returned. What anybody may do on its open
    listener, if it `is_open`, is to be said afterwards (`kafka.open_listener`). Raises
    `PurchasesError` with the reason.
    """
    keep_private(home)
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = broker_status(home)
        if status.state == "running":
            return _require_openness(home, status, is_open=is_open)
        # Of two processes that start it at once the lease decides; the other waits for the first.
        lease = None if status.state == "starting" else acquire(Home(home).broker_lease)
        if lease is not None:
            with lease:
                # Java inherits the lease: leaving this block frees only our own share of it.
                return _start(home, lease, progress, is_open=is_open)
        if time.monotonic() > deadline:
            raise PurchasesError(
                f"Another process has been starting the broker of {home} for"
                f" {START_SECONDS:.0f} s; see {Home(home).broker_log}."
            )
        time.sleep(0.1)


def stop_broker(home: Path, timeout: float = 8.0) -> bool:
    """Stop the broker of `home`: cleanly, and after `timeout` seconds with SIGKILL.

    Returns False if none ran. Acknowledged records survive both.
    """
    path = Home(home).broker_lease
    pid = holder(path)
    if not pid:
        return False
    deadline = time.monotonic() + timeout
    # A stopped process would not hear SIGTERM.
    _send(pid, signal.SIGCONT)
    _send(pid, signal.SIGTERM)
    while holder(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Asked each time, because a broker takes the lease over from who started it.
    while pid := holder(path):
        _send(pid, signal.SIGKILL)
        time.sleep(0.02)
    return True


def _require_openness(home: Path, status: BrokerStatus, *, is_open: bool) -> BrokerStatus:
    if (status.bootstrap_servers is not None) != is_open:
        actual, expected = ("with", "off") if not is_open else ("without", "on")
        raise PurchasesError(
            f"The broker of {home} runs {actual} its open listener, but PURCHASES_BROKER_OPEN is"
            f" {expected}; stop it with `purchases broker stop`, and start it again."
        )
    return status


def _start(
    home: Path, lease: Lease, progress: Callable[[str], None], *, is_open: bool
) -> BrokerStatus:
    _require_disk_space(home)
    _require_text(home)
    jars = class_path(home, progress)
    identity = require_identity(home, is_open=is_open)
    command = [str(java()), *JAVA_OPTIONS, "-cp", jars]
    properties = _write_properties(home, identity)
    # Java reads a path in many ways of its own, so it gets names relative to its directory.
    directory, environment = properties.parent, {**outer_environment(), **UNICODE}
    if not (Home(home).broker_data / "meta.properties").exists():
        _format([*command, "kafka.tools.StorageTool"], identity.cluster_id, properties, environment)
    progress("Starting the Kafka broker ...")
    log = Home(home).broker_log
    if log.exists():
        # The log holds one start only: the reason of a failed start is searched in it.
        log.replace(log.with_suffix(".log.1"))
    writer, pipe = start_log_writer(log, outer_environment())
    with pipe:
        process = start_child(
            [*command, "kafka.Kafka", properties.name],
            environment,
            pipe,
            lease,
            own_session=True,
            directory=directory,
        )
    _wait_until_serving(home, process, writer, identity)
    return _status("running", home, identity, process.pid)


def _status(
    state: Literal["running", "starting"], home: Path, identity: BrokerIdentity, pid: int
) -> BrokerStatus:
    file = str(Home(home).broker_client_properties) if identity.password else None
    return BrokerStatus(state, identity.open_address, pid, file)


def _require_disk_space(home: Path) -> None:
    free = free_bytes(Home(home).broker)
    if free < LEAST_FREE_BYTES:
        raise PurchasesError(
            f"The disk of {home} has {free // 2**20} MiB free, too little for Kafka's logs; free"
            f" {LEAST_FREE_BYTES // 2**20} MiB, or name another PURCHASES_HOME."
        )


def _require_text(home: Path) -> None:
    try:
        os.fsencode(home).decode()
    except UnicodeDecodeError:
        raise PurchasesError(
            f"{str(home)!r} is not UTF-8, so Java cannot open it; name another PURCHASES_HOME."
        ) from None


def _write_properties(home: Path, identity: BrokerIdentity) -> Path:
    """Write Kafka's configuration, and that of clients; return Kafka's file."""
    path = Home(home).broker_properties
    data = Path(Home(home).broker_data.name)
    properties = {
        **server_properties(data, identity.controller_port),
        **listener_properties(identity),
        **retention_properties(shutil.disk_usage(path.parent).total),
    }
    clients = Home(home).broker_client_properties
    for target, content in ((path, properties), (clients, identity.client_properties)):
        with replace_file(target) as file:
            file.write(properties_text(content).encode())
    return path


def _format(
    command: list[str], cluster_id: str, properties: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [
            *command,
            "format",
            "--standalone",
            f"--cluster-id={cluster_id}",
            "-c",
            properties.name,
        ],
        cwd=properties.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise PurchasesError(
            f"Kafka's storage cannot be formatted in {properties.parent}: {reason[0]}"
        )


def _wait_until_serving(
    home: Path,
    process: "subprocess.Popen[bytes]",
    writer: "subprocess.Popen[bytes]",
    identity: BrokerIdentity,
) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({**identity.client_properties, "log_level": 0})
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            # A client that was refused would first wait before it connects again.
            if _listens(identity.own_port) and client.list_topics(timeout=5).brokers:
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
    # It ends when it has written what Kafka said last.
    stop_child(writer, WRITER_SECONDS)
    log = Home(home).broker_log
    raise PurchasesError(f"Kafka died at its start: {_failure_reason(log)} See {log}.")


def _failure_reason(log: Path) -> str:
    """Return the line of the log with the reason: the deepest cause, or the last error."""
    text = log.read_text(errors="replace")
    for words, reason in START_FAILURES.items():
        if words in text:
            return reason
    # A frame of a stack names a class of Java's, and no reason.
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("at ")]
    causes = [line for line in lines if line.startswith("Caused by:")]
    causes = causes or [line for line in lines if "ERROR" in line or "Exception" in line] or lines
    return f"{causes[-1].strip()[:300]}." if causes else "it logged nothing."


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
