"""The two sensors that keep the stream's apps running, and report them to Dagster's lineage.

A tick touches the app's keep-alive, starts a missing supervisor, and reads status files; it asks
no broker. What an app does is in `streaming`, and no run follows from a report.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
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

from orchestration.automation.ticks import APP_SENSORS, record_tick
from streaming.apps import ANALYTICS, PROCESSOR, App
from streaming.runtime.keep_alive import Supervision, keep_running
from streaming.settings import Settings
from streaming.status.hosts import read_app_of_hosts
from streaming.store.connection import read_store, store_exists
from streaming.store.live_totals import changed_days, read_version

TICK_SECONDS: Final = 15
"""Three ticks before a keep-alive is too old (45 s): one slow tick stops no app."""
REPORT_SECONDS: Final = 600
"""An observation takes 3.6 KB of Dagster's storage: one a tick would be 20 MB a day and app."""
EVENTS_PER_TICK: Final = 50
"""An event takes 9 to 22 ms to record: so many stay well below Dagster's minute for a tick."""


class SensorCursor(Struct):
    """The cursor of a sensor: its last observation, and the version up to which it reported days.

    `at` is in epoch seconds. A round reports the days that changed from `version` on (of that
    version only days after `day`) up to `target`; it is complete when `version` is beyond `target`.
    """

    state: str = ""
    at: float = 0.0
    records: int = 0
    refused: int = 0
    version: int = 1
    day: str = ""
    target: int = 0


def stream_sensors(settings: Settings, first_partition: date) -> list[SensorDefinition]:
    """Return the sensors of the processor and of the consumer."""
    # For reports alone: a day before has no partition, but the apps accept its purchases.
    dated = settings.model_copy(update={"history_start": first_partition})

    @sensor(
        name=APP_SENSORS[PROCESSOR],
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=_description(settings, "PurchaseProcessorApp", settings.processor_slots),
    )
    def purchase_processor_sensor(context: SensorEvaluationContext) -> SensorResult:
        # Before all else: an error in a report must not stop the app.
        supervision = keep_running(settings, PROCESSOR)
        record_tick(settings, context)
        health = read_health(settings, PROCESSOR)
        cursor = _read_cursor(context.cursor)
        events, cursor = observe_app("purchases", supervision, health, cursor, time.time())
        return _result(PROCESSOR, supervision, health, events, cursor)

    @sensor(
        name=APP_SENSORS[ANALYTICS],
        minimum_interval_seconds=TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=_description(settings, "AnalyticsConsumerApp", settings.analytics_slots),
    )
    def analytics_consumer_sensor(context: SensorEvaluationContext) -> SensorResult:
        supervision = keep_running(settings, ANALYTICS)
        record_tick(settings, context)
        health = read_health(settings, ANALYTICS)
        before = _read_cursor(context.cursor)
        events, cursor = observe_app("analytics", supervision, health, before, time.time())
        # The observation counts too: it is recorded in the same tick.
        most = EVENTS_PER_TICK - len(events)
        days, cursor = report_days(dated, cursor, most, new_round=cursor.at > before.at)
        return _result(ANALYTICS, supervision, health, [*events, *days], cursor)

    return [purchase_processor_sensor, analytics_consumer_sensor]


def _description(settings: Settings, app: str, slots: int) -> str:
    """Return what a sensor does; of several hosts, which workers are its own."""
    if not settings.host:
        return f"Keeps {app} running and reports it. Off: its workers stop."
    # The daemon reaches the processes of its own host only; a setting says which that is.
    others = "The workers of other hosts are kept by their `purchases up`, and not by this switch."
    if not slots:
        return f"Reports {app}, of which host {settings.host} runs no worker. {others}"
    workers = "1 worker" if slots == 1 else f"{slots} workers"
    return (
        f"Keeps {workers} of {app} running on host {settings.host}, and reports it."
        f" Off: these stop. {others}"
    )


@dataclass(frozen=True)
class AppHealth:
    """The sums of an app's live workers; `state` and `detail` are of the slot in the worst state.

    `records` and `refused` count since the workers' start: they fall when one is restarted.
    """

    state: str
    detail: str
    alive: int
    records: int
    refused: int
    lag_records: int
    lag_seconds: float


def read_health(settings: Settings, app: App) -> AppHealth:
    """Read the health of an app: from files and leases, or from all hosts if there are several."""
    status, workers = read_app_of_hosts(settings, app)
    working = status.state in {"running", "caught_up"}
    return AppHealth(
        state="running" if working else status.state,
        detail=next((slot.detail for slot in status.slots if slot.state == status.state), ""),
        alive=len(workers),
        records=sum(worker.records for worker in workers),
        refused=sum(worker.refused for worker in workers),
        lag_records=sum(worker.lag_records for worker in workers),
        lag_seconds=max((worker.lag_seconds for worker in workers), default=0.0),
    )


def observe_app(
    asset: str, supervision: Supervision, health: AppHealth, cursor: SensorCursor, now: float
) -> tuple[list[AssetObservation], SensorCursor]:
    """Return an observation, or none if none is due, and the cursor after it.

    It is due every ten minutes (`now` is in epoch seconds), and when the state has changed.
    """
    if health.state == cursor.state and now - cursor.at < REPORT_SECONDS:
        return [], cursor
    numbers: dict[str, float | int | str] = {
        "state": f"{health.state}: {health.detail}" if health.detail else health.state,
        "supervisor": f"{supervision.state} {supervision.pid or ''}".strip(),
        "workers": health.alive,
        "lag_records": health.lag_records,
        "lag_seconds": health.lag_seconds,
    }
    records = health.records - cursor.records
    # After a restart of a worker its counts begin at 0: no rate then, rather than a negative one.
    if cursor.at and records >= 0:
        refused = max(health.refused - cursor.refused, 0)
        numbers["records_per_second"] = round(records / (now - cursor.at), 3)
        numbers["refused_share"] = round(refused / records, 6) if records else 0.0
    after = msgspec.structs.replace(
        cursor, state=health.state, at=now, records=health.records, refused=health.refused
    )
    return [AssetObservation(asset, metadata=numbers)], after


def report_days(
    settings: Settings, cursor: SensorCursor, most: int, *, new_round: bool
) -> tuple[list[AssetMaterialization], SensorCursor]:
    """Return materialisations of at most `most` days that new events changed, and the new cursor.

    A new round begins with each observation, unless the one before is not complete.
    """
    is_complete = cursor.version > cursor.target
    if not store_exists(settings) or (is_complete and not new_round):
        return [], cursor
    with read_store(settings) as store:
        target = read_version(store) if is_complete else cursor.target
        days = changed_days(store, (cursor.version, cursor.day), target, most)
    # Fewer than asked for are the last of the round.
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
        # Other days have no partition; the check `out_of_range` counts them.
        if first <= changed.day <= last
    ]
    return events, msgspec.structs.replace(cursor, version=version, day=day, target=target)


def _result(
    app: App,
    supervision: Supervision,
    health: AppHealth,
    events: Sequence[AssetObservation | AssetMaterialization],
    cursor: SensorCursor,
) -> SensorResult:
    text = msgspec.json.encode(cursor).decode()
    if events:
        return SensorResult(asset_events=events, cursor=text)
    supervisor = {
        "started": f"started a supervisor, see workers/{app.name}.log in the home",
        "wanted": f"supervised by process {supervision.pid}",
        "by_hand": f"supervised by process {supervision.pid}, which a person started",
        "elsewhere": "run by other hosts alone",
    }[supervision.state]
    detail = f": {health.detail}" if health.detail else f", {health.lag_records} records behind"
    reason = f"{supervisor}; {health.alive} workers alive, {health.state}{detail}"
    return SensorResult(skip_reason=reason, cursor=text)


def _read_cursor(text: str | None) -> SensorCursor:
    return msgspec.json.decode(text, type=SensorCursor) if text else SensorCursor()
