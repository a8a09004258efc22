"""History and Verified: figures of the tables, their freshness, and both in a browser.

The tables are built by the assets' own builder; what they must say is computed here, from events.
"""

import json
import re
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from assets.builds.builder import open_builder
from assets.builds.failures import DeadRun, record_dead_run
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE
from assets.tables.sql_transform import day_transforms
from assets.tables.transforms import WHOLE_TRANSFORMS
from streaming.store.dialect import start_of_period
from tests.assets.event_store import store_events
from tests.browser import TIMEOUT_MILLISECONDS, open_page
from tests.dashboard.server import get, serve_dashboard
from tests.databases import look
from tests.deployment import Deployment
from tests.store.rows import event, micros, year_of_days
from tests.support import Broker

DAYS = 40
FIRST, LAST = date(2024, 1, 1), date(2024, 2, 9)
LATE = ("2024-01-05", LAST.isoformat())
LOW_CONTROLS = """() => [...document.querySelectorAll("button, select, input, .button, nav a")]
  .filter((node) => node.offsetParent && node.getBoundingClientRect().height < 43.5)
  .map((node) => node.outerHTML)"""
BASKETS = """SELECT item, count(*) AS lines,
 CAST(sum(amount_micros) AS double precision) / 1000000 AS revenue
FROM analytics_event WHERE event_time >= :start_at AND event_time < :end_at GROUP BY item
"""
VIEWS = ("now", "history", "stream", "rejected", "sql", "verified")


@pytest.fixture(scope="module")
def shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment whose tables are built, but for two late events; one of their days failed.

    One of the tables is of a `.sql` file.
    """
    files = tmp_path_factory.mktemp("sql")
    (files / "baskets.sql").write_text(BASKETS)
    more, home = {"PURCHASES_SQL": str(files)}, tmp_path_factory.mktemp("history")
    made = Deployment(home, broker.bootstrap_servers, "history", more)
    made.create_topics()
    store_events(made.settings, year_of_days(DAYS))
    with open_builder(made.settings, "run-1") as builder:
        for number in range(DAYS):
            builder.build((FIRST + timedelta(number)).isoformat(), day_transforms(made.settings))
        builder.build(WHOLE, WHOLE_TRANSFORMS)
    late = [
        event(900 + number, micros(f"{day} 09:00"), 3, item="late<b>", user="zoe")
        for number, day in enumerate(LATE)
    ]
    store_events(made.settings, late)
    failed = frozenset({"daily_sales"})
    record_dead_run(made.settings, DeadRun("run-2", "it died", failed, DayRange(LAST, LAST)))
    return made.whole()


@pytest.fixture(scope="module")
def base(shop: Deployment) -> Iterator[str]:
    """The address of its dashboard."""
    with serve_dashboard(shop) as address:
        yield address


def rows(shop: Deployment, first: date, last: date) -> list[tuple[Any, ...]]:
    """Return the events of days: day, item, country, user, quantity, amount; not the late."""
    with look(shop.settings) as store:
        day = start_of_period(store, "day", "event_time / 1000000")
        return store.execute(
            f'SELECT {day}, item, country, "user", quantity, amount_micros FROM analytics_event'
            f" WHERE item <> 'late<b>' AND {day} BETWEEN ? AND ?",
            (first.isoformat(), last.isoformat()),
        ).fetchall()


def sum_events(events: list[tuple[Any, ...]], column: int) -> dict[str, tuple[int, int, int]]:
    """Sum events by a column: events, items sold, net revenue."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in events:
        for index, figure in enumerate((1, row[4], row[5])):
            sums[row[column]][index] += figure
    return {name: (a, b, c) for name, (a, b, c) in sums.items()}


def figures(entry: dict[str, Any]) -> tuple[int, int, int]:
    """Return the same figures of an answer."""
    return entry["events"], entry["items_sold"], entry["net_revenue_micros"]


@pytest.mark.parametrize("path", ["days", "hours"])
def test_days_and_hours_are_those_of_the_events(shop: Deployment, base: str, path: str) -> None:
    """Their sums too, and those of as many days before."""
    answer = get(f"{base}/api/v1/{path}?from=2024-01-15&to=2024-01-24")
    events = rows(shop, date(2024, 1, 15), date(2024, 1, 24))
    by_day: dict[str, tuple[int, int, int]] = {p["at"][:10]: figures(p) for p in answer["points"]}
    assert by_day == sum_events(events, 0)
    before = rows(shop, date(2024, 1, 5), date(2024, 1, 14))
    for total, of in ((answer["total"], events), (answer["before"], before)):
        assert total["items_sold"] == sum(row[4] for row in of)
        assert total["net_revenue_micros"] == sum(row[5] for row in of)
        assert total["net_revenue"] == f"{total['net_revenue_micros'] / 1e6:.2f}"


@pytest.mark.parametrize(
    ("subject", "column", "name"), [("item", 1, "book"), ("customer", 3, "anna")]
)
def test_one_item_or_customer_is_followed_over_time(
    shop: Deployment, base: str, subject: str, column: int, name: str
) -> None:
    """Only its own events, day by day."""
    answer = get(f"{base}/api/v1/days?from={FIRST}&to={LAST}&{subject}={name}")
    events = [row for row in rows(shop, FIRST, LAST) if row[column] == name]
    assert {p["at"]: figures(p) for p in answer["points"]} == sum_events(events, 0)


@pytest.mark.parametrize("order", ["items_sold", "net_revenue", "events"])
def test_items_are_ranked_page_by_page(shop: Deployment, base: str, order: str) -> None:
    """Best first by what was asked for; each once."""
    ranked: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        query = f"from={FIRST}&to={LAST}&order={order}&limit=2&offset={offset}"
        page = get(f"{base}/api/v1/items?{query}")
        ranked += page["ranked"]
        offset = page["next_offset"]
    assert {one["name"]: figures(one) for one in ranked} == sum_events(rows(shop, FIRST, LAST), 1)
    assert [one["rank"] for one in ranked] == [1, 2, 3]
    assert ranked == sorted(
        ranked, key=lambda one: -one[order.replace("revenue", "revenue_micros")]
    )


def test_customers_are_those_of_the_summary(shop: Deployment, base: str) -> None:
    """All of them, guests are none."""
    answer = get(f"{base}/api/v1/customers")
    expected = shop.rows('SELECT "user", orders FROM customer_summary ORDER BY orders DESC, "user"')
    assert {(c["user"], c["orders"]) for c in answer["customers"]} == set(expected)
    assert answer["total"] == 2


def test_each_figure_says_how_it_stands(base: str) -> None:
    """A late event is behind, a failure failed, and what nobody touched is current."""
    states = {
        d["day"]: d for d in get(f"{base}/api/v1/tables/daily_sales?from={FIRST}&to={LAST}")["days"]
    }
    assert states["2024-01-05"]["state"] == "behind"
    assert states["2024-01-05"]["behind"] == 1
    assert states[LAST.isoformat()]["state"] == "failed"
    assert states["2024-01-06"]["state"] == "current"
    of_range = get(f"{base}/api/v1/days?from=2024-01-01&to=2024-01-10")["standing"]
    assert (of_range["behind"], of_range["behind_days"], of_range["failed"]) == (1, 1, 0)
    untouched = get(f"{base}/api/v1/days?from=2024-01-06&to=2024-01-10")["standing"]
    assert untouched["behind"] == untouched["failed"] == 0
    tables = {table["table"]: table for table in get(f"{base}/api/v1/tables")["tables"]}
    assert tables["sales_summary"]["behind"] == tables["hourly_sales"]["behind"] == 2
    assert tables["daily_sales"]["partitions"] == DAYS


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("days?from=2024-02-01&to=2024-01-01", "order"),
        ("days?from=yesterday", "from is 'yesterday': write a date such as 2026-11-29."),
        ("days?by=weeks", "by is 'weeks': use one of day, month, week."),
        ("items?limit=all", "limit is 'all': write a whole number."),
        ("days?to=0001-01-05", "0001-01-05"),
        ("days?from=9999-12-30&to=9999-12-31&customer=anna", "9999-12-30"),
        ("items?from=9990-01-01&to=9989-01-01", "order"),
        ("export/daily_sales?from=2024-01-02&to=2024-01-01", "after"),
        ("lines?order=", "length"),
        ("hours?from=2020-01-01&to=2024-01-01", "400 days"),
        ("items?order=colour", "order"),
        ("tables/nothing", "daily_sales"),
        ("export/nothing", "daily_sales"),
        ("export/sales_summary?from=2024-01-01", "whole"),
    ],
)
def test_a_wrong_parameter_is_named(base: str, path: str, said: str) -> None:
    """As problems that name it."""
    with pytest.raises(urllib.error.HTTPError) as answer:
        get(f"{base}/api/v1/{path}")
    assert answer.value.code in {400, 404}
    assert said in json.loads(answer.value.read())["detail"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_has_what_is_shown(shop: Deployment, base: str, form: str) -> None:
    """The same rows as the command's, named by table and days."""
    url = f"{base}/api/v1/export/daily_sales?from=2024-01-03&to=2024-01-05&format={form}"
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - ours
        content = answer.read()
        assert int(answer.headers["content-length"]) == len(content)
        named = answer.headers["content-disposition"]
    assert f'filename="daily_sales-2024-01-03-2024-01-05.{form}"' in named
    path = shop.home / f"days.{form}"
    days = ("--from", "2024-01-03", "--to", "2024-01-05")
    shop.succeed("export", "daily_sales", *days, "--format", form, "--output", str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("asked", ["", "&customer=anna", "&item=lamp&customer=anna"])
@pytest.mark.parametrize(
    ("path", "rows_of"),
    [
        ("days", "points"),
        ("days?by=week", "points"),
        ("hours", "points"),
        ("items", "ranked"),
        ("countries", "ranked"),
        ("buyers", "ranked"),
        ("orders", "orders"),
        ("lines", "lines"),
    ],
)
def test_a_download_has_exactly_what_is_shown(
    base: str, path: str, rows_of: str, asked: str
) -> None:
    """The same figures row by row, in units, and of nobody else; CSV and Parquet alike."""
    url = f"{base}/api/v1/{path}{'&' if '?' in path else '?'}from={FIRST}&to={LAST}{asked}"
    paged = "" if rows_of == "points" else "&limit=1000"
    shown = [
        (row["items_sold" if "items_sold" in row else "quantity"], Decimal(row["net_revenue"]))
        for row in get(f"{url}{paged}")[rows_of]
    ]
    for form, read in (("csv", pl.read_csv), ("parquet", pl.read_parquet)):
        with urllib.request.urlopen(f"{url}&format={form}", timeout=120) as answer:  # noqa: S310
            assert answer.headers["content-disposition"].endswith(f'.{form}"')
            frame: pl.DataFrame = read(BytesIO(answer.read()))
        sold = frame["items_sold" if "items_sold" in frame.columns else "quantity"]
        assert [
            (items, round(Decimal(str(revenue)), 6))
            for items, revenue in zip(sold, frame["net_revenue"], strict=True)
        ] == shown
        if asked and "customer" in frame.columns:
            assert set(frame["customer"]) == {"anna"}


def test_filters_together_are_those_of_the_events(shop: Deployment, base: str) -> None:
    """An item of a customer: neither has a table of its own with the other."""
    answer = get(f"{base}/api/v1/days?from={FIRST}&to={LAST}&item=lamp&customer=anna")
    events = [row for row in rows(shop, FIRST, LAST) if row[1] == "lamp" and row[3] == "anna"]
    assert {p["at"]: figures(p) for p in answer["points"]} == sum_events(events, 0)
    assert answer["standing"]["behind"] == 0


def test_the_table_of_a_sql_file_is_shown_and_downloaded(
    shop: Deployment, base: str, running: Browser
) -> None:
    """Its rows of the days that are shown, newest first, and a file of exactly these."""
    days = "from=2024-01-03&to=2024-01-04"
    expected = shop.rows(
        "SELECT * FROM sql_baskets WHERE day BETWEEN '2024-01-03' AND '2024-01-04'"
        " ORDER BY day, item"
    )
    answer = get(f"{base}/api/v1/sql-tables?{days}")
    assert answer["tables"] == ["sql_baskets"]
    assert sorted(answer["rows"]) == sorted(map(list, expected))
    assert answer["rows"][0][0] == "2024-01-04"
    with open_page(running, f"{base}/#history?{days}&item=lamp") as (page, errors, _):
        page.locator("#own-rows").get_by_text("2024-01-04").first.wait_for()
        expect(page.locator("#own-total")).to_have_text(f"{len(expected)} rows, of the whole shop")
        with page.expect_download() as download:
            page.locator("#own-parquet").click()
        assert pl.read_parquet(download.value.path()).rows() == [
            (date.fromisoformat(str(day)), *others) for day, *others in expected
        ]
        assert errors == []


def test_history_is_used_by_mouse_and_by_keyboard(base: str, running: Browser) -> None:
    """A range by the keyboard and by dragging, an item by a click, and the way back."""
    address = f"{base}/#history?from=2024-01-11&to=2024-01-20"
    with open_page(running, address) as (page, errors, _):
        expect(page.locator("#from")).to_have_value("2024-01-11")
        page.locator("#earlier").press("Enter")
        page.wait_for_url(lambda url: "from=2024-01-01" in url)
        page.get_by_text("updating: 1 day to build").first.wait_for()
        page.get_by_role("button", name="book").first.click()
        page.get_by_text("Net revenue by day: item book").wait_for()
        page.get_by_role("button", name="show all again").press("Enter")
        page.locator("#h-title").get_by_text("Net revenue by day", exact=True).wait_for()
        narrow_down(page)
        page.goto(f"{base}/#history?from=2024-01-01&to=2024-01-10")
        expect(page.locator("#from")).to_have_value("2024-01-01")
        # Drawn with the title: a drag while it is drawn once more is none.
        expect(page.locator("#h-title")).to_have_text("Net revenue by day")
        drag_over_chart(page)
        page.wait_for_url(lambda url: "from=2024-01-01" not in url)
        expect(page.locator("#from")).not_to_have_value("2024-01-01")
        assert page.input_value("#from") > "2024-01-01"
        assert page.input_value("#to") < "2024-01-10"
        page.goto(f"{base}/#truth")
        expect(page.locator("#view-verified")).to_be_visible()
        assert errors == []


def narrow_down(page: Page) -> None:
    """Choose a customer by search, an item of theirs, one of the orders, other periods."""
    page.locator("#search").fill("ann")
    page.get_by_role("option", name="anna").wait_for()
    page.locator("#search").press("Enter")
    page.wait_for_url(lambda url: "customer=anna" in url)
    page.locator("#h-items-table").get_by_role("button", name="lamp").click()
    expect(page.locator("#h-title")).to_have_text("Net revenue by day: item lamp, customer anna")
    for form in ("csv", "parquet"):
        link = page.locator(f"#orders-{form}").get_attribute("href") or ""
        assert "item=lamp&customer=anna" in link
        assert f"format={form}" in link
    sort = page.locator("#h-orders-table [data-order=net_revenue]")
    sort.click()
    sort.click()
    expect(page.locator("#h-orders-table th[aria-sort=ascending]")).to_have_text("Revenue")
    page.locator("#h-orders-table tbody button").first.click()
    page.locator("#order-table").get_by_text("lamp").first.wait_for()
    for by in ("hour", "week", "month", "weekhour"):
        page.select_option("#by", by)
        page.wait_for_url(re.compile(f"by={by}$"))
    page.locator("#h-grid").get_by_text("Mon").wait_for()
    assert "orders=net_revenue.ascending.0" in page.url


def drag_over_chart(page: Page) -> None:
    """Choose the middle of the chart with the mouse."""
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#h-chart .u-over").bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.35, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.65, height, steps=5)
    page.mouse.up()


def test_every_view_can_be_read_by_everybody(base: str, running: Browser) -> None:
    """Axe finds nothing wrong by WCAG 2 A and AA: names, roles, contrast; that also in the dark."""
    levels = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    contrast = {"type": "rule", "values": ["color-contrast"]}
    with open_page(running, f"{base}/#now") as (page, errors, _):
        for view in VIEWS:
            page.goto(f"{base}/#{view}")
            page.locator(f"#view-{view}").wait_for()
            page.wait_for_load_state("load")
            page.get_by_text("as of").first.wait_for()
            # Links to files are dim, and lead nowhere, until there are figures.
            dim = page.locator(f"#view-{view} a.button:not([href])").filter(visible=True)
            expect(dim).to_have_count(0)
            require_readable(page, levels)
            page.emulate_media(color_scheme="dark")
            require_readable(page, contrast)
            page.emulate_media(color_scheme="light")
        # All of history: these days are years ago.
        page.locator("#calendar summary").wait_for()
        assert page.locator("#calendar summary").all_inner_texts() == ["2024"]
        assert page.locator("#calendar .cell:not(.none)").count() == DAYS
        assert errors == []


def require_readable(page: Page, rules: dict[str, Any]) -> None:
    """Fail if axe finds that a page breaks one of its rules."""
    result = Axe().run(page, options={"runOnly": rules})
    assert result.violations_count == 0, f"{page.url}: {result.generate_report()}"


CUT = """
() => [...document.querySelectorAll('td.n, .big')]
  .filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.textContent)
"""
"""The figures that are wider than their place."""


@pytest.mark.parametrize("width", [360, pytest.param(2_200, marks=pytest.mark.faults)])
def test_no_view_is_wider_than_the_screen(base: str, running: Browser, width: int) -> None:
    """From a phone to a wall: nothing is to be scrolled sideways, and no figure is cut."""
    with open_page(running, f"{base}/#now", width=width) as (page, _, _):
        for view in VIEWS:
            page.goto(f"{base}/#{view}")
            page.locator(f"#view-{view}").wait_for()
            page.get_by_text("as of").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            assert page.evaluate(CUT) == [], view


def test_a_finger_hits_every_control(base: str, running: Browser) -> None:
    """Each is at least 44 px high on a phone, and all tabs are seen."""
    phone = running.new_context(
        viewport={"width": 360, "height": 800}, is_mobile=True, has_touch=True
    )
    phone.set_default_timeout(TIMEOUT_MILLISECONDS)
    page = phone.new_page()
    for view in VIEWS:
        page.goto(f"{base}/#{view}")
        page.get_by_text("as of").first.wait_for()
        assert page.evaluate(LOW_CONTROLS) == [], view
    for link in page.locator("nav a").all():
        expect(link).to_be_in_viewport(ratio=1)
    phone.close()
