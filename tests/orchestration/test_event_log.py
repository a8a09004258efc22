"""Dagster's event log keeps its events in Dagster's files, and holds those files open."""

import sqlite3
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    DagsterInstance,
    DailyPartitionsDefinition,
    OpExecutionContext,
    RunsFilter,
    job,
    materialize,
    multi_asset,
    op,
)
from dagster_shared.utils.warnings import PreviewWarning

from assets.dagster_events import store_together
from orchestration.instance import open_instance, prepare_instance
from orchestration.local.event_log import INDEX, PooledSqliteEventLogStorage
from streaming.settings import Settings
from streaming.system.deadline import Deadline, wait_until
from streaming.system.home import Home

OWN_LOG = """
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {base_dir: BASE_DIR}
"""


@op
def materialize_three(context: OpExecutionContext) -> None:
    """Log three materialisations."""
    for day in ("2024-03-01", "2024-03-02", "2024-03-03"):
        context.log_event(AssetMaterialization("sales", partition=day))


DAYS = DailyPartitionsDefinition("2024-03-01", end_date="2024-03-04")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", PreviewWarning)  # of `partitions_def`
    AUDIT = AssetCheckSpec("audit", asset="sales", partitions_def=DAYS)


@multi_asset(
    specs=[AssetSpec("sales", skippable=True)],
    check_specs=[AUDIT],
    partitions_def=DAYS,
    backfill_policy=BackfillPolicy.single_run(),
    can_subset=True,
)
def audited_days(context: AssetExecutionContext) -> Iterator[Any]:
    """Record three days and their audits in a block; that of the last one fails."""
    with store_together(context.instance):
        for day in context.partition_keys:
            yield AssetMaterialization("sales", partition=day, metadata={"rows": 3})
        for day in context.partition_keys:
            passed = day != "2024-03-03"
            yield AssetCheckEvaluation(
                asset_key=AssetKey("sales"), check_name="audit", passed=passed, partition=day
            )
            context.log.info("audited %s", day)


def record_days(instance: DagsterInstance) -> str:
    """Record audits that belong to no run, and a run over three days; return its id."""
    with store_together(instance):
        for day in ("2024-03-01", "2024-03-02"):
            instance.report_runless_asset_event(
                AssetCheckEvaluation(
                    asset_key=AssetKey("sales"), check_name="audit", passed=True, partition=day
                )
            )
    return materialize(
        [audited_days],
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": "2024-03-01",
            "dagster/asset_partition_range_end": "2024-03-03",
        },
    ).run_id


EVENTS = """
SELECT e.id, e.dagster_event_type, e.step_key, e.asset_key, e.partition,
    e.timestamp IS NULL, json_extract(e.event, '$.level'),
    json_extract(e.event, '$.dagster_event.event_type_value')
FROM event_logs e ORDER BY e.id
"""
CHECKS = """
SELECT c.id, c.asset_key, c.check_name, c.partition, c.run_id = '', c.execution_status,
    c.evaluation_event_storage_id, c.materialization_event_storage_id,
    c.evaluation_event = e.event, c.evaluation_event_timestamp = e.timestamp
FROM asset_check_executions c JOIN event_logs e ON e.id = c.evaluation_event_storage_id
ORDER BY c.id
"""


def stored_rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement over a file, read by SQLite alone."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


@job
def three() -> None:
    """Run the op alone."""
    materialize_three()


def stored_types(path: Path) -> Counter[str]:
    """Return how many events of each type a file holds, read by SQLite alone."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT dagster_event_type FROM event_logs").fetchall()
    connection.close()
    return Counter(kind for (kind,) in rows if kind)


def open_files() -> set[str]:
    """Return the names of the event log's files that this process holds open."""
    names = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            names.add(link.readlink().name)
        except FileNotFoundError:
            continue  # the directory's own descriptor
    return {name for name in names if name.endswith(".db")}


def test_events_are_in_the_same_files_as_with_dagsters_own_class(
    store: Settings, tmp_path: Path
) -> None:
    """The run's file holds all events; the index those of assets and of the run's state."""
    prepare_instance(store)
    with open_instance(store) as ours:
        run = three.execute_in_process(instance=ours)
    with DagsterInstance.local_temp(str(tmp_path)) as theirs:
        other = three.execute_in_process(instance=theirs)
    here = Home(store.home).dagster / "history" / "runs"
    there = tmp_path / "history" / "runs"
    assert stored_types(here / f"{run.run_id}.db") == stored_types(there / f"{other.run_id}.db")
    index = stored_types(here / "index.db")
    assert index == stored_types(there / "index.db")
    assert index["ASSET_MATERIALIZATION"] == 3


def test_a_block_has_the_rows_that_dagsters_own_class_stores(
    store: Settings, tmp_path: Path
) -> None:
    """Its events are in the same order and have the same numbers, and so have its checks."""
    prepare_instance(store)
    with open_instance(store) as ours:
        run_id = record_days(ours)
    with DagsterInstance.local_temp(str(tmp_path)) as theirs:
        other_id = record_days(theirs)
    here = Home(store.home).dagster / "history" / "runs"
    there = tmp_path / "history" / "runs"
    events = stored_rows(here / f"{run_id}.db", EVENTS)
    assert events == stored_rows(there / f"{other_id}.db", EVENTS)
    assert stored_rows(here / "index.db", EVENTS) == stored_rows(there / "index.db", EVENTS)
    checks = stored_rows(here / "index.db", CHECKS)
    assert checks == stored_rows(there / "index.db", CHECKS)
    assert [check[5] for check in checks] == ["SUCCEEDED"] * 4 + ["FAILED"]


def test_the_index_and_the_last_runs_file_stay_open_and_no_other(store: Settings) -> None:
    """A private method of Dagster's is overridden: were it renamed, no file would stay open."""
    prepare_instance(store)
    with open_instance(store) as instance:
        first = three.execute_in_process(instance=instance).run_id
        assert open_files() >= {f"{INDEX}.db", f"{first}.db"}
        second = three.execute_in_process(instance=instance).run_id
        assert f"{second}.db" in open_files()
        assert f"{first}.db" not in open_files()
        # All that was stored can be read again, also of the file that was closed.
        for run_id in (first, second):
            kinds = [entry.dagster_event_type for entry in instance.all_logs(run_id)]
            assert kinds.count(kinds[-1]) == 1
            assert len(instance.get_run_records(RunsFilter(run_ids=[run_id]))) == 1
    assert not {f"{INDEX}.db", f"{second}.db"} & open_files()


def test_a_page_that_watches_a_run_sees_its_events_while_the_file_is_open(store: Settings) -> None:
    """Events are read from the write-ahead log, before any checkpoint."""
    prepare_instance(store)
    seen: list[str] = []
    with open_instance(store) as instance, open_instance(store) as page:
        run = three.execute_in_process(instance=instance)

        def note(entry: object, _cursor: str) -> None:
            seen.append(getattr(entry, "run_id", ""))

        page.watch_event_logs(run.run_id, None, note)
        assert wait_until(lambda: len(seen) >= 3, Deadline.after(60))
        page.end_watch_event_logs(run.run_id, note)
    assert set(seen) == {run.run_id}


def test_an_event_log_of_ones_own_stays(store: Settings, tmp_path: Path) -> None:
    """What a person writes into the home's `dagster.yaml` holds."""
    prepare_instance(store)
    config = Home(store.home).dagster_config
    config.write_text(config.read_text() + OWN_LOG.replace("BASE_DIR", str(tmp_path)))
    with open_instance(store) as instance:
        assert type(instance.event_log_storage).__name__ == "ConsolidatedSqliteEventLogStorage"


@pytest.mark.parametrize("name", ["asset_keys", "concurrency_slots"])
def test_tables_are_known_as_dagster_knows_them(store: Settings, name: str) -> None:
    """A table that exists is found, another not, also when asked again."""
    prepare_instance(store)
    with open_instance(store) as instance:
        log = instance.event_log_storage
        assert isinstance(log, PooledSqliteEventLogStorage)
        for _ in range(2):
            assert log.has_table(name)
            assert not log.has_table(f"{name}_of_nobody")


def materialize_day(instance: DagsterInstance, number: int = 1) -> None:
    """Store so many materialisations that belong to no run."""
    for _ in range(number):
        instance.report_runless_asset_event(AssetMaterialization("sales", partition="2024-03-01"))


def materializations(store: Settings) -> list[int]:
    """Return how many materialisations the index and the file of no run hold, as others see it."""
    runs = Home(store.home).dagster / "history" / "runs"
    kinds = [stored_types(runs / name) for name in ("index.db", ".db")]
    return [kind["ASSET_MATERIALIZATION"] for kind in kinds]


def last_materialization(instance: DagsterInstance) -> int | None:
    """Return the number of the event that the asset's row in the index has, as the UI reads it."""
    [record] = instance.get_asset_records([AssetKey("sales")])
    return record.asset_entry.last_materialization_storage_id


def pooled_log(instance: DagsterInstance) -> PooledSqliteEventLogStorage:
    """Return our event log of an instance."""
    assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
    return instance.event_log_storage


def test_events_of_a_block_are_stored_at_its_end(store: Settings) -> None:
    """They can be read within the block, and by others after it."""
    prepare_instance(store)
    with open_instance(store) as instance:
        materialize_day(instance)
        with pooled_log(instance).store_together():
            materialize_day(instance, 2)
            stored = instance.fetch_materializations(AssetKey("sales"), limit=5)
            assert len(stored.records) == 3
            assert materializations(store) == [1, 1]
        assert materializations(store) == [3, 3]
        assert last_materialization(instance) == 3
        materialize_day(instance)
        assert materializations(store) == [4, 4]


def store_and_fail(instance: DagsterInstance, error: type[BaseException]) -> None:
    """Store a materialisation in a block that ends with an error."""
    with pooled_log(instance).store_together():
        materialize_day(instance)
        raise error


@pytest.mark.parametrize(("error", "stored"), [(KeyboardInterrupt, 2), (ValueError, 1)])
def test_a_block_that_fails_stores_nothing_and_one_interrupted_what_it_had(
    store: Settings, error: type[BaseException], stored: int
) -> None:
    """A batch that failed is stored again, event by event; an interrupted run ends in order."""
    prepare_instance(store)
    with open_instance(store) as instance:
        materialize_day(instance)
        with pytest.raises(error):
            store_and_fail(instance, error)
        assert materializations(store) == [stored, stored]
        assert last_materialization(instance) == stored
        materialize_day(instance)
        assert materializations(store) == [stored + 1, stored + 1]


def test_another_thread_stores_apart_from_a_block(store: Settings) -> None:
    """A block that fails takes nothing with it that another thread stored meanwhile."""
    prepare_instance(store)
    with open_instance(store) as instance:
        other = threading.Thread(target=materialize_day, args=(instance, 2))

        def fail() -> None:
            with pooled_log(instance).store_together():
                materialize_day(instance)
                other.start()
                # It waits for the block, however far it has come.
                other.join(0.2)
                raise ValueError("no room")

        with pytest.raises(ValueError, match="no room"):
            fail()
        other.join()
        assert materializations(store) == [2, 2]


def test_a_batch_within_a_block_is_part_of_it(store: Settings) -> None:
    """It ends with the block, and not before."""
    prepare_instance(store)
    with open_instance(store) as instance:
        log = pooled_log(instance)
        materialize_day(instance)
        with log.store_together():
            with log.store_together():
                materialize_day(instance)
            assert materializations(store) == [1, 1]
        assert materializations(store) == [2, 2]


def test_a_block_of_which_a_part_could_not_be_stored_stores_nothing(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's file has events then that the index lacks, whatever is stored after them."""
    prepare_instance(store)
    with open_instance(store) as instance:
        log = pooled_log(instance)
        materialize_day(instance)
        with log.store_together():
            materialize_day(instance)
            with monkeypatch.context() as patch:
                patch.setattr(log, "_store_asset_event_tags", refuse)
                with pytest.raises(OSError, match="full"):
                    last_materialization(instance)
            materialize_day(instance)
            assert last_materialization(instance) is not None
        assert materializations(store) == [1, 1]


def refuse(*_: object) -> None:
    """Fail as a file on a full disk does."""
    raise OSError("full")
