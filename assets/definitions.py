"""The definitions of the assets: what the stream makes, and the tables that Dagster computes.

What a build does is in `builds`, its events are in `dagster_events`. The day tables are one step,
so that a day's events are read once for all of them, and any of them can be selected.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Config,
    MaterializeResult,
    MetadataValue,
    PartitionsDefinition,
    asset,
    multi_asset,
)
from dagster_shared.utils.warnings import PreviewWarning
from pydantic import Field

from assets.builds.archive import archive_history
from assets.builds.builder import Outcome, open_builder
from assets.builds.locks import WRITE_POOL, hold_write_lock, takes_several_writers
from assets.builds.seal import SealResult, read_history, seal_history
from assets.checks.column_files import check_files
from assets.checks.finding import Finding
from assets.dagster_events import AUDIT, build_events, run_failure, store_together
from assets.lineage import EVENTS, HISTORY, column_schema, table_schema
from assets.partitions import day_partitions, today
from assets.tables.models import WHOLE
from assets.tables.sql_transform import AnyTransform, SqlTransform, day_transforms
from assets.tables.transforms import WHOLE_TRANSFORMS
from streaming.dashboard.address import dashboard_url
from streaming.errors import Unavailable
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.models import AnalyticsEventRow
from streaming.store.sql_tables import read_sql_tables, table_name
from streaming.system.deadline import Deadline

DAY_STEP: Final = "day_tables"
WHOLE_STEP: Final = "summaries"
OWNERS: Final = ["team:shop"]
GROUP: Final = "purchases"
"""One for all: of several groups the graph opens as closed boxes, and shows no lineage."""
SEAL_SECONDS: Final = 300.0
"""Seal and archive begin no further day after so long: a build of today waits for them."""
RUN_DAYS: Final = 31
"""Days of a backfill's run, if several may run at a time: a run's start costs as much as building
some days of the example, and a year is a dozen runs for as many hosts."""


class BuildConfig(Config):
    """The configuration of a run that builds."""

    force: bool = Field(
        default=False, description="Compute also what is at the stream's version already."
    )
    days: list[str] = Field(
        default=[], description="The days to build, in place of a run's partitions."
    )
    limit_seconds: float | None = Field(
        default=None,
        description="Begin no further days after so many seconds; those left stay stale.",
    )


def stream_specs(settings: Settings) -> list[AssetSpec]:
    """Return the assets that the stream makes; Dagster observes them and runs none."""
    names = Names.of(settings)

    def spec(key: str, description: str, kind: str, *deps: str, **more: Any) -> AssetSpec:  # noqa: ANN401
        return AssetSpec(
            key,
            deps=deps,
            description=description,
            group_name=GROUP,
            kinds={kind},
            owners=OWNERS,
            **more,
        )

    return [
        spec(
            "purchases", f"Raw purchases, as anyone sends them: topic {names.purchases}.", "kafka"
        ),
        spec(
            "purchases_dlq",
            f"Refused records with their reasons: topic {names.dead_letters}.",
            "kafka",
            "purchases",
        ),
        # What is refused once more goes back to the dead letters, but a lineage has no circle.
        spec(
            "purchases_redrive",
            f"Refused records, repaired and sent again by an operator: topic {names.redrive}.",
            "kafka",
            "purchases_dlq",
        ),
        spec(
            "analytics",
            f"Valid, enriched events, each once: topic {names.analytics}.",
            "kafka",
            "purchases",
            "purchases_redrive",
        ),
        spec(
            EVENTS.to_user_string(),
            "Stored events, each once; a partition is a day in the deployment's time zone.",
            _store_kind(settings),
            "analytics",
            partitions_def=day_partitions(settings),
            metadata={"dagster/column_schema": column_schema(AnalyticsEventRow)},
        ),
    ]


def history_asset(settings: Settings) -> AssetsDefinition:
    """Return the asset of the column files: a run seals the days that have none."""

    @asset(
        key=HISTORY,
        deps=[EVENTS],
        description="Stored events by day in Parquet files, which builds read instead of rows.",
        group_name=GROUP,
        kinds={"parquet"},
        owners=OWNERS,
        check_specs=[
            AssetCheckSpec(
                AUDIT,
                asset=HISTORY,
                description="Compares the files with their list, and their sums with the ledger.",
            )
        ],
        pool=_pool(settings),
    )
    def analytics_history(context: AssetExecutionContext) -> Iterator[Any]:
        # Alone, because it removes files that builds on other hosts may read.
        with hold_write_lock(settings, context.run.run_id, alone=True):
            day, limit = today(settings, datetime.now(UTC)), Deadline.after(SEAL_SECONDS)
            try:
                result = seal_history(settings, day, limit.left())
                archived = archive_history(settings, day, limit.left())
                result = replace(result, problems=result.problems | archived.problems)
            except Unavailable as error:
                # Such as a bucket that does not answer: the check says so, and the next run seals.
                result = SealResult(problems={"": str(error)})
            with read_store(settings) as store:
                metadata = _seal_metadata(result, read_history(store))
                finding = check_files(store, settings, result.problems)
        yield MaterializeResult(metadata=metadata, check_results=[_check_result(finding)])

    return analytics_history


def _seal_metadata(result: SealResult, history: Mapping[str, int]) -> dict[str, Any]:
    """Return the metadata of a seal: what it did, and what the files are now."""
    return {
        **history,
        "sealed_days": result.days,
        "sealed_events": result.events,
        "new_files": result.files,
        "joined_files": result.joined,
        "removed_files": result.removed,
    }


def _check_result(finding: Finding) -> AssetCheckResult:
    examples = {f"example {n}": text for n, text in enumerate(finding.examples, 1)}
    return AssetCheckResult(
        check_name=AUDIT,
        passed=finding.passed,
        description=finding.description,
        metadata={**finding.numbers, **examples},
    )


def table_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return the aggregate tables: the day tables in one step, the summaries in another."""
    partitions = day_partitions(settings)
    return [
        _tables(settings, DAY_STEP, day_transforms(settings), partitions),
        _tables(settings, WHOLE_STEP, WHOLE_TRANSFORMS, None),
    ]


def _tables(
    settings: Settings,
    step: str,
    transforms: Sequence[AnyTransform],
    partitions: PartitionsDefinition[str] | None,
) -> AssetsDefinition:
    @multi_asset(
        name=step,
        specs=[_spec(settings, transform) for transform in transforms],
        check_specs=[_audit_spec(transform, partitions) for transform in transforms],
        partitions_def=partitions,
        backfill_policy=_backfill_policy(settings) if partitions else None,
        can_subset=True,
        pool=_pool(settings),
    )
    def build(context: AssetExecutionContext, config: BuildConfig) -> Iterator[Any]:
        # A range of days is one run, because 48 runs of a day took three times as long as one of
        # 48 days. Events are yielded day by day: `MaterializeResult` would record all days only
        # at the end, and the check without its partition.
        keys = {key.to_user_string() for key in context.selected_asset_keys}
        chosen = [transform for transform in transforms if transform.table in keys]
        days = _chosen_days(context, config) if partitions else [WHOLE]
        outcomes: list[Outcome] = []
        run_id = context.run.run_id
        with hold_write_lock(settings, run_id), open_builder(settings, run_id) as builder:
            # Counted from here: waiting for another run's lock must not use up the time.
            limit = Deadline.after(config.limit_seconds or math.inf)
            for piece in builder.group_days(days):
                if outcomes and limit.is_over():
                    break
                results = builder.build_days(piece, chosen, force=config.force)
                outcomes += results
                with store_together(context.instance):
                    yield from build_events(results, context.instance, run_id)
        computed = sum(outcome.computed for outcome in outcomes)
        context.log.info("%d builds, of them %d computed", len(outcomes), computed)
        failure = run_failure(outcomes)
        if failure is not None:
            raise failure

    return build


def _store_kind(settings: Settings) -> str:
    """Return the name of the database, by which Dagster shows its icon."""
    return "sqlite" if isinstance(settings.database, Path) else "postgres"


def _pool(settings: Settings) -> str | None:
    """Return the pool that lets one run write at a time; None if the store takes several."""
    return None if takes_several_writers(settings) else WRITE_POOL


def _backfill_policy(settings: Settings) -> BackfillPolicy:
    """Return how a backfill is cut into runs: several for several hosts, else one."""
    if takes_several_writers(settings):
        return BackfillPolicy.multi_run(RUN_DAYS)
    return BackfillPolicy.single_run()


def _chosen_days(context: AssetExecutionContext, config: BuildConfig) -> list[str]:
    """Return the days that a run builds, newest first: those are what people look at."""
    return sorted(config.days or context.partition_keys, reverse=True)


def wrong_sql_specs(settings: Settings) -> list[AssetSpec]:
    """Return an asset for each wrong `.sql` file, which cannot run and says what is wrong.

    While the server does not answer, no file can be checked, and all have one.
    """
    try:
        problems = read_sql_tables(settings).problems
    except Unavailable as error:
        files = sorted(settings.sql.glob("*.sql")) if settings.sql else []
        problems = {table_name(file): f"It cannot be checked: {error}" for file in files}
    return [
        AssetSpec(name, description=f"Not built. {problem}", group_name=GROUP, kinds={"sql"})
        for name, problem in problems.items()
    ]


def _spec(settings: Settings, transform: AnyTransform) -> AssetSpec:
    url = dashboard_url(settings)
    address = f"{url}/#verified?table={transform.table}"
    link = {"dashboard": MetadataValue.url(address)} if url else {}
    is_sql = isinstance(transform, SqlTransform)
    return AssetSpec(
        transform.table,
        deps=[EVENTS] if is_sql else [EVENTS, HISTORY],
        skippable=True,  # no output: the events are yielded, and a failed day must not end the rest
        description=transform.description,
        group_name=GROUP,
        code_version=transform.code_version,
        owners=OWNERS,
        kinds={"sql" if is_sql else "polars", _store_kind(settings)},
        metadata={
            "dagster/column_schema": table_schema(transform),
            "dagster/table_name": transform.table,
            **link,
        },
    )


def _audit_spec(
    transform: AnyTransform, partitions: PartitionsDefinition[str] | None
) -> AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)  # of `partitions_def`
        return AssetCheckSpec(
            AUDIT,
            asset=transform.table,
            description="Compares the rows with the stream's figures before they are visible.",
            blocking=True,
            partitions_def=partitions,
        )
