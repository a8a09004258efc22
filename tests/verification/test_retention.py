"""How far back everything is held, where a record's time is its sender's choice."""

import pytest

from streaming.units import record_time
from streaming.verification.retention import CLOCKS_APART, time_of


@pytest.mark.parametrize("milliseconds", [-(2**63), -(10**14), 10**15, 2**63 - 1])
def test_any_record_time_is_a_time_of_the_calendar(milliseconds: int) -> None:
    """One record with another would end each verification until Kafka deletes it."""
    assert 2 <= (time_of(milliseconds) + CLOCKS_APART).year <= 9999
    assert record_time(milliseconds) is None


def test_a_usual_record_time_is_itself() -> None:
    """To the millisecond."""
    assert time_of(1_322_150_401_250).isoformat() == "2011-11-24T16:00:01.250000+00:00"
    assert record_time(1_322_150_401_250) == "2011-11-24T16:00:01.250000Z"
