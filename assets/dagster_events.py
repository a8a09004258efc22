"""Dagster's events of a build: materialisations, audit evaluations, and the failure of a run.

Building is in `builds.builder`, the description of tables in `lineage`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
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
from streaming.units import MICROS, decimal_text, whole_sum

AUDIT: Final = "audit"
NAMED: Final = 20
"""How many failed builds a run's failure names; Dagster shows the rest beside their partitions."""


def build_events(
    outcomes: Sequence[Outcome], instance: DagsterInstance, run_id: str
) -> Iterator[AssetMaterialization | AssetCheckEvaluation]:
    """Yield the materialisations of partitions and, once those are recorded, the audits' results.

    A partition that was current is materialised too; a failed one has its evaluation only.
    """
    for outcome in outcomes:
        if outcome.failure is None and outcome.build is not None:
            # Without an event for it, Dagster shows a current partition as failed if the run fails.
            yield AssetMaterialization(
                AssetKey(outcome.transform.table),
                partition=_partition(outcome),
                metadata=_build_metadata(outcome, outcome.build),
            )
    # Read only now: the generator goes on when Dagster has recorded what it yielded before.
    targets = _read_targets(instance, run_id, outcomes)
    for outcome in outcomes:
        yield AssetCheckEvaluation(
            asset_key=AssetKey(outcome.transform.table),
            check_name=AUDIT,
            passed=outcome.failure is None,
            description=outcome.failure,
            metadata=_audit_metadata(outcome),
            target_materialization_data=targets.get((outcome.transform.table, _partition(outcome))),
            blocking=True,
            partition=_partition(outcome),
        )


def store_together(instance: DagsterInstance) -> AbstractContextManager[None]:
    """Return a block whose events are stored in one transaction, if the event log can do that."""
    # A home's `dagster.yaml` may name another event log, such as PostgreSQL's.
    block: Callable[[], AbstractContextManager[None]]
    block = getattr(instance.event_log_storage, "store_together", nullcontext)
    return block()


def run_failure(outcomes: Iterable[Outcome]) -> Failure | None:
    """Return the failure that ends a run, naming the partitions that failed; None if none did."""
    reasons = {f"{o.transform.table} of {o.partition}": o.failure for o in outcomes if o.failure}
    if not reasons:
        return None
    named = ", ".join(list(reasons)[:NAMED])
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return Failure(
        f"{len(reasons)} builds failed, and their old figures stay: {named}{more}.",
        metadata={what: str(reason) for what, reason in list(reasons.items())[:NAMED]},
        allow_retries=False,  # a partition that failed its audit would fail it again
    )


def _build_metadata(outcome: Outcome, build: TableBuild) -> dict[str, Any]:
    """Return the metadata of a build: its figures, their change, and what it was built from."""
    # Dagster plots numbers only, so each figure stands here as one, and `change` as text beside it.
    before = outcome.before
    events = build.events - (before.events if before else 0)
    items = build.items_sold - (before.items_sold if before else 0)
    revenue = _revenue(build)
    added = revenue - (_revenue(before) if before else 0)
    lineage = column_lineage(outcome.transform)
    return {
        "events": build.events,
        "items_sold": build.items_sold,
        "net_revenue": revenue / MICROS,
        "rows": build.rows,
        "seconds": round(outcome.seconds, 3),
        "change": f"{events:+d} events, {'' if added < 0 else '+'}{decimal_text(added)}",
        "change_events": events,
        "change_items_sold": items,
        "change_net_revenue": added / MICROS,
        "ledger_version": build.version,
        "stream_offsets": MetadataValue.json(json.loads(build.stream_offsets)),
        "digest": build.digest,
        "built_by": MetadataValue.dagster_run(build.run_id),
        "computed": outcome.computed,
        "added_events": build.added_events,
        "cpu_seconds": build.cpu_time / MICROS,
        **({"dagster/column_lineage": lineage} if lineage else {}),
    }


def _revenue(build: TableBuild) -> int:
    return whole_sum(build.net_revenue_trillions, build.net_revenue_micros)


def _audit_metadata(outcome: Outcome) -> dict[str, Any]:
    measures = dict(outcome.audit.measures) if outcome.audit else {}
    problems = outcome.audit.problems if outcome.audit else ()
    numbered = {f"problem {number}": text for number, text in enumerate(problems, 1)}
    return {"ledger_version": outcome.version, "computed": outcome.computed, **measures, **numbered}


def _partition(outcome: Outcome) -> str | None:
    return None if outcome.partition == WHOLE else outcome.partition


def _read_targets(
    instance: DagsterInstance, run_id: str, outcomes: Sequence[Outcome]
) -> dict[tuple[str, str | None], Target]:
    """Read the materialisations that evaluations are about, by table and partition.

    Without those that have none yet: such an evaluation is not shown in the partition's status.
    """
    recorded = Counter(o.transform.table for o in outcomes if o.failure is None)
    failed = [(o.transform.table, _partition(o)) for o in outcomes if o.failure is not None]
    targets = {
        (table, record.partition_key): Target(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for table, partition in failed
        # That of a failed partition is as old as its last success.
        for record in instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(table), [partition] if partition else None), limit=1
        ).records
    }
    for table, number in recorded.items():
        # The run's last ones of a table are those that were just recorded. Without their metadata,
        # which takes as long to read as to store.
        for record in instance.get_asset_event_summary_records(
            DagsterEventType.ASSET_MATERIALIZATION, AssetKey(table), run_id, limit=number
        ):
            targets[table, record.partition] = Target(
                storage_id=record.storage_id, run_id=run_id, timestamp=record.timestamp
            )
    return targets
