"""Figures from the stored events: by any period, of any item, country and customer together."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assets.queries import event_figures
from assets.queries.event_figures import Period, Subject, rank_events, read_orders, read_periods
from assets.queries.sales import read_descriptions
from assets.queries.search import search
from assets.queries.series import group_days
from assets.tables.day_range import DayRange
from streaming.errors import UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from tests.assets.event_store import store_events
from tests.databases import home_settings
from tests.store.rows import Event, event, micros

ZONE = ZoneInfo("Europe/London")
SETTINGS = Settings(timezone=ZONE.key)
DAYS = DayRange(date(2024, 3, 29), date(2024, 10, 28))
"""The clocks change on 31 March and on 27 October."""
STARTS: dict[Period, Callable[[datetime], str]] = {
    "hour": lambda time: time.replace(minute=0).isoformat(timespec="minutes"),
    "day": lambda time: time.date().isoformat(),
    "week": lambda time: (time.date() - timedelta(time.weekday())).isoformat(),
    "month": lambda time: time.date().replace(day=1).isoformat(),
}


def purchases() -> Iterator[Event]:
    """Make a purchase every seven hours, and two within the hour that the clocks repeat."""
    first = micros("2024-03-28 00:30")
    times = [first + 7 * 3_600_000_000 * number for number in range(740)]
    for number, time in enumerate([*times, micros("2024-10-27 00:30"), micros("2024-10-27 01:30")]):
        yield event(
            number,
            time,
            -1 if number % 11 == 0 else number % 5 + 1,
            item=("lamp", "book")[number % 2],
            country=("France", "Spain", None)[number % 3],
            user=("anna", "bert", "cleo", None)[number % 4],
            order_id=f"o-{number // 3}",
            description=f"a {('lamp', 'book')[number % 2]} 100%",
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with a summer of purchases."""
    settings = home_settings(tmp_path_factory.mktemp("shop"), timezone="Europe/London")
    store_events(settings, purchases())
    return settings


@pytest.fixture
def reader(shop: Settings) -> Iterator[StoreConnection]:
    """A snapshot of it."""
    with read_store(shop) as store:
        yield store


def local(one: Event) -> datetime:
    """Return the local time of an event."""
    return datetime.fromtimestamp(one.event_time // 1_000_000, ZONE)


def test_an_item_without_a_description_is_ranked_before_its_day_is_built(tmp_path: Path) -> None:
    """Items of a country are ranked from the events, which are there before any table is."""
    settings = home_settings(tmp_path)
    store_events(settings, [event(1, micros("2024-03-28 00:30"), item="lamp")])
    with read_store(settings) as store:
        assert read_descriptions(store, ["lamp"], settings) == {}


@pytest.mark.parametrize("by", STARTS)
@pytest.mark.parametrize("subject", [Subject(), Subject("lamp", "Spain"), Subject(customer="bert")])
def test_each_period_has_what_its_local_time_has(
    reader: StoreConnection, by: Period, subject: Subject
) -> None:
    """Sums, distinct orders and customers; an hour that the clocks repeat stands twice."""
    expected: dict[str, list[Event]] = defaultdict(list)
    for one in purchases():
        is_asked = all(
            asked in {None, has}
            for asked, has in zip(subject, (one.item, one.country, one.user), strict=False)
        )
        if is_asked and local(one).date() in DAYS:
            expected[STARTS[by](local(one))].append(one)
    points = read_periods(reader, DAYS, SETTINGS, subject, by)
    assert {p.at: (p.events, p.items_sold, p.net_revenue_micros, p.orders) for p in points} == {
        at: (
            len(of),
            sum(one.quantity for one in of),
            sum(one.amount_micros or 0 for one in of),
            len({one.order_id for one in of}),
        )
        for at, of in expected.items()
    }
    assert [p.at[:10] for p in points] == sorted(p.at[:10] for p in points)
    if subject.customer is None:
        users = {at: len({one.user for one in of} - {None}) for at, of in expected.items()}
        assert {p.at: p.customers for p in points} == users


def test_weeks_and_months_of_days_are_those_of_events(reader: StoreConnection) -> None:
    """Their sums; distinct customers of a week are no sum of days, and not shown as one."""
    days = read_periods(reader, DAYS, SETTINGS, Subject(), "day")
    for by in ("week", "month"):
        grouped = group_days(days, by)
        exact = read_periods(reader, DAYS, SETTINGS, Subject(), by)
        for one, other in zip(grouped, exact, strict=True):
            assert (one.at, one.events, one.net_revenue) == (
                other.at,
                other.events,
                other.net_revenue,
            )
            assert one.customers is None


def test_rankings_and_orders_add_up_to_what_they_are_of(reader: StoreConnection) -> None:
    """Each in both directions; guests are no customers, but their orders are orders."""
    spain = [one for one in purchases() if one.country == "Spain" and local(one).date() in DAYS]
    subject, page = Subject(country="Spain"), slice(0, 1_000)
    asked = (reader, DAYS, SETTINGS, subject)
    total, ranking = rank_events(*asked, "user", "net_revenue", "descending", page)
    assert total == len(ranking) == 3
    of_users = sum(one.amount_micros or 0 for one in spain if one.user)
    assert sum(one.net_revenue_micros for one in ranking) == of_users
    _, backwards = rank_events(*asked, "user", "net_revenue", "ascending", page)
    assert [one.name for one in backwards] == [one.name for one in reversed(ranking)]
    total, orders = read_orders(*asked, "at", "descending", page)
    assert total == len(orders) == len({one.order_id for one in spain})
    assert sum(one.lines for one in orders) == len(spain)
    assert [one.at for one in orders] == sorted((one.at for one in orders), reverse=True)


def test_more_events_than_can_be_read_are_refused(
    reader: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any is read, with their number and what to do."""
    monkeypatch.setattr(event_figures, "MAX_EVENTS", 100)
    with pytest.raises(UsageError, match="Choose fewer days"):
        read_periods(reader, DAYS, SETTINGS, Subject(item="lamp"), "day")


@pytest.mark.parametrize(
    ("text", "names"),
    [("LAM", ["lamp"]), ("a book", ["book"]), ("100%", ["book", "lamp"]), ("%", ["book", "lamp"])],
)
def test_items_are_found_by_code_and_by_description(
    reader: StoreConnection, text: str, names: list[str]
) -> None:
    """In any case of letters; a wildcard stands for itself."""
    items = [one.name for one in search(reader, text, ZONE) if one.kind == "item"]
    assert sorted(items) == names


def test_an_order_is_found_with_its_days(reader: StoreConnection) -> None:
    """So that its lines can be shown."""
    (order,) = [one for one in search(reader, "o-246", ZONE) if one.kind == "order"]
    times = [local(one).date() for one in purchases() if one.order_id == "o-246"]
    assert (order.name, order.first, order.last) == ("o-246", min(times), max(times))
