"""Structured logs on a stream that several processes share."""

import json
import os
import subprocess
import sys

LINES = 2_000
WRITE = f"""
from streaming.system.logs import configure_logs, get_logger
configure_logs()
for number in range({LINES}):
    get_logger().info("line", number=number)
"""


def test_lines_of_two_processes_stay_whole_without_a_buffer() -> None:
    """A supervisor and its worker share a stream, and containers often have no buffer."""
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE], stderr=writing, env=environment)
        for _ in range(2)
    ]
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        numbers = [json.loads(line)["number"] for line in stream]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(numbers) == sorted([*range(LINES)] * 2)
