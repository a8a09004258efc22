"""Run requests of sensors and schedules, and what their tags say of a run.

The tags name the reason (`purchases/reason`: `late`, `current`, `close`, `summary`, `nightly`,
`frequent`, `upkeep`, `seal`, `backfill`) and the version. When to request is in `run_plan`, the
sensors and `schedules`.

No request has a run key: Dagster would never run that key again after the run has failed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    DagsterRun,
    RunRequest,
    define_asset_job,
)
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    PRIORITY_TAG,
)

from assets.dagster_events import AUDIT
from assets.definitions import DAY_STEP, WHOLE_STEP
from assets.lineage import HISTORY
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE_TABLE_NAMES
from assets.tables.sql_transform import is_day_table

TASK_TAG: Final = "dagster-celery/task_id"
"""Dagster's own: the task by which a worker executes a run, if one does."""
REASON_TAG: Final = "purchases/reason"
VERSION_TAG: Final = "purchases/version"
TABLES_TAG: Final = "purchases/tables"
"""The tables of a run of the command line: Dagster records no selection for such a run."""


LATE_SECONDS: Final = 300.0
"""A run of past days ends after so long and leaves the rest to the next one: today waits for it."""
TODAY_PRIORITY: Final = "1"
"""Above all others, which have 0."""


def asset_keys(tables: Iterable[str]) -> list[AssetKey]:
    """Return the asset keys of tables."""
    return [AssetKey(table) for table in tables]


def audit_keys(tables: Iterable[str]) -> list[AssetCheckKey]:
    """Return the keys of the tables' audits, the checks that are part of their build."""
    return [AssetCheckKey(AssetKey(table), AUDIT) for table in tables]


def tables_job(name: str, tables: Iterable[str]) -> UnresolvedAssetJobDefinition:
    """Return the job of an automation that builds tables, with their audits.

    Dagster shows its name as the target. Of a selection of assets and checks it has no short text.
    """
    keys = list(tables)
    selection = AssetSelection.assets(*asset_keys(keys))
    return define_asset_job(name, selection | AssetSelection.checks(*audit_keys(keys)))


def range_tags(days: DayRange) -> dict[str, str]:
    """Return the tags that tell Dagster a run's range of days."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: days.first.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: days.last.isoformat(),
    }


def days_request(days: DayRange, reason: str, version: int, tables: Sequence[str]) -> RunRequest:
    """Return a request for day tables of a range; current days are not computed."""
    return _day_tables_request(range_tags(days), reason, version, tables, {})


def close_request(day: date, others: Iterable[date], tables: Sequence[str]) -> RunRequest:
    """Return a request to compute a day, and others if they are older, from all their events.

    Its run begins no further day after `LATE_SECONDS`; the rest is left to the next close.
    """
    tags, config = _tags_and_config(frozenset([day, *(one for one in others if one < day)]))
    # By force, because a current day is to be computed from all its events once.
    limited = {**config, "force": True, "limit_seconds": LATE_SECONDS}
    return _day_tables_request(tags, "close", 0, tables, limited)


def late_days_request(
    days: DayRange | frozenset[date], version: int, tables: Sequence[str]
) -> RunRequest:
    """Return a request for day tables of past days, a range or scattered ones.

    Its run begins no further day after `LATE_SECONDS`.
    """
    tags, config = _tags_and_config(days)
    limited = {**config, "limit_seconds": LATE_SECONDS}
    return _day_tables_request(tags, "late", version, tables, limited)


def backfill_requests(
    days: DayRange | frozenset[date] | None, tables: Sequence[str], *, force: bool
) -> list[RunRequest]:
    """Return the runs of a backfill: day tables of the days (None: no days), then whole tables."""
    day_tables = [table for table in tables if is_day_table(table)]
    whole_tables = [table for table in tables if table in WHOLE_TABLE_NAMES]
    requests = []
    if days and day_tables:
        tags, config = _tags_and_config(days)
        requests.append(_backfill_request(DAY_STEP, day_tables, tags, {**config, "force": force}))
    if whole_tables:
        requests.append(_backfill_request(WHOLE_STEP, whole_tables, {}, {"force": force}))
    return requests


def repeat_requests(run: DagsterRun, loaded: Collection[str]) -> list[RunRequest]:
    """Return what to request for a dead run of the command line, which Dagster cannot retry.

    It is asked for what the run was, also with `force`; else its days that were built are only
    recorded, so that no event is missing of them. Tables that are not `loaded` any more are left
    out.
    """
    if TABLES_TAG not in run.tags:
        return []
    tables = sorted(run_tables(run).intersection(loaded))
    # Without the tag: a request is not repeated itself, because Dagster does retry its run.
    return [
        request.with_replaced_attrs(
            tags={name: value for name, value in request.tags.items() if name != TABLES_TAG}
        )
        for request in backfill_requests(run_days(run), tables, force=is_forced(run))
    ]


def _backfill_request(
    step: str, tables: Sequence[str], tags: Mapping[str, str], config: Mapping[str, object]
) -> RunRequest:
    return RunRequest(
        asset_selection=asset_keys(tables),
        asset_check_keys=audit_keys(tables),
        tags={**tags, REASON_TAG: "backfill", TABLES_TAG: ",".join(tables)},
        run_config={"ops": {step: {"config": config}}},
    )


def _tags_and_config(
    days: DayRange | frozenset[date],
) -> tuple[dict[str, str], dict[str, object]]:
    """Return the tags and the configuration that tell a run its days."""
    if isinstance(days, DayRange):
        return range_tags(days), {}
    # For Dagster the run is one of the newest day. Of a range it would record each day between them
    # as planned, at 10 ms a day and table. If the run failed, it would show all as failed.
    newest, listed = max(days), [day.isoformat() for day in sorted(days, reverse=True)]
    return range_tags(DayRange(newest, newest)), {"days": listed}


def today_request(today: date, version: int, tables: Sequence[str]) -> RunRequest:
    """Return a request for day tables of today, which Dagster's queue puts before others."""
    tags = {**range_tags(DayRange(today, today)), PRIORITY_TAG: TODAY_PRIORITY}
    return _day_tables_request(tags, "current", version, tables, {})


def _day_tables_request(
    tags: Mapping[str, str],
    reason: str,
    version: int,
    tables: Sequence[str],
    config: Mapping[str, object],
) -> RunRequest:
    return RunRequest(
        asset_selection=asset_keys(tables),
        asset_check_keys=audit_keys(tables),
        tags={**tags, REASON_TAG: reason, VERSION_TAG: str(version)},
        run_config={"ops": {DAY_STEP: {"config": config}}},
    )


def summaries_request(version: int) -> RunRequest:
    """Return a request for the whole tables."""
    return RunRequest(
        asset_selection=asset_keys(WHOLE_TABLE_NAMES),
        asset_check_keys=audit_keys(WHOLE_TABLE_NAMES),
        tags={REASON_TAG: "summary", VERSION_TAG: str(version)},
    )


def seal_request() -> RunRequest:
    """Return a request to seal what no column file has."""
    return RunRequest(
        asset_selection=[HISTORY],
        asset_check_keys=[AssetCheckKey(HISTORY, AUDIT)],
        tags={REASON_TAG: "seal"},
    )


def run_days(run: DagsterRun) -> DayRange | frozenset[date] | None:
    """Return the days that a run builds; None if it builds none."""
    config: Any = run.run_config
    listed = config.get("ops", {}).get(DAY_STEP, {}).get("config", {}).get("days")
    if listed:
        return frozenset(map(date.fromisoformat, listed))
    # A run of one partition that a person started in the UI has the name's tag, not the range's.
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, run.tags.get(PARTITION_NAME_TAG))
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    try:
        return DayRange(date.fromisoformat(str(first)), date.fromisoformat(str(last)))
    except ValueError:
        return None


def is_forced(run: DagsterRun) -> bool:
    """Return whether a run computes what is current too."""
    config: Any = run.run_config
    return any(op.get("config", {}).get("force", False) for op in config.get("ops", {}).values())


def run_tables(run: DagsterRun) -> frozenset[str]:
    """Return the tables that a run builds."""
    selected = [key.to_user_string() for key in run.asset_selection or ()]
    tables = selected or run.tags.get(TABLES_TAG, "").split(",")
    return frozenset(t for t in tables if is_day_table(t) or t in WHOLE_TABLE_NAMES)


def is_writing_run(run: DagsterRun) -> bool:
    """Return whether a run holds the write lock while it works."""
    return bool(run_tables(run)) or HISTORY in (run.asset_selection or ())
