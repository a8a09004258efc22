"""The assembly of all of Dagster's definitions, for its processes and for tests."""

import os

from dagster import Definitions, in_process_executor

from assets.checks.asset_checks import asset_checks
from assets.definitions import history_asset, stream_specs, table_assets, wrong_sql_specs
from assets.tables.first_partition import with_first_partition
from orchestration.automation.backups import backup_job
from orchestration.automation.retention import upkeep_job
from orchestration.automation.run_sensors import run_sensors
from orchestration.automation.schedules import schedules
from orchestration.automation.stream_sensors import stream_sensors
from orchestration.automation.table_sensors import stale_days_sensor
from streaming.errors import Unavailable
from streaming.settings import Settings, load_settings
from streaming.store.sql_tables import read_sql_tables


def build_defs(settings: Settings | None = None) -> Definitions:
    """Return all definitions for these settings; None reads them from the environment."""
    given = settings or load_settings()
    chosen = _with_checked_sql(given)
    # Not for what starts the apps: they accept purchases of all of history.
    dated = with_first_partition(chosen, os.environ)
    return Definitions(
        assets=[
            *stream_specs(dated),
            history_asset(chosen),
            *table_assets(dated),
            *wrong_sql_specs(given),
        ],
        asset_checks=asset_checks(dated),
        sensors=[
            *stream_sensors(chosen, dated.history_start),
            stale_days_sensor(dated),
            *run_sensors(chosen),
        ],
        schedules=schedules(chosen, upkeep_job(chosen), backup_job(chosen)),
        executor=in_process_executor,  # the multiprocess one takes 10 s where this takes 0.3 s
    )


def _with_checked_sql(settings: Settings) -> Settings:
    """Return settings without `.sql` files while their server does not answer.

    Dagster loads without it too. All parts must have the same tables: an answer may come meanwhile.
    """
    try:
        read_sql_tables(settings)
    except Unavailable:
        return settings.model_copy(update={"sql": None})
    return settings
