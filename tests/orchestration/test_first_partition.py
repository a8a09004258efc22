"""Dagster's partitions begin where the stored history does, and not in 2010."""

from datetime import UTC, date, datetime

import pytest
from dagster import AssetKey

from assets.tables.first_partition import FIRST_PARTITION, choose_first_partition
from orchestration.build import build_defs
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.live_totals import read_first_day
from tests.assets.event_store import store_events
from tests.store.rows import event, micros

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RECENT = date(2025, 10, 25)


@pytest.mark.parametrize(
    ("first_stored", "expected"),
    [
        (None, RECENT),
        (date(2026, 11, 29), RECENT),
        (date(2014, 3, 1), date(2014, 3, 1)),
        (date(2001, 1, 1), date(2010, 1, 1)),
    ],
)
def test_partitions_begin_at_the_first_stored_day(
    settings: Settings, first_stored: date | None, expected: date
) -> None:
    """With 400 days at least, and never before the start of history."""
    assert choose_first_partition(settings, first_stored, NOW) == expected


def test_the_first_stored_day_is_one_of_history(store: Settings) -> None:
    """A day before `PURCHASES_HISTORY_START` has no partition."""
    with read_store(store) as reader:
        assert read_first_day(reader, store.history_start) is None
    days = ("2011-05-01 10:00", "2014-05-01 10:00")
    store_events(store, [event(number, micros(day)) for number, day in enumerate(days)])
    with read_store(store) as reader:
        assert read_first_day(reader, store.history_start) == date(2011, 5, 1)
        assert read_first_day(reader, date(2012, 1, 1)) == date(2014, 5, 1)


def test_dagster_has_the_partitions_that_it_was_started_with(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variable they begin with history."""
    assert first_key(store) == "2010-01-01"
    monkeypatch.setenv(FIRST_PARTITION, "2025-10-25")
    assert first_key(store) == "2025-10-25"


def first_key(settings: Settings) -> str:
    """Return the first partition of a table."""
    graph = build_defs(settings).resolve_asset_graph()
    partitions = graph.get(AssetKey("daily_sales")).partitions_def
    assert partitions is not None
    return str(partitions.get_first_partition_key())
