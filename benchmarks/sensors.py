"""How long the sensors' functions take where there is much: 10,000 days, 8 slots, 300 runs.

They are called as Dagster's code server calls them, each with the cursor that it left; what the
daemon then stores is not measured.
"""

import gc
import os
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from dagster import (
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    SensorDefinition,
    build_sensor_context,
)
from dagster._core.definitions.run_status_sensor_definition import (
    RunStatusSensorCursor,
    RunStatusSensorDefinition,
)

from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES
from benchmarks.measure import Figure
from benchmarks.scratch import Bench
from orchestration.automation.run_requests import days_request
from orchestration.build import build_defs
from orchestration.instance import open_instance, prepare_instance
from streaming.apps import APPS
from streaming.runtime.counters import WorkerPosition
from streaming.runtime.crash_loop import SlotRestarts, SupervisorStatus
from streaming.runtime.status_file import WorkerStatus, replace_json
from streaming.settings import Settings
from streaming.store.preparation import prepare_store
from streaming.store.sqlite import connect
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire

DAYS: Final = 10_000
STALE_EACH: Final = 100
SLOTS: Final = 8
RUNS: Final = 300
FAILED_EACH: Final = 20
CALLS: Final = 100
WARM_UP: Final = 2
BAR: Final = "< 200"
LEDGER: Final = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO day_ledger SELECT date('now', -i || ' days'), 1 + i / 60, 50, 60, 70, 0, 0 FROM n
"""
BUILDS: Final = """
INSERT INTO table_build SELECT ?, day, version, events, items_sold, net_revenue_micros, 1, '{}', '',
  '1', '', 0, 0, 0, 0, 0, 0, NULL FROM day_ledger
"""
STALE: Final = "UPDATE day_ledger SET version = version + 1000000 WHERE abs(random()) % ? = 0"
TOTALS: Final = "UPDATE live_totals SET events = (SELECT max(version) FROM day_ledger)"


def measure_sensors(bench: Bench) -> list[Figure]:
    """Measure each sensor's function `CALLS` times, in a home of its own; needs no broker."""
    home = bench.home / "sensors"
    settings = Settings(home=home, processor_slots=SLOTS, analytics_slots=SLOTS)
    prepare_store(settings)
    prepare_instance(settings)
    _fill(settings)
    with ExitStack() as leases, open_instance(settings) as instance:
        for app in APPS:
            _man(leases, home, app.name)
        _remember_runs(instance)
        sensors = build_defs(settings).get_repository_def().sensor_defs
        return [figure for sensor in sensors for figure in _measure(sensor, settings, instance)]


def _measure(
    sensor: SensorDefinition, settings: Settings, instance: DagsterInstance
) -> Iterator[Figure]:
    wall, cpu = zip(*_calls(sensor, settings, instance), strict=True)
    for name, seconds, index in (("p50", wall, 49), ("p99", wall, 98), ("CPU, p99", cpu, 98)):
        milliseconds = 1000 * statistics.quantiles(seconds, n=100)[index]
        yield Figure(f"`{sensor.name}`, {name}", "ms", (milliseconds,), BAR)


def _calls(
    sensor: SensorDefinition, settings: Settings, instance: DagsterInstance
) -> list[tuple[float, float]]:
    """Return wall and CPU seconds of each call; a sensor of runs has all of them before it."""
    repository = build_defs(settings).get_repository_def()
    gc.freeze()  # as where Dagster loads the definitions
    of_runs = isinstance(sensor, RunStatusSensorDefinition)
    first = RunStatusSensorCursor(record_id=0)  # type: ignore[no-untyped-call]
    cursor = first.to_json() if of_runs else None
    calls = []
    for _ in range(WARM_UP + CALLS):
        with build_sensor_context(instance, cursor, repository_def=repository) as context:
            wall, cpu = time.perf_counter(), time.process_time()
            cursor = sensor.evaluate_tick(context).cursor
            calls.append((time.perf_counter() - wall, time.process_time() - cpu))
    return calls[WARM_UP:]


def _fill(settings: Settings) -> None:
    """Write a ledger of `DAYS` days, and builds of all of them, some at an older version."""
    with closing(connect(settings.database_path)) as store:
        store.execute("BEGIN IMMEDIATE")
        store.execute(LEDGER, (DAYS - 1,))
        for table in DAY_TABLE_NAMES:
            store.execute(BUILDS, (table,))
        store.execute(STALE, (STALE_EACH,))
        store.execute(TOTALS)
        store.execute("COMMIT")


def _man(leases: ExitStack, home: Path, app: str) -> None:
    """Hold all leases of an app in this process, and write what its supervisor and workers say."""
    now, pid = time.time(), os.getpid()
    for path in (Home(home).supervisor_lease(app), Home(home).keep_alive(app)):
        leases.enter_context(_acquire(path))
    slots = [SlotRestarts(slot, pid) for slot in range(SLOTS)]
    replace_json(Home(home).supervisor_status(app), SupervisorStatus(app, pid, now, now, slots))
    for slot in range(SLOTS):
        leases.enter_context(_acquire(Home(home).worker_lease(app, slot)))
        positions = [WorkerPosition("purchases", slot, 1_000_000, 1_000_010)]
        status = WorkerStatus(
            app, slot, pid, "running", records=10**6, positions=positions, updated_at=now
        )
        replace_json(Home(home).worker_status(app, slot), status)


def _acquire(path: Path) -> Lease:
    lease = acquire(path)
    if lease is None:
        raise RuntimeError(path)
    return lease


def _remember_runs(instance: DagsterInstance) -> None:
    """Write the instance `RUNS` finished runs of a day each, some of them failed."""
    for number in range(RUNS):
        day = date(2024, 1, 1) + timedelta(number)
        request = days_request(DayRange(day, day), "late", number, DAY_TABLE_NAMES)
        run = DagsterRun(
            job_name="__ASSET_JOB",
            run_id=str(uuid.uuid4()),
            status=DagsterRunStatus.NOT_STARTED,
            tags=request.tags,
            asset_selection=frozenset(request.asset_selection or ()),
        )
        instance.add_run(run)
        end = "FAILURE" if number % FAILED_EACH == 0 else "SUCCESS"
        for kind in ("START", end):
            event = DagsterEvent(f"PIPELINE_{kind}", run.job_name, message=kind)
            instance.report_dagster_event(event, run.run_id)
