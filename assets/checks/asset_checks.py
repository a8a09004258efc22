"""The asset checks as Dagster runs them: their names, assets and results.

Their functions are in `reconciliation`, `stream_health`, `backups` and `column_files`.

The audit of a partition before it is visible is not among them: it is part of the build.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    asset_check,
)

from assets.checks import backups, column_files, reconciliation, stream_health
from assets.checks.finding import CheckContext, Finding
from assets.tables.sql_transform import AnyTransform, SqlTransform, day_transforms
from assets.tables.transforms import WHOLE_TRANSFORMS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store

EVENTS: Final = "analytics_event"
HISTORY: Final = "analytics_history"
NIGHTLY: Final = ("recomputed", "integrity", "unchanged", "restorable")
RECONCILIATION: Final = ("parity", "addition")
FREQUENT: Final = ("on_time", "addition", "out_of_range", "lag", "refusals", "repeats")


@dataclass(frozen=True)
class _Check:
    """An asset check: its name in Dagster, its asset, and the function that makes the finding."""

    name: str
    asset: str
    function: Callable[..., Finding]
    transform: AnyTransform | None = None

    def run(self, connection: StoreConnection, context: CheckContext) -> Finding:
        if self.transform is None:
            return self.function(connection, context)
        return self.function(connection, context, self.transform)


def asset_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """Return all checks of this deployment; each reads one snapshot of the database."""
    return [_definition(check, settings) for check in _checks(settings)]


def check_selection(settings: Settings, names: Sequence[str]) -> AssetSelection:
    """Return the checks of these names, of every asset that has one; for schedules and jobs."""
    keys = [
        AssetCheckKey(AssetKey(check.asset), check.name)
        for check in _checks(settings)
        if check.name in names
    ]
    return AssetSelection.checks(*keys)


_STREAM_CHECKS: Final = (
    _Check("out_of_range", EVENTS, stream_health.check_out_of_range),
    _Check("lag", EVENTS, stream_health.check_lag),
    _Check("integrity", EVENTS, stream_health.check_integrity),
    _Check("restorable", EVENTS, backups.check_restorable),
    _Check("recomputed", EVENTS, reconciliation.check_recomputed),
    _Check("unchanged", HISTORY, column_files.check_unchanged_files),
    _Check("refusals", "purchases_dlq", stream_health.check_refusals),
    _Check("repeats", "analytics", stream_health.check_repeats),
)
_OF_ANY_TABLE: Final = {
    "unchanged": reconciliation.check_unchanged,
    "on_time": reconciliation.check_on_time,
}


def _checks(settings: Settings) -> list[_Check]:
    transforms = (*day_transforms(settings), *WHOLE_TRANSFORMS)
    return [
        *_STREAM_CHECKS,
        *(
            _Check(name, transform.table, function, transform)
            for transform in transforms
            for name, function in _table_checks(transform).items()
        ),
    ]


def _table_checks(transform: AnyTransform) -> Mapping[str, Callable[..., Finding]]:
    # A table of a file may lack the figures that are compared.
    if isinstance(transform, SqlTransform):
        return _OF_ANY_TABLE
    checks = {"parity": reconciliation.check_parity, **_OF_ANY_TABLE}
    return {**checks, "addition": reconciliation.check_addition} if transform.additive else checks


def _definition(check: _Check, settings: Settings) -> AssetChecksDefinition:
    @asset_check(asset=check.asset, name=check.name, description=check.function.__doc__)
    def evaluate() -> AssetCheckResult:
        context = CheckContext(settings, time.time_ns() // 1000)
        with read_store(settings) as store:
            return _result(check.run(store, context))

    return evaluate


def _result(finding: Finding) -> AssetCheckResult:
    examples = {f"example {n}": text for n, text in enumerate(finding.examples, 1)}
    metadata: dict[str, Any] = {**finding.numbers, **examples}
    return AssetCheckResult(
        passed=finding.passed,
        severity=AssetCheckSeverity.WARN if finding.is_warning else AssetCheckSeverity.ERROR,
        description=finding.description,
        metadata=metadata,
    )
