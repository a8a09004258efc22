"""Requests to stop: set by a signal handler, read and waited for by loops.

What a loop does at its end is in the loop's own module.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType


class StopRequest:
    """A request to stop that a signal handler may make at any moment.

    `threading.Event` does not serve: `set` takes the lock that the interrupted `wait` of the same
    thread may hold, which is a deadlock. `SimpleQueue.put` is reentrant by its documentation.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Request the stop, and wake the one thread that waits."""
        # The flag first, because whoever is woken reads it.
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Return whether the stop was requested."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether the stop was requested."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=seconds)
        return self._is_set


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a request that SIGTERM and Ctrl-C set, in place of ending the process at once."""
    stop = StopRequest()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
