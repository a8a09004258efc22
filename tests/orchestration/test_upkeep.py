"""The upkeep deletes what is old and needed no more, and gives the space back."""

import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterEventType, DagsterInstance

from orchestration.backfill import backfill
from orchestration.instance import dagster_home, open_instance
from orchestration.requests import DayRange
from orchestration.upkeep import DAY_SECONDS, KEPT_DAYS, upkeep
from streaming.settings import Settings
from tests.assets.stored import store_events
from tests.store.rows import event, micros

FIRST = date(2024, 3, 1)
LATER = KEPT_DAYS * DAY_SECONDS + 60


def built(instance: DagsterInstance) -> int:
    """Give how many partitions of daily_sales show as materialised."""
    found = instance.get_latest_storage_id_by_partition(
        AssetKey("daily_sales"), DagsterEventType.ASSET_MATERIALIZATION
    )
    return len(found)


def bytes_under(path: Path) -> int:
    """Give the size of all files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_old_runs_go_with_their_files_and_no_partition_is_forgotten(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last run of each day stays, however old; nothing young goes."""
    monkeypatch.setattr("orchestration.upkeep.FREE_BYTES", 0)
    store_events(store, [event(n, micros("2024-03-01 10:00") + n * 10**6) for n in range(3)])
    days = DayRange(FIRST, FIRST + timedelta(9))
    old = [backfill(store, days, ["daily_sales"], force=True).run_id for _ in range(3)]
    with open_instance(store) as instance:
        assert upkeep(store, instance, time.time()).runs == 0
        before = bytes_under(dagster_home(store.home))
        done = upkeep(store, instance, time.time() + LATER)
        assert done.runs == 2
        assert done.freed_bytes > 0
        assert bytes_under(dagster_home(store.home)) < before
        assert built(instance) == 10
        assert [run.run_id for run in instance.get_runs()] == old[-1:]
        files = {path.stem for path in (dagster_home(store.home) / "history").rglob("*.db")}
        assert not files & set(old[:2])
        assert upkeep(store, instance, time.time() + LATER).runs == 0
