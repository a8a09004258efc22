"""The views: each table once more, with times and money as people read them."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import NotFound, UsageError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from streaming.store.dead_letters import find_dead_letter
from streaming.store.migrations.readable import money, money_sum, utc, utc_of_milliseconds
from streaming.store.models import Table
from streaming.units import decimal_text, split_sum, whole_sum
from tests.databases import read_named
from tests.store.rows import add_dead_letter, event, fill, micros

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AROUND_A_TRILLION = st.sampled_from([n * 10**18 + d for n in (-2, -1, 0, 1) for d in (-1, 0, 1)])
TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


def evaluate(expression: str, value: int | None) -> object:
    """Let SQLite compute an expression over the column `c`."""
    connection = sqlite3.connect(":memory:")
    row = connection.execute(f"SELECT {expression} FROM (SELECT ? AS c)", (value,)).fetchone()
    connection.close()
    return row[0]


@given(st.integers(-(10**15), 10**15))
def test_money_is_the_exact_decimal(amount: int) -> None:
    """The view's money is the same text as everywhere else, to the last micro."""
    assert evaluate(money("c"), amount) == decimal_text(amount)


@given(st.integers(-(10**24), 10**24) | AROUND_A_TRILLION)
def test_a_sum_is_whole_in_one_text(micros: int) -> None:
    """A sum in two columns is shown, joined, and ordered as one number."""
    trillions, rest = split_sum(micros)
    connection = sqlite3.connect(":memory:")
    statement = f"SELECT {money_sum('t', 'm')} FROM (SELECT ? AS t, ? AS m)"
    assert connection.execute(statement, (trillions, rest)).fetchone()[0] == decimal_text(micros)
    connection.close()
    assert whole_sum(trillions, rest) == micros
    assert (trillions, rest) < split_sum(micros + 1)


@given(TIMES)
def test_times_are_utc_to_the_microsecond(time: int) -> None:
    """Any time of the years 1 to 9999, before 1970 too."""
    expected = (EPOCH + timedelta(microseconds=time)).isoformat(" ", "microseconds")[:26]
    assert evaluate(utc("c"), time) == expected


@given(st.integers(0, 253_402_300_799_999))
def test_milliseconds_are_utc(time: int) -> None:
    """Kafka's timestamps are milliseconds."""
    expected = (EPOCH + timedelta(milliseconds=time)).isoformat(" ", "milliseconds")[:23]
    assert evaluate(utc_of_milliseconds("c"), time) == expected


def test_nothing_stays_nothing() -> None:
    """An unknown price or time is NULL, never 0."""
    for expression in (money("c"), utc("c"), utc_of_milliseconds("c")):
        assert evaluate(expression, None) is None


def test_every_table_has_a_readable_view(connection: StoreConnection) -> None:
    """Who opens the store finds for each table the view by its name, and it can be read."""
    for name in Table.metadata.tables:
        connection.execute(f"SELECT * FROM {name}_readable").fetchall()


def test_the_views_read_like_a_report(store: Settings, connection: StoreConnection) -> None:
    """A guest's event, its day and the totals, as a person sees them."""
    guest = event(0, micros("2024-02-29 23:30") + 5, quantity=3, user=None, item="mug")
    fill(store, connection, [guest])
    add_dead_letter(connection, 8)

    def read_row(view: str) -> dict[str, Any]:
        (row,) = read_named(connection, f"SELECT * FROM {view}_readable")
        return row

    row = read_row("analytics_event")
    assert row["event_time_utc"] == "2024-02-29 23:30:00.000005"
    assert (row["user"], row["unit_price"], row["amount"]) == ("(guest)", "2.50", "7.50")
    assert row["source"] == "purchases/0@0"
    day = read_row("day_ledger")
    assert (day["day"], day["net_revenue"], day["currency"]) == ("2024-02-29", "7.50", "GBP")
    assert day["timezone"] == "UTC"
    totals = read_row("live_totals")
    assert (totals["items_sold"], totals["net_revenue"]) == (3, "7.50")
    assert totals["most_popular_item"] == "mug"
    assert read_row("live_item_totals")["item"] == "mug"
    assert read_row("dead_letter")["origin"] == "purchases/0@8"
    assert read_row("stream_offset")["place"] == "analytics/0@1"
    assert read_row("deployment")["currency"] == "GBP"


@pytest.mark.parametrize("time", [-(2**63), -(10**15), 17 * 10**17, 2**63 - 1])
def test_a_time_that_no_calendar_has_is_empty(
    either_connection: StoreConnection, time: int
) -> None:
    """A sender may choose it, and the other rows must still be shown."""
    add_dead_letter(either_connection, 1)
    add_dead_letter(either_connection, 2)
    either_connection.execute(
        "UPDATE dead_letter SET origin_timestamp = ? WHERE origin_offset = 1", (time,)
    )
    shown = either_connection.execute(
        "SELECT origin_time_utc FROM dead_letter_readable ORDER BY dlq_offset"
    ).fetchall()
    assert shown == [(None,), ("1970-01-01 00:00:00.000",)]


@pytest.mark.parametrize(
    "name", ["9999999999:5", "0:99999999999999999999", "0:9223372036854775807"]
)
def test_no_dead_letter_has_an_id_of_large_numbers(
    either_connection: StoreConnection, name: str
) -> None:
    """It is said, not the database's own error."""
    with pytest.raises(NotFound, match="There is no dead letter"):
        find_dead_letter(either_connection, name)


def test_an_id_of_other_digits_is_no_id(either_connection: StoreConnection) -> None:
    """Python reads them as decimals, and a database does not."""
    with pytest.raises(UsageError, match="is no id"):
        find_dead_letter(either_connection, "٢:5")
