"""The two sensors that keep the stream's apps running, and report them to Dagster's lineage.

A tick touches the app's wish, starts a supervisor that is missing, and looks at status files: no
broker is asked. What an app does is its worker's matter; a report triggers nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from dagster import (
    AssetMaterialization,
    AssetObservation,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from msgspec import Struct

from streaming.apps import ANALYTICS, PROCESSOR, App
from streaming.runtime.keep_alive import Supervision, keep_running
from streaming.settings import Settings
from streaming.status.slots import read_app
from streaming.store.connection import read_store
from streaming.store.live_totals import changed_days, live_figures

TICK_SECONDS: Final = 15
REPORT_SECONDS: Final = 600
EVENTS_A_TICK: Final = 50


class Reported(Struct):
    """A sensor's cursor: when it last observed what, and up to which version it reported days.

    Days changed from `version` (at it those after `day`) up to `target` are still to be reported in
    this round; it is through when `version` lies beyond.
    """

    state: str = ""
    at: float = 0.0
    records: int = 0
    refused: int = 0
    version: int = 1
    day: str = ""
    target: int = 0


def stream_sensors(settings: Settings) -> list[SensorDefinition]:
    """Give the sensors of the processor and of the consumer."""

    @sensor(
        name="purchase_processor_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Keeps PurchaseProcessorApp running and reports it. Off: its workers leave.",
    )
    def purchase_processor_sensor(context: SensorEvaluationContext) -> SensorResult:
        supervision = keep_running(settings, PROCESSOR)
        health = health_of(settings, PROCESSOR)
        reported = _read(context.cursor)
        events, reported = observe("purchases", supervision, health, reported, time.time())
        return _result(PROCESSOR, supervision, health, events, reported)

    @sensor(
        name="analytics_consumer_sensor",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Keeps AnalyticsConsumerApp running and reports it. Off: its workers leave.",
    )
    def analytics_consumer_sensor(context: SensorEvaluationContext) -> SensorResult:
        supervision = keep_running(settings, ANALYTICS)
        health = health_of(settings, ANALYTICS)
        before = _read(context.cursor)
        events, reported = observe("analytics", supervision, health, before, time.time())
        most = EVENTS_A_TICK - len(events)
        days, reported = report_days(settings, reported, most, new_round=reported.at > before.at)
        return _result(ANALYTICS, supervision, health, [*events, *days], reported)

    return [purchase_processor_sensor, analytics_consumer_sensor]


@dataclass(frozen=True)
class AppHealth:
    """An app's living workers in sum; `state` and `detail` are of the slot that is worst off.

    `records` and `refused` count since the workers' start, so they fall when one is restarted.
    """

    state: str
    detail: str
    alive: int
    records: int
    refused: int
    lag_records: int
    lag_seconds: float


def health_of(settings: Settings, app: App) -> AppHealth:
    """Look at each slot of an app once, from its files and leases alone."""
    seen, workers = read_app(settings, app)
    working = seen.state in {"running", "caught_up"}
    return AppHealth(
        state="running" if working else seen.state,
        detail=next((slot.detail for slot in seen.slots if slot.state == seen.state), ""),
        alive=len(workers),
        records=sum(worker.records for worker in workers),
        refused=sum(worker.refused for worker in workers),
        lag_records=sum(worker.lag_records for worker in workers),
        lag_seconds=max((worker.lag_seconds for worker in workers), default=0.0),
    )


def observe(
    asset: str, supervision: Supervision, health: AppHealth, reported: Reported, now: float
) -> tuple[list[AssetObservation], Reported]:
    """Give an observation and the cursor after it; none where nothing new is due.

    Due is one every ten minutes (`now` is in epoch seconds), or when the state has changed.
    """
    if health.state == reported.state and now - reported.at < REPORT_SECONDS:
        return [], reported
    numbers: dict[str, float | int | str] = {
        "state": f"{health.state}: {health.detail}" if health.detail else health.state,
        "supervisor": f"{supervision.state} {supervision.pid or ''}".strip(),
        "workers": health.alive,
        "lag_records": health.lag_records,
        "lag_seconds": health.lag_seconds,
    }
    records = health.records - reported.records
    if reported.at and records >= 0:
        refused = max(health.refused - reported.refused, 0)
        numbers["records_per_second"] = round(records / (now - reported.at), 3)
        numbers["refused_share"] = round(refused / records, 6) if records else 0.0
    after = msgspec.structs.replace(
        reported, state=health.state, at=now, records=health.records, refused=health.refused
    )
    return [AssetObservation(asset, metadata=numbers)], after


def report_days(
    settings: Settings, reported: Reported, most: int, *, new_round: bool
) -> tuple[list[AssetMaterialization], Reported]:
    """Give materialisations of at most so many days that new events touched, and the new cursor.

    A new round begins with each observation, unless the one before is not through yet.
    """
    through = reported.version > reported.target
    if not settings.database_path.exists() or (through and not new_round):
        return [], reported
    with read_store(settings) as store:
        target = live_figures(store).events if through else reported.target
        days = changed_days(store, (reported.version, reported.day), target, most)
    version, day = (days[-1].version, days[-1].day) if len(days) == most else (target + 1, "")
    first, last = str(settings.history_start), str(datetime.now(settings.zone).date())
    events = [
        AssetMaterialization(
            "analytics_event",
            partition=changed.day,
            metadata={
                "events": changed.events,
                "items_sold": changed.items_sold,
                "version": changed.version,
            },
        )
        for changed in days
        if first <= changed.day <= last
    ]
    return events, msgspec.structs.replace(reported, version=version, day=day, target=target)


def _result(
    app: App,
    supervision: Supervision,
    health: AppHealth,
    events: Sequence[AssetObservation | AssetMaterialization],
    reported: Reported,
) -> SensorResult:
    cursor = msgspec.json.encode(reported).decode()
    if events:
        return SensorResult(asset_events=events, cursor=cursor)
    who = {
        "started": f"a supervisor was started, see workers/{app.name}.log in the home",
        "wanted": f"supervised by process {supervision.pid}",
        "by_hand": f"supervised by process {supervision.pid}, which somebody else started",
    }[supervision.state]
    told = f"{who}; {health.alive} alive, {health.state}"
    told += f": {health.detail}" if health.detail else f", {health.lag_records} records behind"
    return SensorResult(skip_reason=told, cursor=cursor)


def _read(cursor: str | None) -> Reported:
    return msgspec.json.decode(cursor, type=Reported) if cursor else Reported()
