"""`backfill`: builds the day tables of a range by one run of Dagster in this process.

It runs the same step as backfills of the UI, recorded on the home's instance, with or without a
daemon. The write lock makes queued runs wait for it, and it for them.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from dagster import DagsterEventType, DagsterInstance
from rich.progress import Progress

from assets.builds.failures import read_run_failures
from assets.definitions import DAY_STEP
from assets.tables.day_range import DayRange
from orchestration.automation.run_requests import (
    REASON_TAG,
    TABLES_TAG,
    asset_keys,
    audit_keys,
    range_tags,
)
from orchestration.build import build_defs
from orchestration.instance import open_instance, prepare_instance
from streaming.cli.console import PrintableConsole
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.preparation import prepare_store

PROGRESS_SECONDS: Final = 0.5


@dataclass(frozen=True)
class BackfillResult:
    """The result of a backfill: its run, numbers of days and builds, and reasons of failed builds.

    `builds` are current now, `computed` of them were computed by this run; `failures` has a reason
    by table and day.
    """

    run_id: str
    days: int
    builds: int
    computed: int
    failures: dict[str, str]
    seconds: float


def backfill(
    settings: Settings, days: DayRange, tables: Sequence[str], *, force: bool
) -> BackfillResult:
    """Build the tables of each day of the range; current ones are computed only if `force`.

    A day that fails is rolled back and recorded, and the others go on. Raises `PurchasesError` if
    the run itself fails.
    """
    prepare_store(settings)
    prepare_instance(settings)
    run_id, started = str(uuid.uuid4()), time.monotonic()
    # An in-process run knows no backfill: the range is in its tags, as a run from the queue has it.
    job = (
        build_defs(settings)
        .resolve_implicit_global_asset_job_def()
        .get_subset(
            asset_selection=frozenset(asset_keys(tables)),
            asset_check_selection=frozenset(audit_keys(tables)),
        )
    )
    with (
        open_instance(settings) as instance,
        _show_progress(instance, run_id, len(days) * len(tables)),
    ):
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            tags={
                **range_tags(days),
                REASON_TAG: "backfill",
                TABLES_TAG: ",".join(tables),
            },
            run_config={"ops": {DAY_STEP: {"config": {"force": force}}}},
        )
        materialized = result.get_asset_materialization_events()
    # A run with failed days fails too; only one without a recorded failure broke by itself.
    failures = read_run_failures(settings, run_id)
    if not result.success and not failures:
        raise PurchasesError(f"The run {run_id} failed: {_first_failure(result.all_events)}")
    metadata = [event.step_materialization_data.materialization.metadata for event in materialized]
    return BackfillResult(
        run_id=run_id,
        days=len(days),
        builds=len(materialized),
        computed=sum(bool(one["computed"].value) for one in metadata),
        failures=failures,
        seconds=time.monotonic() - started,
    )


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
