"""What Dagster shows of a build: the events of Dagster for what became of a partition.

Only events are made here; building is in `build`, what a table is in `lineage`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterInstance,
    Failure,
    MetadataValue,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from assets.builds.builder import Outcome
from assets.lineage import column_lineage
from assets.tables.models import WHOLE, TableBuild
from streaming.units import MICROS, decimal_text

AUDIT: Final = "audit"
NAMED: Final = 20


def shown(
    outcome: Outcome, instance: DagsterInstance
) -> Iterator[AssetMaterialization | AssetCheckEvaluation]:
    """Give the materialisation of a partition and, once that is recorded, the audit's evaluation.

    A partition that needed no work is materialised too; a failed one only has its evaluation.
    """
    key = AssetKey(outcome.transform.table)
    partition = None if outcome.partition == WHOLE else outcome.partition
    if outcome.failure is None and outcome.build is not None:
        metadata = _materialized(outcome, outcome.build)
        yield AssetMaterialization(key, partition=partition, metadata=metadata)
    yield AssetCheckEvaluation(
        asset_key=key,
        check_name=AUDIT,
        passed=outcome.failure is None,
        description=outcome.failure,
        metadata=_audited(outcome),
        target_materialization_data=_latest(instance, key, partition),
        blocking=True,
        partition=partition,
    )


def failed(outcomes: Iterable[Outcome]) -> Failure | None:
    """Give the failure that ends a run in which partitions failed, naming them, if any did."""
    reasons = {f"{o.transform.table} of {o.partition}": o.failure for o in outcomes if o.failure}
    if not reasons:
        return None
    named = ", ".join(list(reasons)[:NAMED])
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return Failure(
        f"{len(reasons)} builds failed, whose figures stay as they were: {named}{more}.",
        metadata={what: str(reason) for what, reason in list(reasons.items())[:NAMED]},
        allow_retries=False,
    )


def _materialized(outcome: Outcome, build: TableBuild) -> dict[str, Any]:
    """Give numbers, which Dagster plots, and what the figures stand for."""
    before = outcome.before
    events = build.events - (before.events if before else 0)
    items = build.items_sold - (before.items_sold if before else 0)
    revenue = build.net_revenue_micros - (before.net_revenue_micros if before else 0)
    lineage = column_lineage(build.table_name)
    return {
        "events": build.events,
        "items_sold": build.items_sold,
        "net_revenue": build.net_revenue_micros / MICROS,
        "rows": build.rows,
        "seconds": round(outcome.seconds, 3),
        "change": f"{events:+d} events, {'' if revenue < 0 else '+'}{decimal_text(revenue)}",
        "change_events": events,
        "change_items_sold": items,
        "change_net_revenue": revenue / MICROS,
        "ledger_version": build.version,
        "stream_offsets": MetadataValue.json(json.loads(build.stream_offsets)),
        "digest": build.digest,
        "built_by": MetadataValue.dagster_run(build.run_id),
        "computed": outcome.worked,
        **({"dagster/column_lineage": lineage} if lineage else {}),
    }


def _audited(outcome: Outcome) -> dict[str, Any]:
    measured = dict(outcome.audit.measured) if outcome.audit else {}
    problems = outcome.audit.problems if outcome.audit else ()
    numbered = {f"problem {number}": text for number, text in enumerate(problems, 1)}
    return {"ledger_version": outcome.version, "computed": outcome.worked, **measured, **numbered}


def _latest(instance: DagsterInstance, key: AssetKey, partition: str | None) -> Target | None:
    """Give the materialisation that an evaluation is about: without it the UI shows nothing."""
    partitions = None if partition is None else [partition]
    found = instance.fetch_materializations(AssetRecordsFilter(key, partitions), limit=1).records
    if not found:
        return None
    record = found[0]
    return Target(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)
