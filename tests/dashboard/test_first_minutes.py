"""The first minutes: while purchases are stored and their days are built, no figure is false."""

import threading
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from assets.builds.builder import open_builder
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from tests.assets.event_store import store_events
from tests.browser import browser
from tests.dashboard.server import get, serve_dashboard
from tests.deployment import Deployment
from tests.store.rows import event, micros

DAYS, LINES = 60, 5
FIRST, LAST = date(2024, 1, 1), date(2024, 2, 29)
RANGE = f"from={FIRST}&to={LAST}"
TILES = """() => ["h-events", "h-items", "h-revenue"].map((id) =>
  Number(document.getElementById(id).textContent.replaceAll(",", "")))"""
Figures = tuple[float, float, float]


def store_days(shop: Deployment, first: int, count: int) -> None:
    """Store the purchases of some days, by their numbers."""
    times = [
        (number * LINES + line, micros(f"{FIRST + timedelta(number)} {10 + line}:00"))
        for number in range(first, first + count)
        for line in range(LINES)
    ]
    store_events(shop.settings, [event(number, at, 2, order_id="o") for number, at in times])


def build_days(shop: Deployment, newest: int, count: int) -> None:
    """Build some days, newest first as the sensor asks for them, and the summaries."""
    with open_builder(shop.settings, "run-1") as builder:
        for number in range(newest, newest - count, -1):
            builder.build((FIRST + timedelta(number)).isoformat(), DAY_TRANSFORMS)
        builder.build(WHOLE, WHOLE_TRANSFORMS)


def read_ledger(shop: Deployment) -> dict[str, Figures]:
    """Return what the stream has counted of each day: events, items, net revenue."""
    statement = "SELECT day, events, items_sold, net_revenue_micros / 1e6 FROM day_ledger"
    return {str(day): (*map(float, figures),) for day, *figures in shop.rows(statement)}  # type: ignore[misc, arg-type]


def total(ledger: dict[str, Figures]) -> Figures:
    """Return the sums of all days."""
    events, items, revenue = (sum(figures) for figures in zip(*ledger.values(), strict=True))
    return events, items, revenue


def require_true_figures(shop: Deployment, base: str, page: Page) -> None:
    """Compare API and page with the ledger of before and after: figures only grow here."""
    before = read_ledger(shop)
    points = {
        point["at"]: (point["events"], point["items_sold"], point["net_revenue_micros"] / 1e6)
        for point in get(f"{base}/api/v1/days?{RANGE}")["points"]
    }
    page.reload()
    expect(page.locator("#h-events")).not_to_have_text("\N{EN DASH}")
    shown = page.evaluate(TILES)
    after = read_ledger(shop)
    for day, figures in before.items():
        for least, figure, most in zip(figures, points[day], after[day], strict=True):
            assert least <= figure <= most, day
    for least, figure, most in zip(total(before), shown, total(after), strict=True):
        assert least <= figure <= most


@pytest.mark.faults
def test_no_figure_is_false_while_the_days_are_stored_and_built(deployment: Deployment) -> None:
    """Page and API are polled meanwhile: never 0, and never less than what the stream counted."""
    shop = deployment
    store_days(shop, 0, DAYS // 4)
    steps: list[Callable[[], None]] = [
        partial(build_days, shop, DAYS // 4 - 1, 10),
        partial(store_days, shop, DAYS // 4, 3 * DAYS // 4),
        partial(build_days, shop, DAYS - 1, DAYS // 2),
        partial(build_days, shop, DAYS - 1, DAYS),
    ]
    with (
        serve_dashboard(shop.whole()) as base,
        browser(f"{base}/#history?{RANGE}") as (page, errors, _),
    ):
        for step in steps:
            working = threading.Thread(target=step)
            working.start()
            while working.is_alive():
                require_true_figures(shop, base, page)
            working.join()
            require_true_figures(shop, base, page)
        assert total(read_ledger(shop)) == (DAYS * LINES, DAYS * LINES * 2, DAYS * LINES * 5)
        assert get(f"{base}/api/v1/days?{RANGE}")["not_built"] == []
        assert errors == []
