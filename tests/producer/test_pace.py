"""Tests of pacing, under a clock that moves only when somebody waits."""

from collections.abc import Callable

import pytest

from streaming.producer.pace import Pace
from streaming.system.shutdown import StopRequest


class Clock(StopRequest):
    """A clock that moves only when somebody waits; told to stop after `end` seconds."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.now = 1_000.0
        self._end = self.now + end

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass."""
        self.pass_by(timeout or 0)
        return self.is_set()

    def pass_by(self, seconds: float) -> None:
        """Let the time pass, and stop at the end."""
        self.now += seconds
        if self.now >= self._end:
            self.set()


def send_paced(clock: Clock, rate: float, cost: Callable[[int], float]) -> int:
    """Send at a rate until the clock stops, each taking `cost` seconds; give how many."""
    pace = Pace(clock, lambda: None, lambda: clock.now)
    sent = 0
    while pace.wait_until(sent / rate):
        clock.pass_by(cost(sent))
        sent += 1
    return sent


@pytest.mark.parametrize("rate", [0.5, 10, 1_000, 3_000, 50_000])
def test_the_rate_is_held_by_count(rate: float) -> None:
    """Within 2 % over 100 s, though each record takes time and waits are coarse."""
    sent = send_paced(Clock(100), rate, lambda _: 0.9 / rate)
    assert abs(sent - 100 * rate) <= max(0.02 * 100 * rate, 1)


def test_a_short_delay_is_caught_up() -> None:
    """Five seconds without a record change nothing in the count."""
    sent = send_paced(Clock(100), 100, lambda number: 5 if number == 3_000 else 0.001)
    assert 9_800 <= sent <= 10_200


def test_a_long_delay_is_not_sent_in_one_flood() -> None:
    """Of a minute's delay ten seconds are caught up."""
    sent = send_paced(Clock(100), 100, lambda number: 60 if number == 3_000 else 0.001)
    assert 4_900 <= sent <= 5_100


def test_a_delay_ends_when_asked_to_stop() -> None:
    """However far away the next record is."""
    clock = Clock(3)
    assert not Pace(clock, lambda: None, lambda: clock.now).wait_until(10**9)
    assert clock.now < 1_004
