"""One backfill of the example year, in a process of its own: with Dagster, empty, or alone.

`python -m benchmarks.backfill full|empty|alone|polars` over the home in the environment prints
seconds (in Dagster from STARTED to the end of the run), seconds of CPU time and peak memory in MiB.
`polars` reads, computes and writes the same, in one transaction and without audit or record.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    materialize,
    multi_asset,
)
from sqlalchemy import Connection

from assets.builds.builder import open_builder
from assets.builds.event_reader import read_events
from assets.builds.writer import database_rows
from assets.definitions import stream_specs, table_assets
from assets.tables.aggregate import add_local_columns, aggregate
from assets.tables.day_range import DayRange
from assets.tables.transforms import DAY_TRANSFORMS, table_rows
from benchmarks.measure import peak_mebibytes
from orchestration.instance import open_instance, prepare_instance
from streaming.settings import Settings, load_settings
from streaming.store.column_store import open_column_store
from streaming.store.connection import read_store
from streaming.store.engine import open_engine

FIRST, LAST = date(2010, 12, 1), date(2011, 12, 9)


def empty_assets(tables: AssetsDefinition) -> AssetsDefinition:
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


def list_days() -> list[str]:
    """Return the days of the year."""
    return [day.isoformat() for day in DayRange(FIRST, LAST).list_days()]


def polars(settings: Settings) -> float:
    """Read, compute and write the year by polars and SQLite alone, all days at once."""
    start = time.perf_counter()
    zone, grains = settings.zone, [one.grains[0] for one in DAY_TRANSFORMS]
    with read_store(settings) as store:
        events = read_events(store, FIRST, LAST, zone, open_column_store(settings))
        frames = [add_local_columns(frame, zone).collect().lazy() for frame in events.frames]
        sealed = [pl.concat(events.sealed).collect().lazy()] if events.sealed else []
        figures = aggregate([*sealed, *frames], grains)
    engine = open_engine(settings)
    with engine.begin() as connection:
        for one, grain in zip(DAY_TRANSFORMS, grains, strict=True):
            for (day,), of_day in figures[grain].partition_by("day", as_dict=True).items():
                write_rows(
                    connection, one.table, f"{day}", table_rows(one, {grain: of_day}, f"{day}")
                )
    engine.dispose()
    return time.perf_counter() - start


def write_rows(connection: Connection, table: str, day: str, rows: pl.DataFrame) -> None:
    """Replace the rows of a day."""
    connection.exec_driver_sql(f"DELETE FROM {table} WHERE day = ?", (day,))  # noqa: S608 - ours
    if values := database_rows(rows):
        names = f"({', '.join(rows.columns)}) VALUES ({', '.join('?' * rows.width)})"
        connection.exec_driver_sql(f"INSERT INTO {table} {names}", values)


def build_without_dagster(settings: Settings) -> float:
    """Read, compute and write the year without Dagster."""
    start = time.perf_counter()
    with open_builder(settings, "bench") as builder:
        for piece in builder.group_days(list_days()):
            builder.build_days(piece, DAY_TRANSFORMS, force=True)
    return time.perf_counter() - start


def main(kind: str) -> None:
    """Measure one kind and print what it took."""
    settings = load_settings()
    tables = table_assets(settings)[0]
    if kind == "alone":
        seconds = build_without_dagster(settings)
    elif kind == "polars":
        seconds = polars(settings)
    else:
        seconds = in_dagster(settings, tables if kind == "full" else empty_assets(tables))
    print(seconds, time.process_time(), peak_mebibytes(os.getpid()))


if __name__ == "__main__":
    main(sys.argv[1])
