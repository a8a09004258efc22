"""Erasing and the aggregate tables: the name leaves them at once, and no build brings it back."""

from collections.abc import Iterator

import polars as pl
import pytest

from assets.builds.builder import PartitionBuilder, open_builder
from assets.builds.staleness import read_stale_partitions
from assets.checks.finding import CheckContext
from assets.checks.reconciliation import check_unchanged
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, compute
from streaming.settings import Settings
from streaming.store import free_space
from streaming.store.connection import StoreConnection, read_store
from streaming.store.erasure import erase
from tests.assets.event_store import store_events
from tests.store.rows import year_of_days

DAYS = [f"2024-01-{day:02d}" for day in range(1, 10)]
CUSTOMERS = "SELECT * FROM customer_summary ORDER BY user"
DAY_ROWS = "SELECT * FROM daily_item_sales ORDER BY day, item"


@pytest.fixture
def builder(store: Settings) -> Iterator[PartitionBuilder]:
    """Return the builder of a run, over nine stored days of which all tables are built."""
    store_events(store, year_of_days(9))
    with open_builder(store, "run-1") as opened:
        build_all(opened)
        yield opened


def build_all(builder: PartitionBuilder) -> int:
    """Build every table; return how many partitions were computed."""
    outcomes = [outcome for day in DAYS for outcome in builder.build(day, DAY_TRANSFORMS)]
    outcomes += builder.build(WHOLE, WHOLE_TRANSFORMS)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    return sum(outcome.computed for outcome in outcomes)


def stale_days(settings: Settings) -> set[str]:
    """Return the partitions that are to be built."""
    with read_store(settings) as store:
        return {stale.partition for stale in read_stale_partitions(store, {})}


def test_the_name_leaves_the_tables_and_every_row_keeps_its_figures(
    store: Settings, connection: StoreConnection, builder: PartitionBuilder
) -> None:
    """At once and after the builds, for which the days with the customer's events are stale."""
    context = CheckContext(store, 0)
    customers, days = (connection.execute(s).fetchall() for s in (CUSTOMERS, DAY_ROWS))
    assert erase(store, "anna", None, apply=True).erasure.table_rows == 1
    for _ in range(2):
        renamed = connection.execute(CUSTOMERS).fetchall()
        assert sorted(row[1:] for row in renamed) == sorted(row[1:] for row in customers)
        assert {"bert"} == {row[0] for row in renamed if not row[0].startswith("erased-")}
        assert connection.execute(DAY_ROWS).fetchall() == days
        for transform in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS):
            assert check_unchanged(connection, context, transform).passed
        build_all(builder)
    assert stale_days(store) == set()


def test_the_days_of_the_customer_and_of_shared_orders_are_built_again(
    store: Settings, builder: PartitionBuilder
) -> None:
    """And the summaries; the other days are current still."""
    erase(store, "anna", None, apply=True)
    assert stale_days(store) == {*DAYS[:4], *DAYS[6:8], WHOLE}
    assert build_all(builder) == 6 * len(DAY_TRANSFORMS) + len(WHOLE_TRANSFORMS)


@pytest.mark.usefixtures("builder")
def test_a_table_that_somebody_edited_is_still_found(
    store: Settings, connection: StoreConnection
) -> None:
    """An erasure writes the digest of its own change only, not of anybody else's."""
    connection.execute("""UPDATE customer_summary SET events = events + 1 WHERE "user" = 'bert'""")
    erase(store, "anna", None, apply=True)
    context = CheckContext(store, 0)
    assert not check_unchanged(connection, context, WHOLE_TRANSFORMS[0]).passed


def test_a_build_under_way_does_not_bring_the_name_back(
    store: Settings,
    connection: StoreConnection,
    builder: PartitionBuilder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was computed from events with the name is computed again."""
    monkeypatch.setattr(free_space, "VACUUM_LOCK_SECONDS", 0.1)
    calls = 0

    def compute_and_erase(*arguments: object) -> list[pl.DataFrame]:
        nonlocal calls
        calls += 1
        frames = compute(*arguments)  # type: ignore[arg-type]
        if calls == 1:
            erase(store, "anna", None, apply=True)
        return frames

    monkeypatch.setattr("assets.builds.computation.compute", compute_and_erase)
    (outcome, _) = builder.build(WHOLE, WHOLE_TRANSFORMS, force=True)
    assert (calls, outcome.computed, outcome.failure) == (2, True, None)
    names = {row[0] for row in connection.execute('SELECT "user" FROM customer_summary')}
    assert {name[:7] for name in names} == {"bert", "erased-"}
