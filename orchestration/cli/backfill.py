"""`backfill`: builds day tables of some days, then the whole tables, by two runs in this process.

They run the same steps as backfills of the UI, recorded on the home's instance, with or without a
daemon. The write lock makes queued runs wait for them, and them for these. Which days are meant is
in `chosen_days`.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from dagster import DagsterEventType, DagsterInstance, JobDefinition, RunRequest
from rich.progress import Progress

from assets.builds.failures import read_run_failures
from assets.builds.staleness import read_current_builds, read_failures
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE, WHOLE_TABLE_NAMES
from orchestration.automation.run_requests import backfill_requests
from orchestration.build import build_defs
from orchestration.instance import EVENT_BATCH, open_instance, prepare_instance
from streaming.cli.console import PrintableConsole
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.preparation import prepare_store
from streaming.store.sql_tables import code_versions, is_sql_table

PROGRESS_SECONDS: Final = 0.5
"""A line at a terminal that is written over: often enough to be seen moving."""
QUIET: Final = {"console": {"config": {"log_level": "WARNING"}}}


Days = DayRange | frozenset[date]


@dataclass(frozen=True)
class BackfillResult:
    """The result of a backfill: its runs, numbers of days and builds, and reasons of failed builds.

    `builds` are current now, `computed` of them were computed by these runs; `failures` has a
    reason by table and day.
    """

    run_ids: list[str]
    days: int
    builds: int
    computed: int
    failures: dict[str, str]
    seconds: float


def backfill(
    settings: Settings, days: Days | None, tables: Sequence[str], *, force: bool
) -> BackfillResult:
    """Build day tables of each of the days (None: none), and whole tables in a second run.

    Current ones are computed only if `force`. A day that fails is rolled back and recorded, and the
    others go on. Raises `PurchasesError` if a run itself fails.
    """
    # Both before Dagster is asked for anything: a backfill may be the first command of a home.
    prepare_store(settings)
    prepare_instance(settings)
    os.environ.update(EVENT_BATCH)  # the run is planned in this process
    started = time.monotonic()
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    with open_instance(settings) as instance:
        runs = [
            # Whole tables have one partition. They are the second run, or the only one if no days
            # are named.
            _execute(settings, instance, job, request, 1 if number else len(days or [0]))
            for number, request in enumerate(backfill_requests(days, tables, force=force))
        ]
    return BackfillResult(
        run_ids=[run.run_id for run in runs],
        days=len(days or ()),
        builds=sum(run.builds for run in runs),
        computed=sum(run.computed for run in runs),
        failures={build: reason for run in runs for build, reason in run.failures.items()},
        seconds=time.monotonic() - started,
    )


def read_failed_days(settings: Settings) -> frozenset[date]:
    """Read the days of which a table's last build failed, but for tables of removed files."""
    files = code_versions(settings)
    with read_store(settings) as store:
        failed = {
            partition
            for table, partition in read_failures(store)
            if table in files or not is_sql_table(table)
        }
    return frozenset(date.fromisoformat(partition) for partition in failed - {WHOLE})


def count_due(settings: Settings, days: Days | None, tables: Sequence[str], *, force: bool) -> int:
    """Count the builds that a backfill would compute: those that are not current, or all."""
    chosen = set(days.list_days() if isinstance(days, DayRange) else days or ())
    with read_store(settings) as store:
        builds = read_current_builds(store, code_versions(settings))
    asked = {
        (table, partition)
        for table in tables
        for partition in (
            [WHOLE] if table in WHOLE_TABLE_NAMES else [day.isoformat() for day in chosen]
        )
    }
    return len(asked if force else asked - builds)


@dataclass(frozen=True)
class _Run:
    run_id: str
    builds: int
    computed: int
    failures: dict[str, str]


def _execute(
    settings: Settings,
    instance: DagsterInstance,
    job: JobDefinition,
    request: RunRequest,
    partitions: int,
) -> _Run:
    """Execute one run in this process; raise `PurchasesError` if it breaks by itself."""
    run_id, keys = str(uuid.uuid4()), request.asset_selection or []
    # An in-process run knows no backfill: the range is in its tags, as a run from the queue has it.
    subset = job.get_subset(
        asset_selection=frozenset(keys),
        asset_check_selection=frozenset(request.asset_check_keys or ()),
    )
    with _show_progress(instance, run_id, partitions * len(keys)):
        result = subset.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            tags=request.tags,
            # Of a successful run Dagster prints that it did not return what it yielded.
            run_config={**request.run_config, "loggers": QUIET},
        )
        materialized = result.get_asset_materialization_events()
    # A run with failed days fails too; only one without a recorded failure broke by itself.
    failures = read_run_failures(settings, run_id)
    if not result.success and not failures:
        raise PurchasesError(f"The run {run_id} failed: {_first_failure(result.all_events)}")
    metadata = [event.step_materialization_data.materialization.metadata for event in materialized]
    computed = sum(bool(one["computed"].value) for one in metadata)
    return _Run(run_id, len(materialized), computed, failures)


def _first_failure(events: Sequence[Any]) -> str:
    """Return the message of the first failure among the events of a run."""
    failed = (event for event in events if event.is_failure)
    return next((str(event.message) for event in failed), "no message")


@contextmanager
def _show_progress(instance: DagsterInstance, run_id: str, total: int) -> Iterator[None]:
    """Show on a terminal how many builds are recorded, while the run has the main thread."""
    console, done = PrintableConsole(stderr=True), threading.Event()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Backfill", total=total)

        def update() -> None:
            while not done.wait(PROGRESS_SECONDS):
                kinds = {DagsterEventType.ASSET_MATERIALIZATION}
                records = instance.get_records_for_run(run_id, of_type=kinds).records
                bar.update(task, completed=len(records))

        thread = threading.Thread(target=update, name="progress", daemon=True)
        if console.is_terminal:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.is_alive():
                thread.join()
