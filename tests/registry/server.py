"""A real schema registry for the tests: Apicurio, which speaks Confluent's API."""

import os
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from msgspec import Struct

from streaming.broker.jars import java
from tests.java_archive import OPTIONS
from tests.maven import fetch_files
from tests.support import free_port, wait_until

SUMS = Path(__file__).with_name("apicurio.sha256")
START_SECONDS = 180.0


class Registry(Struct):
    """A registry that runs on a port of loopback; its schemas are in `directory`."""

    directory: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Its address, as Confluent's clients take it."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def kill(self) -> None:
        """End it at once, as a host that is gone does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(120)

    def start(self) -> None:
        """Start it again, with the schemas that it had."""
        self.process = _start(self.directory, self.port)
        wait_until(lambda: _answers(self.url), START_SECONDS, "the registry does not start")


@contextmanager
def running_registry(directory: Path) -> Iterator[Registry]:
    """Run a registry; 159 MB are fetched once for all checkouts of the user."""
    port = free_port()
    registry = Registry(directory, port, _start(directory, port))
    try:
        wait_until(lambda: _answers(registry.url), START_SECONDS, "the registry does not start")
        yield registry
    finally:
        registry.kill()


def _start(directory: Path, port: int) -> "subprocess.Popen[bytes]":
    options = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": 0,
        "apicurio.datasource.url": f"jdbc:h2:file:{directory / 'schemas'}",
    }
    quick = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command = [*quick, *(f"-D{name}={value}" for name, value in options.items())]
    with (directory / "registry.log").open("ab") as log:
        return subprocess.Popen(
            [str(java()), *command, "-jar", str(_program() / "quarkus-run.jar")],
            # The archive of the broker's classes is not for these.
            env={name: value for name, value in os.environ.items() if name != OPTIONS},
            stdout=log,
            stderr=log,
        )


def _program() -> Path:
    """Return the directory of the unpacked program, beside its archive."""
    archive = fetch_files(SUMS)[0]
    program = archive.with_name(archive.name.removesuffix(".tar.gz"))
    with archive.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not program.exists():
            unpacked = program.with_suffix(".new")
            with tarfile.open(archive) as content:
                content.extractall(unpacked, filter="data")
            unpacked.rename(program)
    return program


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/subjects", timeout=30) as answer:  # noqa: S310 - http
            return bool(answer.status == 200)
    except OSError:
        return False
