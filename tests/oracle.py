"""The one oracle: every acknowledged purchase is stored or dead-lettered, exactly once.

It reads the topics and the database by itself and shares no code with the apps.
"""

import json
from collections import Counter
from typing import cast

from confluent_kafka import Message

from streaming.events.identifiers import event_id_text, pack_event_id
from tests.databases import NOT_YET
from tests.deployment import Deployment
from tests.load import Sent
from tests.support import wait_until

IDS_AT_ONCE = 500


def wait_until_quiet(deployment: Deployment, sent: Sent, deadline: float = 60) -> None:
    """Wait until the database has as many events and dead letters as were acknowledged."""

    def have_arrived() -> bool:
        try:
            events = deployment.count("analytics_event")
            dead_letters = deployment.count("dead_letter")
        except NOT_YET:
            return False
        return events >= len(sent.good) and dead_letters >= len(sent.bad)

    wait_until(have_arrived, deadline, "not all acknowledged purchases arrived in the database")


def wait_until_stored(deployment: Deployment, sent: Sent, deadline: float = 60) -> None:
    """Wait until each acknowledged purchase is stored as its user's, whatever others sent."""
    missing = dict(sent.good)

    def have_arrived() -> bool:
        ids = list(missing)
        for start in range(0, len(ids), IDS_AT_ONCE):
            asked = ids[start : start + IDS_AT_ONCE]
            marks = ", ".join("?" * len(asked))
            statement = f'SELECT event_id, "user" FROM analytics_event WHERE event_id IN ({marks})'
            packed = [pack_event_id(event_id) for event_id in asked]
            for stored, user in deployment.rows(statement, *packed):
                event_id = event_id_text(cast("bytes", stored))
                if missing[event_id] == user:
                    del missing[event_id]
        return not missing

    wait_until(have_arrived, deadline, "not all acknowledged purchases are stored")


def require_exactly_once(deployment: Deployment, sent: Sent, *, alone: bool = True) -> None:
    """Acknowledged = stored ∪ dead-lettered, disjoint, each once, order per key kept.

    What is unknown may be there or not, but once. If others sent too, it is not `alone`: then what
    they sent is not judged.
    """
    rows = deployment.rows('SELECT event_id, "user" FROM analytics_event_readable')
    stored = {str(event_id): user for event_id, user in rows}
    assert {name: stored.get(name) for name in sent.good} == sent.good, (
        "an acknowledged purchase is not stored"
    )
    dead_letters = deployment.read_topic("purchases.dlq")
    values = {dead_letter.value() or b"" for dead_letter in dead_letters}
    assert sent.bad <= values, "an acknowledged refusal is not dead-lettered"
    # By origins: a producer whose brokers die before they answer may record a purchase twice.
    origins = Counter(
        origin_of(dead_letter) for dead_letter in dead_letters if dead_letter.value() in sent.bad
    )
    assert max(origins.values(), default=1) == 1, "a refused record was dead-lettered twice"
    require_order_per_user(deployment, sent)
    require_figures_agree(deployment)
    if alone:
        require_nothing_else(deployment, sent, set(stored), dead_letters)


def require_nothing_else(
    deployment: Deployment, sent: Sent, stored: set[str], dead_letters: list[Message]
) -> None:
    """Nothing is stored, published or refused that was not sent, and no record of it twice."""
    assert stored <= set(sent.good) | sent.unknown, "something is stored that was not sent"
    values = {dead_letter.value() or b"" for dead_letter in dead_letters}
    assert values <= sent.bad | sent.unknown_bad, "something else is dead-lettered"
    origins = Counter(map(origin_of, dead_letters))
    assert max(origins.values(), default=1) == 1, "a refused record was dead-lettered twice"
    published = [
        json.loads(message.value() or b"") for message in deployment.read_topic("analytics")
    ]
    assert {event["event_id"] for event in published} == stored
    sources = Counter(
        (event["source_topic"], event["source_partition"], event["source_offset"])
        for event in published
    )
    assert max(sources.values(), default=1) == 1, "the event of a record was published twice"
    rows = deployment.rows("SELECT count(*) FROM dead_letter WHERE state = 'open'")
    assert rows == [(len(dead_letters),)]


def origin_of(dead_letter: Message) -> tuple[object, ...]:
    """Return the topic id, partition, offset and attempt of the record that was refused."""
    headers = dict(dead_letter.headers() or [])
    return tuple(headers[f"dlq.{name}"] for name in ("topic_id", "partition", "offset", "attempt"))


def require_order_per_user(deployment: Deployment, sent: Sent | None = None) -> None:
    """Each user's orders (of what was `sent`) are on `analytics` in the order of sending."""
    rows = deployment.rows(
        'SELECT event_id, "user", order_id FROM analytics_event_readable'
        " ORDER BY stream_partition, stream_offset"
    )
    last: dict[object, str] = {}
    for event_id, user, order in rows:
        if sent is not None and event_id not in sent.good and event_id not in sent.unknown:
            continue
        assert str(order) > last.get(user, ""), f"{user}'s orders are out of order"
        last[user] = str(order)


def require_figures_agree(deployment: Deployment) -> None:
    """Live totals and day ledger are the sums of the stored events."""
    # More than 64 bits hold is added up in two parts: of the events units, stored are trillions.
    parts = "sum(amount_micros / 1000000), sum(amount_micros % 1000000)"
    expected = figures(deployment, "analytics_event", f"count(*), sum(quantity), {parts}", 10**6)
    for table in ("live_totals", "day_ledger", "live_item_totals"):
        stored = "sum(events), sum(items_sold)"
        parts = "sum(net_revenue_trillions), sum(net_revenue_micros)"
        assert figures(deployment, table, f"{stored}, {parts}", 10**18) == expected, table


def figures(deployment: Deployment, table: str, columns: str, weight: int) -> tuple[int, ...]:
    """Return events, items sold and net revenue (micros), whose first part counts `weight`."""
    (row,) = deployment.rows(f"SELECT {columns} FROM {table}")
    events, sold, high, low = (int(str(value or 0)) for value in row)
    return events, sold, high * weight + low
