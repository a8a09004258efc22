"""The assets as Dagster runs them: what a run shows of each partition, and what it leaves."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunConfig,
    TableColumnLineage,
    materialize,
)

from assets.builds import addition, pieces
from assets.builds.builder import Outcome, PartitionBuilder
from assets.builds.locks import is_run_alive
from assets.definitions import BuildConfig, history_asset, stream_specs, table_assets
from assets.lineage import EVENTS, SOURCES, column_lineage
from assets.partitions import day_partitions, today
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from streaming.store.models import AnalyticsEventRow, Table, table_name
from tests.assets.event_store import store_events
from tests.databases import look
from tests.store.rows import event, micros, year_of_days

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
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
    """Return what the last materialisation of a day shows."""
    records_filter = AssetRecordsFilter(AssetKey(table), [day])
    record = instance.fetch_materializations(records_filter, limit=1).records[0]
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    return {name: getattr(value, "value", None) for name, value in shown.items()}


def evaluations(instance: DagsterInstance, table: str) -> dict[str | None, str]:
    """Return the audit's last status of each partition."""
    key = AssetCheckKey(AssetKey(table), "audit")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return {row.partition: row.status.value for row in reversed(history)}


def break_ledger(settings: Settings, day: str, items_sold: int) -> None:
    """Make the ledger say something about a day that its events do not."""
    with look(settings) as connection:
        connection.execute("UPDATE day_ledger SET items_sold = ? WHERE day = ?", (items_sold, day))


def test_a_range_is_one_run_and_each_day_is_shown(
    store: Settings, instance: DagsterInstance
) -> None:
    """Each table has a materialisation and a passed audit for each day, also for an empty one."""
    store_events(store, year_of_days(3))
    result = run(store, instance)
    assert result.success
    for table in DAY_TABLES:
        assert instance.get_materialized_partitions(AssetKey(table)) == set(DAYS)
        assert evaluations(instance, table) == dict.fromkeys(DAYS, "SUCCEEDED")
    assert len(result.get_asset_materialization_events()) == len(DAYS) * len(DAY_TABLES)
    shown = metadata(instance, "daily_sales", "2024-01-02")
    assert (shown["events"], shown["items_sold"], shown["net_revenue"]) == (1, 2, 5.0)
    assert (shown["rows"], shown["ledger_version"]) == (1, 3)
    assert shown["stream_offsets"] == {"analytics-0": 3}
    assert shown["built_by"] == result.run_id
    assert len(str(shown["digest"])) == 64
    assert metadata(instance, "daily_sales", "2024-01-04")["events"] == 0


def test_a_late_event_shows_as_the_change(
    store: Settings, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that Dagster plots, and a text for people; and how many events were added."""
    monkeypatch.setattr(addition, "LEAST_EVENTS", 1)
    # Only a day that is a piece by itself is large enough to be added to.
    monkeypatch.setattr(pieces, "PIECE_DAYS", 1)
    store_events(store, year_of_days(3))
    run(store, instance, ["daily_sales"])
    assert metadata(instance, "daily_sales", "2024-01-02")["change"] == "+1 events, +5.00"
    late = [
        event(number, micros("2024-01-02 09:00"), quantity, order_id=f"late-{number}")
        for number, quantity in ((7, 1), (8, -4))
    ]
    store_events(store, late)
    run(store, instance, ["daily_sales"])
    shown = metadata(instance, "daily_sales", "2024-01-02")
    assert shown["change"] == "+2 events, -7.50"
    assert (shown["change_events"], shown["change_items_sold"]) == (2, -3)
    assert shown["change_net_revenue"] == -7.5
    assert (shown["computed"], shown["added_events"]) == (True, 0)
    store_events(store, [event(9, micros("2024-01-02 09:00"))])
    run(store, instance, ["daily_sales"])
    assert metadata(instance, "daily_sales", "2024-01-02")["added_events"] == 1
    assert metadata(instance, "daily_sales", "2024-01-01")["computed"] is False


def test_a_failing_day_does_not_stop_the_others(store: Settings, instance: DagsterInstance) -> None:
    """The run fails and names it; it shows as failed, an empty day as passed, others as nothing."""
    store_events(store, year_of_days(3))
    break_ledger(store, "2024-01-02", 99)
    result = run(store, instance)
    assert not result.success
    failure = result.failure_data_for_node("day_tables")
    assert failure is not None
    assert failure.user_failure_data is not None
    description = str(failure.user_failure_data.description)
    assert description.startswith(
        "4 builds failed, and their old figures stay: hourly_sales of 2024"
    )
    assert description.endswith("daily_country_sales of 2024-01-02.")
    for table in DAY_TABLES:
        assert instance.get_materialized_partitions(AssetKey(table)) == set(DAYS) - {"2024-01-02"}
        assert evaluations(instance, table) == {
            **dict.fromkeys(DAYS, "SUCCEEDED"),
            "2024-01-02": "FAILED",
        }
    evaluation = next(e for e in result.get_asset_check_evaluations() if not e.passed)
    assert evaluation.metadata["items_sold"].value == 2
    assert "the stream counted 99" in str(evaluation.metadata["problem 1"].value)


def test_run_again_only_the_failed_day_is_computed(
    store: Settings, instance: DagsterInstance
) -> None:
    """The others are shown as current too; with `force` all are computed."""
    store_events(store, year_of_days(3))
    break_ledger(store, "2024-01-02", 99)
    run(store, instance)
    break_ledger(store, "2024-01-02", 2)
    assert run(store, instance).success
    computed = {day: metadata(instance, "hourly_sales", day)["computed"] for day in DAYS}
    assert computed == {**dict.fromkeys(DAYS, False), "2024-01-02": True}
    assert evaluations(instance, "hourly_sales") == dict.fromkeys(DAYS, "SUCCEEDED")
    assert run(store, instance, force=True).success
    assert all(metadata(instance, "hourly_sales", day)["computed"] for day in DAYS)


def test_any_table_can_be_chosen(store: Settings, instance: DagsterInstance) -> None:
    """A backfill of one table touches no other one."""
    store_events(store, year_of_days(3))
    assert run(store, instance, ["daily_item_sales"], days=("2024-01-02", "2024-01-03")).success
    chosen = instance.get_materialized_partitions(AssetKey("daily_item_sales"))
    assert chosen == {"2024-01-02", "2024-01-03"}
    assert instance.get_materialized_partitions(AssetKey("daily_sales")) == set()


def test_the_summaries_are_whole(store: Settings, instance: DagsterInstance) -> None:
    """They have no partitions, and say of which columns they are made."""
    store_events(store, year_of_days(3))
    result = materialize(
        [*stream_specs(store), *table_assets(store)],
        selection=["customer_summary", "sales_summary"],
        instance=instance,
    )
    assert result.success
    assert evaluations(instance, "sales_summary") == {None: "SUCCEEDED"}
    record = instance.get_latest_materialization_event(AssetKey("sales_summary"))
    assert record is not None
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    assert shown["events"].value == 3
    lineage = shown["dagster/column_lineage"].value
    assert isinstance(lineage, TableColumnLineage)
    assert [dep.column_name for dep in lineage.deps_by_column["customers"]] == ["user"]


def test_a_lock_named_by_the_run_is_held_while_it_builds(
    store: Settings, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever looks can tell a run that works from one whose process died."""
    store_events(store, year_of_days(1))
    alive: list[tuple[str, bool]] = []
    build = PartitionBuilder.build_days

    def looking(shop: PartitionBuilder, *arguments: Any, **options: Any) -> list[Outcome]:  # noqa: ANN401
        alive.append((shop.context.run_id, is_run_alive(store, shop.context.run_id)))
        return build(shop, *arguments, **options)

    monkeypatch.setattr(PartitionBuilder, "build_days", looking)
    result = run(store, instance, days=("2024-01-01", "2024-01-01"))
    assert alive == [(result.run_id, True)]
    assert not is_run_alive(store, result.run_id)


def test_lineage_leads_from_the_topic_to_the_last_table(store: Settings) -> None:
    """From `purchases` the arrows lead to `sales_summary`, also by way of what was redriven."""
    graph = Definitions(
        assets=[*stream_specs(store), history_asset(store), *table_assets(store)]
    ).resolve_asset_graph()
    assert graph.get_ancestor_asset_keys(AssetKey("sales_summary")) == {
        AssetKey("analytics_event"),
        AssetKey("analytics_history"),
        AssetKey("analytics"),
        AssetKey("purchases"),
        AssetKey("purchases_dlq"),
        AssetKey("purchases_redrive"),
    }
    assert graph.get(AssetKey("purchases_redrive")).parent_keys == {AssetKey("purchases_dlq")}
    both = {AssetKey("purchases"), AssetKey("purchases_redrive")}
    assert graph.get(AssetKey("analytics")).parent_keys == both
    for node in graph.asset_nodes:
        assert node.description, node.key
        # Of several groups Dagster's graph shows closed boxes.
        assert node.group_name == "purchases"
        assert node.owners, node.key
        assert node.kinds, node.key


def test_a_table_links_to_the_dashboard_once_that_has_an_address(store: Settings) -> None:
    """And the page links back to it."""

    def links() -> list[object]:
        metadata = [m for a in table_assets(store) for m in a.metadata_by_key.values()]
        links = [m.get("dashboard") for m in metadata]
        return [link.value if link else None for link in links]

    assert set(links()) == {None}
    (store.home / "dashboard.port").write_text("4321\n")
    assert "http://127.0.0.1:4321/#verified?table=daily_sales" in links()


def test_every_column_says_what_it_is(store: Settings) -> None:
    """Its type, its meaning and its unit, from the models; lineage names columns that are there."""
    schemas = {
        key.to_user_string(): {column.name: column for column in schema.columns}
        for assets in table_assets(store)
        for key, metadata in assets.metadata_by_key.items()
        for schema in [metadata["dagster/column_schema"]]
    }
    [events] = [spec for spec in stream_specs(store) if spec.key == EVENTS]
    columns = events.metadata["dagster/column_schema"].columns
    schemas[table_name(AnalyticsEventRow)] = {column.name: column for column in columns}
    for table, columns in schemas.items():
        assert list(columns) == [column.name for column in Table.metadata.tables[table].columns]
        assert all(column.description and column.type for column in columns.values()), table
    for transform in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS):
        if (table := transform.table) not in SOURCES:
            continue
        lineage = column_lineage(transform)
        assert lineage is not None
        assert set(lineage.deps_by_column) == set(schemas[table]) - {"id"}
        sources = {dep.column_name for deps in lineage.deps_by_column.values() for dep in deps}
        assert sources <= set(AnalyticsEventRow.model_fields)


@pytest.mark.parametrize("start", [date(2024, 1, 5), date(2023, 12, 1)])
def test_the_start_of_history_may_move(
    store: Settings, instance: DagsterInstance, start: date
) -> None:
    """Later: days before it have no partition, and keep what was built; earlier: they get one."""
    store_events(store, year_of_days(10))
    assert run(store, instance, ["daily_sales"]).success
    moved = store.model_copy(update={"history_start": start})
    keys = day_partitions(moved).get_partition_keys()
    assert keys[0] == start.isoformat()
    assert keys[-1] == today(moved, datetime.now(UTC)).isoformat()
    assert ("2024-01-02" in keys) is (start < date(2024, 1, 2))
    days = (max(start, date(2024, 1, 1)).isoformat(), "2024-01-06")
    assert run(moved, instance, ["daily_sales"], days=days).success
    assert {*DAYS, "2024-01-05", "2024-01-06"} == instance.get_materialized_partitions(
        AssetKey("daily_sales")
    )
