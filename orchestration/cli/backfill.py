"""`backfill`: the day tables of a range, by one run of Dagster in this process.

It is the same step that the UI's backfills run, recorded on the home's instance, with a daemon or
without; the write lock makes queued runs wait for it, and it for them.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from dagster import DagsterEventType, DagsterInstance
from rich.console import Console
from rich.progress import Progress

from assets.builds.failures import failures_of
from assets.definitions import DAY_STEP
from assets.partitions import days_between
from orchestration.automation.run_requests import (
    REASON_TAG,
    TABLES_TAG,
    DayRange,
    audits_of,
    keys_of,
    range_tags,
)
from orchestration.build import build_defs
from orchestration.instance import open_instance, prepare_instance
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.deployment import prepare_store

LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Backfilled:
    """What a backfill did: its run, its days, builds by table and day, and which of them failed."""

    run_id: str
    days: int
    builds: int
    computed: int
    failures: dict[str, str]
    seconds: float


def backfill(
    settings: Settings, days: DayRange, tables: Sequence[str], *, force: bool
) -> Backfilled:
    """Build the tables of each day of the range; where they are current, only if `force`.

    A day that fails is rolled back and recorded, and the others go on. Raises `PurchasesError`
    where the run itself fails.
    """
    prepare_store(settings)
    prepare_instance(settings)
    number = len(days_between(days.first, days.last))
    run_id, started = str(uuid.uuid4()), time.monotonic()
    job = (
        build_defs(settings)
        .resolve_implicit_global_asset_job_def()
        .get_subset(
            asset_selection=frozenset(keys_of(tables)),
            asset_check_selection=frozenset(audits_of(tables)),
        )
    )
    with open_instance(settings) as instance, _shown(instance, run_id, number * len(tables)):
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
        built = result.get_asset_materialization_events()
    failures = failures_of(settings, run_id)
    if not result.success and not failures:
        raise PurchasesError(f"The run {run_id} failed: {_why(result.all_events)}")
    metadata = [event.step_materialization_data.materialization.metadata for event in built]
    return Backfilled(
        run_id=run_id,
        days=number,
        builds=len(built),
        computed=sum(bool(found["computed"].value) for found in metadata),
        failures=failures,
        seconds=time.monotonic() - started,
    )


def _why(events: Sequence[Any]) -> str:
    """Give the message of the first failure."""
    failed = (event for event in events if event.is_failure)
    return next((str(event.message) for event in failed), "no message")


@contextmanager
def _shown(instance: DagsterInstance, run_id: str, total: int) -> Iterator[None]:
    """Show on a terminal how many builds are recorded, while the run has the main thread."""
    console, done = Console(stderr=True), threading.Event()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Backfill", total=total)

        def look() -> None:
            while not done.wait(LOOK_SECONDS):
                kinds = {DagsterEventType.ASSET_MATERIALIZATION}
                found = instance.get_records_for_run(run_id, of_type=kinds).records
                bar.update(task, completed=len(found))

        thread = threading.Thread(target=look, name="progress", daemon=True)
        if console.is_terminal:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.is_alive():
                thread.join()
