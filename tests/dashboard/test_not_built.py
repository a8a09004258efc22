"""Days that no build has yet: what the stream counted of them is shown, and never a zero."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from playwright.sync_api import expect

from assets.builds.builder import open_builder
from assets.tables.transforms import DAY_TRANSFORMS
from tests.assets.event_store import store_events
from tests.browser import browser
from tests.dashboard.server import get, serve_dashboard
from tests.deployment import Deployment
from tests.store.rows import year_of_days
from tests.support import Broker

DAYS, BUILT = 20, 5
FIRST, LAST = date(2024, 1, 1), date(2024, 1, 20)
RANGE = f"from={FIRST}&to={LAST}"


@pytest.fixture(scope="module")
def shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment of twenty days, of which only the newest five are built."""
    made = Deployment(tmp_path_factory.mktemp("unbuilt"), broker.bootstrap_servers, "unbuilt")
    made.create_topics()
    store_events(made.settings, year_of_days(DAYS))
    with open_builder(made.settings, "run-1") as builder:
        for number in range(BUILT):
            builder.build((LAST - timedelta(number)).isoformat(), DAY_TRANSFORMS)
    return made.whole()


@pytest.fixture(scope="module")
def base(shop: Deployment) -> Iterator[str]:
    """The address of its dashboard."""
    with serve_dashboard(shop) as address:
        yield address


def test_a_day_without_a_build_has_what_the_ledger_counted(shop: Deployment, base: str) -> None:
    """Events, items and net revenue of each day, and their sum; the rest is not known, not 0."""
    answer = get(f"{base}/api/v1/days?{RANGE}")
    rows = "SELECT day, events, items_sold, net_revenue_micros FROM day_ledger ORDER BY day"
    ledger = shop.rows(rows)
    assert [
        (p["at"], p["events"], p["items_sold"], p["net_revenue_micros"]) for p in answer["points"]
    ] == ledger
    assert answer["total"]["net_revenue_micros"] == sum(int(str(row[3])) for row in ledger)
    assert answer["total"]["gross_revenue"] is None
    built = [p for p in answer["points"] if p["built"]]
    assert len(built) == BUILT
    assert None not in {p[name] for p in built for name in ("gross_revenue", "orders", "customers")}
    rest = [p for p in answer["points"] if not p["built"]]
    assert {(p["gross_revenue"], p["orders"], p["customers"]) for p in rest} == {(None,) * 3}
    assert {p["new_customers"] for p in answer["points"]} == {None}, "no summary is built"
    assert answer["distinct"]["new_customers"] is None
    assert answer["not_built"] == [p["at"] for p in rest]
    assert answer["standing"]["missing_days"] == len(rest)


@pytest.mark.parametrize("path", ["hours?", "days?item=lamp&", "days?country=&"])
def test_a_figure_that_only_a_build_has_is_missing_and_not_zero(base: str, path: str) -> None:
    """The days are named; a sum of days before that lacks some is null."""
    newest = f"from={LAST - timedelta(BUILT - 1)}&to={LAST}"
    answer = get(f"{base}/api/v1/{path}{newest}")
    assert answer["not_built"] == []
    assert answer["before"] is None
    assert answer["total"]["events"] > 0
    assert len(get(f"{base}/api/v1/{path}{RANGE}")["not_built"]) == DAYS - BUILT


def test_an_export_says_which_days_it_lacks(shop: Deployment) -> None:
    """A file of some days must not pass for one of all."""
    done = shop.run("export", "daily_sales")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == BUILT + 1
    assert f"{DAYS - BUILT} days of daily_sales are not built yet" in done.stderr
    newest = shop.run("export", "daily_sales", "--from", LAST.isoformat())
    assert "not built" not in newest.stderr


def test_history_shows_days_that_are_not_built_as_such(shop: Deployment, base: str) -> None:
    """The tiles have the ledger's sums; what is not known is a dash, and no zero anywhere."""
    (total,) = shop.rows("SELECT sum(items_sold), sum(events) FROM day_ledger")
    with browser(f"{base}/#history?{RANGE}") as (page, errors, _):
        expect(page.locator("#h-items")).to_have_text(str(total[0]))
        expect(page.locator("#h-events")).to_have_text(str(total[1]))
        expect(page.locator("#h-unbuilt")).to_be_visible()
        expect(page.locator("#h-new")).to_have_text("\N{EN DASH}")
        expect(page.locator("#h-returns-compare")).to_have_text("without 15 days not built yet")
        page.get_by_text("15 days not built yet").first.wait_for()
        page.goto(f"{base}/#history?from={FIRST}&to={FIRST + timedelta(9)}&item=lamp")
        expect(page.locator("#h-items-compare")).to_have_text("without 10 days not built yet")
        expect(page.locator("#h-items")).to_have_text("\N{EN DASH}")
        expect(page.locator("#h-average")).to_have_text("\N{EN DASH}")
        # What is of an item alone is read from the events, which need no build.
        for name in ("items", "customers"):
            expect(page.locator(f"#{name}-pager")).to_contain_text("1 to 1")
        page.goto(f"{base}/#history?from={FIRST}&to={FIRST + timedelta(9)}")
        expect(page.locator("#items-pager")).to_contain_text("not built yet")
        assert errors == []
