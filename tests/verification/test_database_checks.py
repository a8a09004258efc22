"""The database against itself: every figure that is not the events' is named."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events.identifiers import pack_event_id
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.verification.check import Check
from streaming.verification.database_checks import (
    check_days,
    check_items,
    check_positions,
    check_totals,
    day_in,
)
from tests.store.rows import GROUP, add_events, event, fill, micros, year_of_days

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = [
    "UTC",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Australia/Lord_Howe",
]


def checks(connection: StoreConnection, zone: str = "UTC") -> list[Check]:
    """Run all checks of the database."""
    return [
        check_totals(connection),
        check_items(connection),
        check_days(connection, ZoneInfo(zone)),
        check_positions(connection, GROUP, "analytics"),
    ]


def list_differing(connection: StoreConnection) -> list[str]:
    """Return the first differences of all checks."""
    return [sentence for check in checks(connection) for sentence in check.examples]


def test_what_agrees_is_counted(either_store: Settings, either_connection: StoreConnection) -> None:
    """One row of totals, three items, sixty days, one partition; no difference."""
    fill(either_store, either_connection, year_of_days(60))
    assert [(check.compared, check.differing) for check in checks(either_connection)] == [
        (1, 0),
        (3, 0),
        (60, 0),
        (1, 0),
    ]


def test_an_empty_store_agrees(either_connection: StoreConnection) -> None:
    """Nothing was stored, so nothing is wrong."""
    assert list_differing(either_connection) == []


@pytest.mark.parametrize(
    ("tampering", "sentence"),
    [
        ("UPDATE live_totals SET events = 59", "live_totals: events is 59, the events say 60."),
        ("UPDATE live_totals SET items_sold = 0", "items_sold is 0"),
        ("UPDATE live_totals SET gross_revenue_micros = 1", "gross_revenue_micros is 1"),
        ("UPDATE live_totals SET net_revenue_micros = 1", "net_revenue_micros is 1"),
        ("UPDATE live_totals SET guest_events = 1", "guest_events is 1, the events say 20"),
        ("DELETE FROM live_totals", "live_totals: events is 0, the events say 60"),
        ("UPDATE live_item_totals SET items_sold = 1 WHERE item = 'book'", "of item book: items"),
        ("DELETE FROM live_item_totals WHERE item = 'lamp'", "of item lamp: events is 0"),
        ("INSERT INTO live_item_totals VALUES ('ghost', 1, 1, 1, 1, 0, 0)", "ghost: events is 1"),
        ("UPDATE day_ledger SET events = 2 WHERE day = '2024-01-07'", "day_ledger of 2024-01-07"),
        ("DELETE FROM day_ledger WHERE day = '2024-01-07'", "2024-01-07: events is 0, the events"),
        (
            "INSERT INTO day_ledger VALUES ('2030-01-01', 1, 1, 1, 1, 1, 0)",
            "2030-01-01: events is 1, the events say 0",
        ),
        ("UPDATE stream_offset SET records = 61", "61 records, but 60 stored + 0 known + 0 not"),
        ("UPDATE stream_offset SET records = 61, stored = 61", "holds 60 from it"),
        ("UPDATE stream_offset SET conflicting = 1", "1 conflicting, but 0 duplicates"),
        (
            "UPDATE stream_offset SET not_storable = 1, records = 61",
            "1 not storable, but dead_letter holds 0 from it",
        ),
        ("UPDATE stream_offset SET next_offset = 59", "next is 59, but an event came from 59"),
        ("UPDATE stream_offset SET partition = 3", "analytics-0, which was never read"),
    ],
)
def test_a_wrong_figure_is_named(
    either_store: Settings, either_connection: StoreConnection, tampering: str, sentence: str
) -> None:
    """With its table, its name, what it is and what the events say."""
    fill(either_store, either_connection, year_of_days(60))
    either_connection.execute(tampering)
    assert sentence in "\n".join(list_differing(either_connection))


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM analytics_event WHERE event_id = ?",
        "UPDATE analytics_event SET quantity = quantity + 1 WHERE event_id = ?",
    ],
)
def test_a_lost_or_changed_event_shows_everywhere(
    either_store: Settings, either_connection: StoreConnection, tampering: str
) -> None:
    """In the totals, in its item and on its day."""
    fill(either_store, either_connection, year_of_days(60))
    either_connection.execute(tampering, (pack_event_id("id-000004"),))
    named = [check.name for check in checks(either_connection) if check.differing]
    assert named[:3] == ["live totals", "items", "days"]


def test_a_day_of_zeros_is_an_empty_day(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """A rebuild leaves such rows where events were lost, so that versions only grow."""
    fill(either_store, either_connection, year_of_days(3))
    either_connection.execute("INSERT INTO day_ledger VALUES ('2030-01-01', 3, 0, 0, 0, 0, 0)")
    assert list_differing(either_connection) == []


def test_differences_are_counted_but_few_are_shown(
    either_store: Settings, either_connection: StoreConnection
) -> None:
    """Sixty wrong days are sixty, of which the first five are named."""
    fill(either_store, either_connection, year_of_days(60))
    either_connection.execute("UPDATE day_ledger SET events = 7")
    check = check_days(either_connection, ZoneInfo("UTC"))
    assert check.differing == 60
    assert [sentence[:24] for sentence in check.examples] == [
        f"day_ledger of 2024-01-0{day}" for day in range(1, 6)
    ]


def test_days_are_cut_in_the_zone(either_connection: StoreConnection) -> None:
    """An hour before midnight in UTC is the next day in Kathmandu."""
    add_events(either_connection, [event(0, micros("2024-05-01 23:00"))])
    (sentence,) = check_days(either_connection, ZoneInfo("Asia/Kathmandu")).examples
    assert sentence.startswith("day_ledger of 2024-05-02")


@given(
    st.sampled_from(ZONES),
    st.lists(st.integers(-2_000_000_000_000_000, 2_500_000_000_000_000), min_size=1),
)
def test_a_day_is_the_local_date(zone: str, times: list[int]) -> None:
    """Whatever transitions the zone had: as Python's own conversion has it."""
    day = day_in(ZoneInfo(zone))
    for time in times:
        local = (EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(zone))
        assert day(time) == local.date().isoformat()


@pytest.mark.parametrize(
    ("zone", "transition"),
    [
        ("America/St_Johns", "2010-11-07 02:31"),
        ("America/Sao_Paulo", "2018-11-04 03:00"),
        ("Pacific/Apia", "2011-12-30 10:00"),
        ("Africa/Monrovia", "1972-01-07 00:44"),
    ],
)
def test_transitions_at_midnight_are_exact(zone: str, transition: str) -> None:
    """Clocks that go back over midnight give one day twice; every second is asked for."""
    day = day_in(ZoneInfo(zone))
    start = micros(transition)
    for second in range(-2 * 3600, 2 * 3600, 7):
        time = start + second * 1_000_000
        local = (EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(zone))
        assert day(time) == local.date().isoformat()
