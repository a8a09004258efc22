"""Run requests of sensors and schedules, and what their tags say of a run.

The tags name the reason (`purchases/reason`: `late`, `current`, `close`, `summary`, `nightly`,
`frequent`, `upkeep`, `backfill`) and the version. When to request is in `run_plan`, the sensors and
`schedules`.

No request has a run key: Dagster would never run that key again after the run has failed.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final

from dagster import AssetCheckKey, AssetKey, DagsterRun, RunRequest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from assets.dagster_events import AUDIT
from assets.definitions import DAY_STEP
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES

REASON_TAG: Final = "purchases/reason"
VERSION_TAG: Final = "purchases/version"
TABLES_TAG: Final = "purchases/tables"
"""The tables of a run of the command line: Dagster records no selection for such a run."""


def asset_keys(tables: Iterable[str]) -> list[AssetKey]:
    """Return the asset keys of tables."""
    return [AssetKey(table) for table in tables]


def audit_keys(tables: Iterable[str]) -> list[AssetCheckKey]:
    """Return the keys of the tables' audits, the checks that are part of their build."""
    return [AssetCheckKey(AssetKey(table), AUDIT) for table in tables]


def range_tags(days: DayRange) -> dict[str, str]:
    """Return the tags that tell Dagster a run's range of days."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: days.first.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: days.last.isoformat(),
    }


def days_request(days: DayRange, reason: str, version: int, *, force: bool = False) -> RunRequest:
    """Return a request for all day tables of a range; current days are computed only if `force`."""
    return RunRequest(
        asset_selection=asset_keys(DAY_TABLE_NAMES),
        asset_check_keys=audit_keys(DAY_TABLE_NAMES),
        tags={**range_tags(days), REASON_TAG: reason, VERSION_TAG: str(version)},
        run_config={"ops": {DAY_STEP: {"config": {"force": True}}}} if force else {},
    )


def summaries_request(version: int) -> RunRequest:
    """Return a request for the whole tables."""
    return RunRequest(
        asset_selection=asset_keys(WHOLE_TABLE_NAMES),
        asset_check_keys=audit_keys(WHOLE_TABLE_NAMES),
        tags={REASON_TAG: "summary", VERSION_TAG: str(version)},
    )


def run_days(run: DagsterRun) -> DayRange | None:
    """Return the days that a run builds; None if it builds none."""
    # A run of one partition that a person started in the UI has the name's tag, not the range's.
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, run.tags.get(PARTITION_NAME_TAG))
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    try:
        return DayRange(date.fromisoformat(str(first)), date.fromisoformat(str(last)))
    except ValueError:
        return None


def run_tables(run: DagsterRun) -> frozenset[str]:
    """Return the tables that a run builds."""
    selected = [key.to_user_string() for key in run.asset_selection or ()]
    tables = selected or run.tags.get(TABLES_TAG, "").split(",")
    return frozenset(tables) & {*DAY_TABLE_NAMES, *WHOLE_TABLE_NAMES}
