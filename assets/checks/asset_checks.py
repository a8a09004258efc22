"""The checks as Dagster runs them; what each looks at is in `reconciled` and `health`.

The audit of a partition before it is visible is not among them: it is part of the build.
"""

import time
from collections.abc import Callable, Sequence
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

from assets.checks import reconciliation, stream_health
from assets.checks.finding import Finding, Scene
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store

EVENTS: Final = "analytics_event"
NIGHTLY: Final = ("recomputed", "integrity", "unchanged")
RECONCILIATION: Final = ("parity",)
FREQUENT: Final = ("on_time", "out_of_range", "lag", "refusals", "repeats")


@dataclass(frozen=True)
class _Check:
    """A check of an asset: how it looks at a snapshot of the database, and at which table."""

    asset: str
    look: Callable[..., Finding]
    transform: Transform | None = None

    @property
    def name(self) -> str:
        return self.look.__name__

    def find(self, connection: StoreConnection, scene: Scene) -> Finding:
        if self.transform is None:
            return self.look(connection, scene)
        return self.look(connection, scene, self.transform)


def asset_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """Give all checks of this deployment; each looks at one snapshot of the database."""
    return [_definition(check, settings) for check in _CHECKS]


def selection(names: Sequence[str]) -> AssetSelection:
    """Give the checks that have these names, of every asset; for schedules and jobs."""
    keys = [
        AssetCheckKey(AssetKey(check.asset), check.name) for check in _CHECKS if check.name in names
    ]
    return AssetSelection.checks(*keys)


_STREAM_CHECKS: Final = (
    _Check(EVENTS, stream_health.out_of_range),
    _Check(EVENTS, stream_health.lag),
    _Check(EVENTS, stream_health.integrity),
    _Check(EVENTS, reconciliation.recomputed),
    _Check("purchases_dlq", stream_health.refusals),
    _Check("analytics", stream_health.repeats),
)
_TABLE_CHECKS: Final = tuple(
    _Check(transform.table, look, transform)
    for transform in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)
    for look in (reconciliation.parity, reconciliation.unchanged, reconciliation.on_time)
)
_CHECKS: Final = (*_STREAM_CHECKS, *_TABLE_CHECKS)


def _definition(check: _Check, settings: Settings) -> AssetChecksDefinition:
    @asset_check(asset=check.asset, name=check.name, description=check.look.__doc__)
    def look() -> AssetCheckResult:
        scene = Scene(settings, time.time_ns() // 1000)
        with read_store(settings) as store:
            return _result(check.find(store, scene))

    return look


def _result(finding: Finding) -> AssetCheckResult:
    examples = {f"example {n}": text for n, text in enumerate(finding.examples, 1)}
    metadata: dict[str, Any] = {**finding.numbers, **examples}
    return AssetCheckResult(
        passed=finding.well,
        severity=AssetCheckSeverity.WARN if finding.warns else AssetCheckSeverity.ERROR,
        description=finding.sentence,
        metadata=metadata,
    )
