"""The assets as Dagster runs them: what a run shows of each partition, and what it leaves."""

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    ExecuteInProcessResult,
    RunConfig,
    materialize,
)

from assets.definitions import BuildConfig, stream_specs, table_assets
from streaming.settings import Settings
from tests.assets.stored import store_events
from tests.store.rows import year_of_days

DAY_TABLES = ["hourly_sales", "daily_sales", "daily_item_sales", "daily_country_sales"]


def run(
    settings: Settings,
    instance: DagsterInstance,
    tables: list[str] | None = None,
    *,
    days: tuple[str, str] = ("2024-01-01", "2024-01-04"),
    force: bool = False,
) -> ExecuteInProcessResult:
    """Run day tables over a range, as a backfill does."""
    config = RunConfig(ops={"day_tables": BuildConfig(force=force)})
    return materialize(
        [*stream_specs(settings), *table_assets(settings)],
        selection=tables or DAY_TABLES,
        instance=instance,
        run_config=config,
        tags={
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[1],
        },
        raise_on_error=False,
    )


def metadata(instance: DagsterInstance, table: str, day: str) -> dict[str, object]:
    """Give what the last materialisation of a day shows."""
    wanted = AssetRecordsFilter(AssetKey(table), [day])
    record = instance.fetch_materializations(wanted, limit=1).records[0]
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    return {name: getattr(value, "value", None) for name, value in shown.items()}


def test_a_range_is_one_run_and_each_day_is_shown(
    store: Settings, instance: DagsterInstance
) -> None:
    """Each table has a materialisation and a passed audit for each day, also an empty one."""
    store_events(store, year_of_days(3))
    assert run(store, instance).success
    for table in DAY_TABLES:
        assert instance.get_materialized_partitions(AssetKey(table)) == {
            "2024-01-01",
            "2024-01-02",
            "2024-01-03",
            "2024-01-04",
        }
        key = AssetCheckKey(AssetKey(table), "audit")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        assert {row.status.value for row in history} == {"SUCCEEDED"}
        assert {row.partition for row in history} == {
            "2024-01-01",
            "2024-01-02",
            "2024-01-03",
            "2024-01-04",
        }
    shown = metadata(instance, "daily_sales", "2024-01-02")
    assert (shown["events"], shown["items_sold"], shown["change"]) == (1, 2, "+1 events, +5.00")
    assert shown["stream_offsets"] == {"analytics-0": 3}
    assert metadata(instance, "daily_sales", "2024-01-04")["events"] == 0
