"""A request to stop, made by a signal handler at any moment, is neither lost nor a deadlock."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from streaming.system.shutdown import StopRequest
from tests.support import wait_until
from tests.terminal import in_terminal

Tracer = Callable[[FrameType, str, Any], Any]


def test_it_may_be_asked_between_any_two_lines_of_waiting() -> None:
    """As a signal's handler may run there; `threading.Event` waits for itself forever."""
    asked: list[int] = []

    def wait_interrupted_at(line: int) -> None:
        stop, seen = StopRequest(), 0

        def interrupt(_frame: FrameType, event: str, _: object) -> Tracer:
            nonlocal seen
            seen += event == "line"
            if seen == line and not stop.is_set():
                asked.append(line)
                sys.settrace(None)
                stop.set()
            return interrupt

        sys.settrace(interrupt)
        try:
            while not stop.wait(0.001):
                pass
        finally:
            sys.settrace(None)

    def interrupt_at_each() -> None:
        for line in range(1, 12):
            wait_interrupted_at(line)

    thread = threading.Thread(target=interrupt_at_each, daemon=True)
    thread.start()
    thread.join(240)
    assert not thread.is_alive(), f"waiting never ended when asked at line {asked[-1]}"
    assert asked == list(range(1, 12))


def test_asking_ends_a_wait_at_once_and_holds() -> None:
    """Whoever waits is woken, and each later look says so."""
    stop = StopRequest()
    assert not stop.wait(0.001)
    threading.Timer(0.05, stop.set).start()
    # Longer than a test may take: it would fail for that.
    assert stop.wait(3_600)
    assert stop.is_set()
    assert stop.wait(0)


WAITS = (
    "import signal\n"
    "from streaming.system.shutdown import stop_on_signals\n"
    "with stop_on_signals() as stop:\n"
    "    signal.signal(signal.SIGUSR1, lambda *_: print(stop.is_set(), flush=True))\n"
    "    print('waits', flush=True)\n"
    "    stop.wait(300)\n"
    "    print('drains', flush=True)\n"
)


def test_a_closed_terminal_asks_to_stop_and_what_is_written_then_is_dropped() -> None:
    """The process ends by itself, with 0: a write to a closed terminal would fail."""
    with in_terminal([sys.executable, "-c", WAITS], os.environ) as terminal:
        wait_until(lambda: b"waits" in terminal.written, 30, "it does not start")
        terminal.close()
        assert terminal.process.wait(120) == 0


def test_under_nohup_a_closed_terminal_asks_nothing() -> None:
    """What was started with SIGHUP ignored outlives its terminal, and ends by SIGTERM."""
    command = ["/usr/bin/env", "nohup", sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        process.send_signal(signal.SIGHUP)
        # Python handles what has come in the order of the numbers.
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"False\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"drains\n"
        assert process.wait(120) == 0
