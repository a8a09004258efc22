"""The assets: what of the stream Dagster shows, and the tables that it computes.

Only their definitions; what a build does is in `build`, what it shows in `shown`. The day tables
are one step, so that a day's events are read once for all of them, and any of them can be chosen.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dagster import (
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Config,
    MetadataValue,
    PartitionsDefinition,
    multi_asset,
)
from dagster_shared.utils.warnings import PreviewWarning
from pydantic import Field

from assets.builds.builder import Outcome, workshop
from assets.builds.locks import WRITE_POOL, writing
from assets.dagster_events import AUDIT, failed, shown
from assets.lineage import EVENTS, column_schema
from assets.partitions import day_partitions
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.dashboard.address import dashboard_url
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.store.models import AnalyticsEventRow

DAY_STEP: Final = "day_tables"
WHOLE_STEP: Final = "summaries"
OWNERS: Final = ["team:shop"]


class BuildConfig(Config):
    """What a run may be told."""

    force: bool = Field(
        default=False, description="Compute also what is at the stream's version already."
    )


def stream_specs(settings: Settings) -> list[AssetSpec]:
    """Give the assets that the stream makes, and that Dagster only shows."""
    names = Names.of(settings)

    def spec(key: str, description: str, kind: str, *deps: str, **more: Any) -> AssetSpec:  # noqa: ANN401
        return AssetSpec(
            key,
            deps=deps,
            description=description,
            group_name="stream",
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
            f"What was refused, and why: topic {names.dead_letters}.",
            "kafka",
            "purchases",
        ),
        spec(
            "analytics",
            f"Valid, enriched events, each once: topic {names.analytics}.",
            "kafka",
            "purchases",
        ),
        spec(
            EVENTS.to_user_string(),
            "Stored events, each once; a partition is a day in the deployment's time zone.",
            "sqlite",
            "analytics",
            partitions_def=day_partitions(settings),
            metadata={"dagster/column_schema": column_schema(AnalyticsEventRow)},
        ),
    ]


def table_assets(settings: Settings) -> list[AssetsDefinition]:
    """Give the tables: those of days in one step, the summaries in another."""
    partitions = day_partitions(settings)
    return [
        _tables(settings, DAY_STEP, DAY_TRANSFORMS, "daily", partitions),
        _tables(settings, WHOLE_STEP, WHOLE_TRANSFORMS, "summaries", None),
    ]


def _tables(
    settings: Settings,
    step: str,
    transforms: Sequence[Transform],
    group: str,
    partitions: PartitionsDefinition[str] | None,
) -> AssetsDefinition:
    @multi_asset(
        name=step,
        specs=[_spec(settings, transform, group) for transform in transforms],
        check_specs=[_audit_spec(transform, partitions) for transform in transforms],
        partitions_def=partitions,
        backfill_policy=BackfillPolicy.single_run() if partitions else None,
        can_subset=True,
        pool=WRITE_POOL,
    )
    def build(context: AssetExecutionContext, config: BuildConfig) -> Iterator[Any]:
        keys = {key.to_user_string() for key in context.selected_asset_keys}
        chosen = [transform for transform in transforms if transform.table in keys]
        days = context.partition_keys if partitions else [WHOLE]
        outcomes: list[Outcome] = []
        run_id = context.run.run_id
        with writing(settings.home, run_id), workshop(settings, run_id) as shop:
            for day in days:
                built = shop.build(day, chosen, force=config.force)
                outcomes += built
                for outcome in built:
                    yield from shown(outcome, context.instance)
        worked = sum(outcome.worked for outcome in outcomes)
        context.log.info("%d builds, of them %d computed", len(outcomes), worked)
        failure = failed(outcomes)
        if failure is not None:
            raise failure

    return build


def _spec(settings: Settings, transform: Transform, group: str) -> AssetSpec:
    url = dashboard_url(settings)
    link = {"dashboard": MetadataValue.url(f"{url}/#truth?table={transform.table}")} if url else {}
    return AssetSpec(
        transform.table,
        deps=[EVENTS],
        skippable=True,
        description=transform.model.__doc__,
        group_name=group,
        code_version=transform.code_version,
        owners=OWNERS,
        kinds={"polars", "sqlite"},
        metadata={
            "dagster/column_schema": column_schema(transform.model),
            "dagster/table_name": transform.table,
            **link,
        },
    )


def _audit_spec(
    transform: Transform, partitions: PartitionsDefinition[str] | None
) -> AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)  # of `partitions_def`
        return AssetCheckSpec(
            AUDIT,
            asset=transform.table,
            description="The rows against what the stream counted, before they are visible.",
            blocking=True,
            partitions_def=partitions,
        )
