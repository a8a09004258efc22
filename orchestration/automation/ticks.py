"""The record of Dagster's ticks: that its sensors tick, and which apps are switched off in it.

The sensors write it, `up` reads it. Nothing of Dagster is imported before a tick: `up` must start
without it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from streaming.apps import ANALYTICS, PROCESSOR, App
from streaming.settings import Settings
from streaming.system.home import Home

if TYPE_CHECKING:
    from dagster import SensorEvaluationContext

APP_SENSORS: Final[Mapping[App, str]] = {
    PROCESSOR: "purchase_processor_sensor",
    ANALYTICS: "analytics_consumer_sensor",
}
"""The sensor by which an operator switches an app on and off."""


def record_tick(settings: Settings, context: "SensorEvaluationContext") -> None:
    """Record that a sensor ticks, and for each app whether its sensor is switched off."""
    home = Home(settings.home)
    home.dagster.mkdir(parents=True, exist_ok=True)
    home.dagster_tick.touch()
    switched_off = _read_switched_off(context)
    for app, sensor in APP_SENSORS.items():
        # A file for each: ticks run side by side, and touching or removing one needs no lock.
        if sensor in switched_off:
            home.switched_off(app.name).touch()
        else:
            home.switched_off(app.name).unlink(missing_ok=True)


def _read_switched_off(context: "SensorEvaluationContext") -> set[str]:
    """Return the names of the sensors of this tick's code location that are switched off."""
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.scheduler.instigation import InstigatorStatus

    states = context.instance.all_instigator_state(
        instigator_type=InstigatorType.SENSOR, instigator_statuses={InstigatorStatus.STOPPED}
    )
    location = context.code_location_origin
    return {
        state.instigator_name
        for state in states
        # Another location of the same code has sensors of the same names, and switches of its own.
        if location is None or state.origin.location_name == location.location_name
    }
