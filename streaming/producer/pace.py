"""The pace of sending: when the next record is due, and how much delay is caught up.

A record is due at a number of seconds after the start; what that number is, the callers know.
"""

import time
from collections.abc import Callable
from typing import Final

from streaming.system.shutdown import StopRequest

# The client is served this often while nothing is due.
SLICE_SECONDS: Final = 0.2
# Shorter sleeps than this cost more than they are exact: at high rates a few records go together.
SHORTEST_SLEEP: Final = 0.002
# After a longer pause (a suspended laptop, a broker that is away) a flood would follow.
CATCH_UP_SECONDS: Final = 10.0


class Pace:
    """Waits until a record is due, and calls `idle` about every 0.2 s meanwhile.

    A delay of up to 10 s is caught up; a longer one moves the schedule.
    """

    def __init__(
        self,
        stop: StopRequest,
        idle: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop = stop
        self._idle = idle
        self._clock = clock
        self._begun = clock()

    def wait_until(self, due: float) -> bool:
        """Wait until `due` seconds after the start; return False if asked to stop instead."""
        while True:
            wait = self._begun + due - self._clock()
            if wait <= 0 or self._stop.is_set():
                break
            self._stop.wait(min(max(wait, SHORTEST_SLEEP), SLICE_SECONDS))
            self._idle()
        if wait < -CATCH_UP_SECONDS:
            # `wait` is negative: the start moves so that just ten seconds are left to catch up.
            self._begun -= wait + CATCH_UP_SECONDS
        return not self._stop.is_set()
