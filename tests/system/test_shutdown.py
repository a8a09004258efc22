"""A request to stop, made by a signal handler at any moment, is neither lost nor a deadlock."""

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from streaming.system.shutdown import StopRequest

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
    thread.join(20)
    assert not thread.is_alive(), f"waiting never ended when asked at line {asked[-1]}"
    assert asked == list(range(1, 12))


def test_asking_ends_a_wait_at_once_and_holds() -> None:
    """Whoever waits is woken, and each later look says so."""
    stop = StopRequest()
    started = time.monotonic()
    threading.Timer(0.05, stop.set).start()
    assert not stop.wait(0.001)
    assert stop.wait(60)
    assert time.monotonic() - started < 30
    assert stop.is_set()
    assert stop.wait(0)
