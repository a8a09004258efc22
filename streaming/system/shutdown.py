"""Requests to stop: set by a signal handler, read and waited for by loops.

What a loop does at its end is in the loop's own module.
"""

import os
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


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to stop: SIGTERM, Ctrl-C, and a closed terminal's.

    Whoever started it with SIGHUP ignored, as `nohup` does, wants it to outlive the terminal.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])]


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a request that `stop_signals` set, in place of ending the process at once."""
    stop = StopRequest()
    terminal = [descriptor for descriptor in range(3) if os.isatty(descriptor)]

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            # A write to a closed terminal fails, and what drains would end amid its work.
            _redirect_to_nothing(terminal)
        stop.set()

    before = {number: signal.signal(number, ask) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redirect_to_nothing(descriptors: list[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)
