"""Deadlines, and the one poll loop. What is waited for, and what its end means, is the caller's."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

POLL_SECONDS: Final = 0.1
"""Shorter than a person notices, and long enough to cost a waiting process no CPU."""


class Deadline(NamedTuple):
    """The moment, on the monotonic clock in seconds, at which a wait is given up."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def is_over(self) -> bool:
        """Return whether the moment has come."""
        return time.monotonic() >= self.at

    def left(self, least: float = 0.0) -> float:
        """Return the seconds that are left, as a call's timeout: at least `least`."""
        return max(self.at - time.monotonic(), least)


def wait_until(
    is_done: Callable[[], bool], deadline: Deadline, poll_seconds: float = POLL_SECONDS
) -> bool:
    """Ask again and again until `is_done`, and return True; False if the deadline comes first.

    It is asked at least once, and for the last time when the deadline is over.
    """
    while not is_done():
        if deadline.is_over():
            return False
        # The last look is at the deadline, so that what came during the sleep still counts.
        time.sleep(min(poll_seconds, deadline.left()))
    return True
