"""The runs that sensors and schedules ask for, and how one recognises them again.

A run's tags say why (`purchases/reason`: `late`, `current`, `close`, `summary`, `check`, `upkeep`,
`backfill`) and for which version. When to ask is the sensors' and schedules' matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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
from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES

REASON_TAG: Final = "purchases/reason"
VERSION_TAG: Final = "purchases/version"
TABLES_TAG: Final = "purchases/tables"
"""Which tables a run of the command line builds: Dagster keeps no selection for such a run."""


@dataclass(frozen=True)
class DayRange:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


def keys_of(tables: Iterable[str]) -> list[AssetKey]:
    """Give the assets of tables."""
    return [AssetKey(table) for table in tables]


def audits_of(tables: Iterable[str]) -> list[AssetCheckKey]:
    """Give the audits of tables: the checks that are part of their build."""
    return [AssetCheckKey(AssetKey(table), AUDIT) for table in tables]


def range_tags(days: DayRange) -> dict[str, str]:
    """Give the tags by which a run knows its days."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: days.first.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: days.last.isoformat(),
    }


def days_request(days: DayRange, reason: str, version: int, *, force: bool = False) -> RunRequest:
    """Ask for all day tables of a range; of days at their version, the work only if `force`."""
    return RunRequest(
        asset_selection=keys_of(DAY_TABLE_NAMES),
        asset_check_keys=audits_of(DAY_TABLE_NAMES),
        tags={**range_tags(days), REASON_TAG: reason, VERSION_TAG: str(version)},
        run_config={"ops": {DAY_STEP: {"config": {"force": True}}}} if force else {},
    )


def summaries_request(version: int, checks: Iterable[AssetCheckKey] = ()) -> RunRequest:
    """Ask for the whole tables, and with them for `checks`."""
    return RunRequest(
        asset_selection=keys_of(WHOLE_TABLE_NAMES),
        asset_check_keys=[*audits_of(WHOLE_TABLE_NAMES), *checks],
        tags={REASON_TAG: "summary", VERSION_TAG: str(version)},
    )


def days_of(run: DagsterRun) -> DayRange | None:
    """Give the days that a run is for; None where it is for none."""
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, run.tags.get(PARTITION_NAME_TAG))
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    try:
        return DayRange(date.fromisoformat(str(first)), date.fromisoformat(str(last)))
    except ValueError:
        return None


def tables_of(run: DagsterRun) -> frozenset[str]:
    """Give the tables that a run builds."""
    selected = [key.to_user_string() for key in run.asset_selection or ()]
    named = selected or run.tags.get(TABLES_TAG, "").split(",")
    return frozenset(named) & {*DAY_TABLE_NAMES, *WHOLE_TABLE_NAMES}
