"""The histogram of how long events took into the database."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.runtime.latency import BOUNDS, NAMES, Latencies, with_latencies

NOW = 1_700_000_000


def test_a_bound_counts_what_took_exactly_as_long() -> None:
    """As Prometheus' `le` does; what is slower than all bounds is only in the number."""
    sent = [NOW * 1000 - int(bound * 1000) for bound in BOUNDS] + [(NOW - 7_200) * 1000]
    latencies = with_latencies(Latencies(), sent, NOW)
    assert list(latencies.within.values()) == list(range(1, len(BOUNDS) + 1))
    assert latencies.events == len(BOUNDS) + 1
    assert latencies.seconds == sum(BOUNDS) + 7_200


def test_what_another_clock_dates_into_the_future_took_no_time() -> None:
    """It takes nothing from the sum."""
    latencies = with_latencies(Latencies(), [(NOW + 60) * 1000, (NOW - 2) * 1000], NOW)
    assert (latencies.events, latencies.seconds, latencies.within["0.01"]) == (2, 2.0, 1)


@given(st.lists(st.lists(st.integers((NOW - 10_000) * 1000, (NOW + 10) * 1000))))
def test_batch_by_batch_it_counts_as_one_by_one(batches: list[list[int]]) -> None:
    """In whatever order the events come, none is left out."""
    latencies = Latencies()
    for batch in batches:
        latencies = with_latencies(latencies, batch, NOW)
    ages = [(NOW * 1000 - sent) / 1000 for batch in batches for sent in batch]
    assert latencies.events == len(ages)
    assert abs(latencies.seconds - sum(max(age, 0) for age in ages)) < 0.01
    for name, bound in zip(NAMES, BOUNDS, strict=True):
        assert latencies.within.get(name, 0) == sum(age <= bound for age in ages)
