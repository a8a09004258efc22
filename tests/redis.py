"""A Redis server for the tests: Debian's program, on a free port, with nothing kept on disk."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support import free_port, wait_until

TRIES = 5
"""A port that was free may be taken a moment later."""


@contextmanager
def running_redis(directory: Path) -> Iterator[str]:
    """Run a server whose log is in a directory; its URL."""
    process, port = _start(directory / "redis.log")
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _start(log_file: Path) -> "tuple[subprocess.Popen[bytes], int]":
    for _ in range(TRIES):
        port = free_port()
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        with log_file.open("ab") as log:
            process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log)
        wait_until(partial(_has_ended_or_answers, process, port), 30, "Redis does not answer")
        if process.poll() is None:
            return process, port
    raise AssertionError(log_file.read_text())


def _has_ended_or_answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    # Every process collects what imports this file.
    from redis import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError

    with Redis(port=port) as client:
        try:
            return process.poll() is not None or bool(client.ping())
        except RedisConnectionError:
            return False
