"""The sampler follows the store, also where a row changes that it has already counted."""

import time

from streaming.settings import Settings
from streaming.totals.sampler import Sampler
from tests.assets.event_store import store_events
from tests.store.rows import event, micros


def test_a_correction_replaces_what_was_counted_before(store: Settings) -> None:
    """No new row comes, but the old one's quantity, item and country are those of the winner."""
    now = time.time_ns() // 1000
    loser = event(1, now, 5, item="chair", country="Spain", source_timestamp=2)
    store_events(store, [loser, event(2, now, item="book", country="France")])
    sampler = Sampler(store)
    assert sampler.sample().day.items_sold == 6
    winner = event(1, now, 3, item="lamp", country="France", source_timestamp=1)
    store_events(store, [winner])
    sampled = sampler.sample()
    sampler.close()
    assert (sampled.day.events, sampled.day.items_sold, sampled.day.net_revenue) == (2, 4, "10.00")
    assert (sampled.events, sampled.items_sold, sampled.net_revenue) == (2, 4, "10.00")
    for ranking in (sampled.popular_today, sampled.popular_ever):
        assert [(row.item, row.items_sold) for row in ranking] == [("lamp", 3), ("book", 1)]
    assert sampled.countries == [("France", 4, "10.00")]
    events, revenue = (sum(bucket[index] for bucket in sampled.buckets) for index in (1, 2))
    assert (events, revenue) == (2, 10_000_000)
    assert [(row.item, row.quantity) for row in sampled.latest] == [("book", 1), ("lamp", 3)]


def test_the_day_and_the_day_before_are_summed_by_quarter_of_an_hour(settings: Settings) -> None:
    """By the wall clock, also on the day on which the clocks went forward: from 1:00 to 2:00."""
    london = settings.model_copy(update={"timezone": "Europe/London"})
    times = ["2024-03-30 09:10", "2024-03-31 00:20", "2024-03-31 08:05", "2024-03-31 08:14"]
    store_events(london, [event(n, micros(time), n + 1) for n, time in enumerate(times)])
    sampler = Sampler(london)
    sampled = sampler.sample()
    sampler.close()
    assert not sampled.is_today
    assert sampled.course.day_before == [(9 * 60, 1, 1, 2_500_000)]
    assert sampled.course.day == [(15, 1, 2, 5_000_000), (9 * 60, 2, 7, 17_500_000)]
