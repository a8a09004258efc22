"""One backfill of the example year, in a process of its own: with Dagster, empty, or alone.

`python -m benchmarks.backfill full|empty|alone` over the home in the environment prints seconds (in
Dagster from STARTED to the end of the run) and peak memory in MiB.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    materialize,
    multi_asset,
)

from assets.builds.builder import open_builder
from assets.definitions import stream_specs, table_assets
from assets.tables.day_range import DayRange
from assets.tables.transforms import DAY_TRANSFORMS
from benchmarks.measure import peak_mebibytes
from orchestration.instance import open_instance, prepare_instance
from streaming.settings import Settings, load_settings

FIRST, LAST = date(2010, 12, 1), date(2011, 12, 9)


def empty(tables: AssetsDefinition) -> AssetsDefinition:
    """Return assets of the same shape whose bodies do nothing: what Dagster itself needs."""

    @multi_asset(
        name="empty",
        specs=list(tables.specs),
        check_specs=list(tables.check_specs),
        partitions_def=tables.partitions_def,
        backfill_policy=BackfillPolicy.single_run(),
        can_subset=True,
    )
    def build(
        context: AssetExecutionContext,
    ) -> Iterator[AssetMaterialization | AssetCheckEvaluation]:
        for day in context.partition_keys:
            for key in tables.keys:
                yield AssetMaterialization(key, partition=day)
                yield AssetCheckEvaluation(
                    asset_key=key, check_name="audit", passed=True, blocking=True, partition=day
                )

    return build


def in_dagster(settings: Settings, tables: AssetsDefinition) -> float:
    """Run the assets over the year on an instance of their own; give the seconds of the run."""
    with tempfile.TemporaryDirectory() as directory:
        home = settings.model_copy(update={"home": Path(directory)})
        prepare_instance(home)
        return run_year(settings, tables, home)


def run_year(settings: Settings, tables: AssetsDefinition, home: Settings) -> float:
    """Run the assets over the year on the instance of a home; return the seconds of the run."""
    with open_instance(home) as instance:
        result = materialize(
            [*stream_specs(settings), tables],
            selection=list(tables.keys),
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": FIRST.isoformat(),
                "dagster/asset_partition_range_end": LAST.isoformat(),
            },
        )
        stats = instance.get_run_stats(result.run_id)
        return (stats.end_time or 0.0) - (stats.start_time or 0.0)


def alone(settings: Settings) -> float:
    """Read, compute and write the year without Dagster."""
    start = time.perf_counter()
    with open_builder(settings, "bench") as builder:
        for day in DayRange(FIRST, LAST).list_days():
            builder.build(day.isoformat(), DAY_TRANSFORMS, force=True)
    return time.perf_counter() - start


def main(kind: str) -> None:
    """Measure one kind and print what it took."""
    settings = load_settings()
    tables = table_assets(settings)[0]
    if kind == "alone":
        seconds = alone(settings)
    else:
        seconds = in_dagster(settings, tables if kind == "full" else empty(tables))
    print(seconds, peak_mebibytes(os.getpid()))


if __name__ == "__main__":
    main(sys.argv[1])
