"""The figures as they are read, and `totals` without a broker."""

import json
from collections import Counter

from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import (
    ItemFigures,
    distinct_figures,
    live_figures,
    refusals,
    top_items,
)
from tests.deployment import Deployment
from tests.store.rows import add_dead_letter, event, fill, micros, year_of_days

NOON = micros("2024-03-01 12:00")
NOWHERE = "127.0.0.1:1"


def test_an_empty_store_has_figures_of_zero(connection: StoreConnection) -> None:
    """Before the first event there is no row, and no most popular product."""
    figures = live_figures(connection)
    assert (figures.events, figures.items_sold, figures.refused) == (0, 0, 0)
    assert figures.most_popular_item is None
    assert distinct_figures(connection).orders == 0


def test_figures_are_those_of_the_events(store: Settings, connection: StoreConnection) -> None:
    """Sales and a return, an unknown price, a guest, and an order of two lines."""
    fill(
        store,
        connection,
        [
            event(0, NOON, quantity=4),
            event(1, NOON, quantity=-1, item="book"),
            event(2, NOON, user=None, order_id=None, unit_price_micros=None, amount_micros=None),
            event(3, NOON, user="bert", order_id="o-2"),
        ],
    )
    figures = live_figures(connection)
    assert (figures.events, figures.items_sold, figures.guest_events) == (4, 5, 1)
    assert figures.gross_revenue_micros == 12_500_000
    assert figures.net_revenue_micros == 10_000_000
    counted = distinct_figures(connection)
    assert (counted.orders, counted.customers) == (2, 2)


def test_between_equals_revenue_and_then_the_name_decides(
    store: Settings, connection: StoreConnection
) -> None:
    """The most popular product is one, always the same."""
    dear = {"unit_price_micros": 9_000_000, "amount_micros": 18_000_000}
    fill(
        store,
        connection,
        [
            event(0, NOON, quantity=2, item="chair"),
            event(1, NOON, quantity=2, item="book"),
            event(2, NOON, quantity=2, item="lamp", **dear),
            event(3, NOON, quantity=1, item="mug"),
        ],
    )
    assert top_items(connection, 3) == [
        ItemFigures("lamp", 2, 18_000_000),
        ItemFigures("book", 2, 5_000_000),
        ItemFigures("chair", 2, 5_000_000),
    ]


def test_refused_are_those_not_stored_later(connection: StoreConnection) -> None:
    """A dead letter that was redriven and stored counts no more; the top reason comes first."""
    for offset, (state, reason) in enumerate(
        [
            ("open", "invalid_item"),
            ("parked", "invalid_price"),
            ("redriven", "invalid_price"),
            ("stored", "invalid_item"),
            ("dropped", "empty"),
        ]
    ):
        add_dead_letter(connection, offset, state, reason)
    assert list(refusals(connection).items()) == [
        ("invalid_price", 2),
        ("empty", 1),
        ("invalid_item", 1),
    ]
    assert live_figures(connection).refused == 4


def test_totals_without_a_broker(store: Settings, connection: StoreConnection) -> None:
    """All figures of the contract; the lag is null, and why is said beside it."""
    events = year_of_days(40)
    fill(store, connection, events)
    sold: Counter[str] = Counter()
    for row in events:
        sold[row.item] += row.quantity
    best, most = sold.most_common(1)[0]
    deployment = Deployment(store.home, NOWHERE, "")
    done = deployment.run("totals", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["events"] == 40
    assert report["orders"] == 20
    assert report["customers"] == 2
    assert report["guest_events"] == 13
    assert report["most_popular_item"] == {"item": best, "items_sold": most}
    assert report["net_revenue"] == f"{report['net_revenue_micros'] / 1_000_000:.2f}"
    assert report["lag_records"] is None
    assert report["lag_seconds"] is None
    assert "lag is unknown" in done.stderr
    text = deployment.succeed("totals")
    assert f"{best} ({most} sold)" in text
    assert "unknown: " in text


def test_totals_without_a_database(settings: Settings) -> None:
    """One sentence with the commands that make one, and exit code 1."""
    done = Deployment(settings.home, NOWHERE, "").run("totals")
    assert done.returncode == 1
    assert "purchases db upgrade" in done.stderr
    assert len(done.stderr.splitlines()) == 1
