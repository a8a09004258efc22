"""Being asked to stop: what a signal handler may set, and what loops look at and wait for.

When to stop, and what is done at the end, lives where the loops are.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType


class Stop:
    """A request to stop that a signal handler may make at any moment.

    `threading.Event` is no such thing: `set` takes the lock that the interrupted `wait` of the same
    thread may hold, and then waits for ever. `SimpleQueue.put` is reentrant by its documentation.
    """

    def __init__(self) -> None:
        self._asked = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask, and end the waiting of the one thread that waits."""
        self._asked = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Say whether somebody asked."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; say whether somebody asked."""
        if not self._asked:
            with suppress(Empty):
                self._wake.get(timeout=seconds)
        return self._asked


@contextmanager
def stopping() -> Iterator[Stop]:
    """Give what SIGTERM and Ctrl-C set, in place of ending the process at once."""
    stop = Stop()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
