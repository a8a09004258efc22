"""The asset of the column files: what its run does and shows, and what its checks find."""

from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance, ExecuteInProcessResult, materialize

from assets.checks.column_files import check_unchanged_files
from assets.checks.finding import CheckContext
from assets.definitions import history_asset, stream_specs
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.system.home import Home
from tests.assets.event_store import store_events
from tests.deployment import Deployment
from tests.store.rows import year_of_days

HISTORY = AssetKey("analytics_history")


def seal(settings: Settings, instance: DagsterInstance) -> ExecuteInProcessResult:
    """Run the asset as its schedule does."""
    return materialize(
        [*stream_specs(settings), history_asset(settings)], selection=[HISTORY], instance=instance
    )


def is_sound(instance: DagsterInstance) -> bool:
    """Return whether the last audit passed."""
    key = AssetCheckKey(HISTORY, "audit")
    (row,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return row.status.value == "SUCCEEDED"


def test_a_run_seals_and_says_what_there_is(store: Settings, instance: DagsterInstance) -> None:
    """Days, files, events and bytes in all, what is new, and a passed audit."""
    store_events(store, year_of_days(4))
    result = seal(store, instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    shown: dict[str, Any] = {name: value.value for name, value in metadata.items()}
    assert shown.pop("bytes") > 4_000
    assert shown == {
        "days": 4,
        "files": 4,
        "events": 4,
        "archived_events": 0,
        "sealed_days": 4,
        "sealed_events": 4,
        "new_files": 4,
        "joined_files": 0,
        "removed_files": 0,
    }
    assert is_sound(instance)


@pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")
def test_a_run_archives_what_is_older_than_rows_are_kept(
    store: Settings, instance: DagsterInstance
) -> None:
    """All days but the newest; the audit passes over files that are the only copy too."""
    store_events(store, year_of_days(4))
    result = seal(store.model_copy(update={"keep_events": 40}), instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert (metadata["archived_events"].value, metadata["events"].value) == (3, 4)
    assert is_sound(instance)


def test_damage_fails_the_checks_until_the_files_are_started_again(
    store: Settings, instance: DagsterInstance
) -> None:
    """The audit sees a file that is gone, the nightly check one of another content."""
    store_events(store, year_of_days(4))
    seal(store, instance)
    lost, changed, *_ = sorted(Home(store.home).columns.rglob("*.parquet"))
    changed.write_bytes(changed.read_bytes()[::-1])
    with read_store(store) as opened:
        finding = check_unchanged_files(opened, CheckContext(store, 0))
    assert (finding.passed, finding.numbers) == (False, {"sound": 3, "unsound": 1})
    lost.unlink()
    assert seal(store, instance).success
    assert not is_sound(instance)
    printed = Deployment(store.home, "127.0.0.1:1", "").succeed("db", "columns", "rebuild")
    assert "OK: 4 column files forgotten, 3 removed." in printed
    assert seal(store, instance).success
    assert is_sound(instance)
