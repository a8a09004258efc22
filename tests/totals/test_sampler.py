"""The sampler follows the store, also where a row changes that it has already counted."""

import time

from streaming.settings import Settings
from streaming.totals.sampler import Sampler
from tests.assets.stored import store_events
from tests.store.rows import event


def test_a_correction_replaces_what_was_counted_before(store: Settings) -> None:
    """No new row comes, but the old one's quantity, item and country are those of the winner."""
    now = time.time_ns() // 1000
    loser = event(1, now, 5, item="chair", country="Spain", source_timestamp=2)
    store_events(store, [loser, event(2, now, item="book", country="France")])
    sampler = Sampler(store)
    assert sampler.sample().day.items_sold == 6
    winner = event(1, now, 3, item="lamp", country="France", source_timestamp=1)
    store_events(store, [winner])
    found = sampler.sample()
    sampler.close()
    assert (found.day.events, found.day.items_sold, found.day.net_revenue) == (2, 4, "10.00")
    assert (found.events, found.items_sold, found.net_revenue) == (2, 4, "10.00")
    for ranking in (found.popular_today, found.popular_ever):
        assert [(row.item, row.items_sold) for row in ranking] == [("lamp", 3), ("book", 1)]
    assert found.countries == [("France", 4, "10.00")]
    events, revenue = (sum(bucket[index] for bucket in found.buckets) for index in (1, 2))
    assert (events, revenue) == (2, 10_000_000)
    assert [(row.item, row.quantity) for row in found.latest] == [("book", 1), ("lamp", 3)]
