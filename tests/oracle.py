"""The one oracle: every acknowledged purchase is stored or dead-lettered, exactly once.

It reads the topics and the database by itself and shares no code with the apps.
"""

import json
import sqlite3
from collections import Counter

from tests.deployment import Deployment
from tests.load import Sent
from tests.support import wait_until


def wait_until_quiet(deployment: Deployment, sent: Sent, deadline: float = 60) -> None:
    """Wait until the database has as many events and dead letters as were acknowledged."""

    def arrived() -> bool:
        try:
            events = deployment.count("analytics_event")
            letters = deployment.count("dead_letter")
        except sqlite3.OperationalError:
            return False
        return events >= len(sent.good) and letters >= len(sent.bad)

    wait_until(arrived, deadline, "not all acknowledged purchases arrived in the database")


def require_exactly_once(deployment: Deployment, sent: Sent) -> None:
    """Acknowledged = stored ∪ dead-lettered, disjoint, each once, order per key kept.

    What is unknown may be there or not, but once.
    """
    stored = {str(row[0]) for row in deployment.rows("SELECT event_id FROM analytics_event")}
    assert set(sent.good) <= stored, "an acknowledged purchase is not stored"
    assert stored <= set(sent.good) | sent.unknown, "something is stored that was not sent"
    letters = deployment.read_topic("purchases.dlq")
    values = Counter(letter.value() or b"" for letter in letters)
    assert sent.bad <= set(values), "an acknowledged refusal is not dead-lettered"
    assert set(values) <= sent.bad | sent.unknown_bad, "something else is dead-lettered"
    assert max(values.values(), default=1) == 1, "a refused record was dead-lettered twice"
    published = Counter(
        json.loads(message.value() or b"")["event_id"]
        for message in deployment.read_topic("analytics")
    )
    assert set(published) == stored
    assert max(published.values(), default=1) == 1, "an event was published twice"
    rows = deployment.rows("SELECT count(*) FROM dead_letter WHERE state = 'open'")
    assert rows == [(len(values),)]
    require_order_per_user(deployment)
    require_figures_agree(deployment)


def require_order_per_user(deployment: Deployment) -> None:
    """Each user's orders stand on `analytics` in the order in which they were sent."""
    rows = deployment.rows(
        "SELECT user, order_id FROM analytics_event ORDER BY stream_partition, stream_offset"
    )
    last: dict[object, str] = {}
    for user, order in rows:
        assert str(order) > last.get(user, ""), f"{user}'s orders are out of order"
        last[user] = str(order)


def require_figures_agree(deployment: Deployment) -> None:
    """Live totals and day ledger are the sums of the stored events."""
    sums = "SELECT count(*), sum(quantity), sum(coalesce(amount_micros, 0)) FROM analytics_event"
    totals = "SELECT events, items_sold, net_revenue_micros FROM live_totals"
    ledger = "SELECT sum(events), sum(items_sold), sum(net_revenue_micros) FROM day_ledger"
    items = "SELECT sum(events), sum(items_sold), sum(net_revenue_micros) FROM live_item_totals"
    expected = deployment.rows(sums)
    if expected[0][0] == 0:
        assert deployment.count("live_totals") == deployment.count("day_ledger") == 0
        return
    assert deployment.rows(totals) == expected
    assert deployment.rows(ledger) == expected
    assert deployment.rows(items) == expected
