"""The sensors of the stream on a real instance: what a tick reports, and that it is never much."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date

import pytest
from dagster import (
    AssetMaterialization,
    DagsterInstance,
    SensorResult,
    build_sensor_context,
)

from orchestration.automation.stream_sensors import EVENTS_PER_TICK, stream_sensors
from streaming.runtime.status_file import WorkerStatus, replace_json
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.lease import acquire
from tests.assets.event_store import store_events
from tests.store.rows import event, micros, year_of_days


@pytest.fixture
def manned(store: Settings) -> Iterator[Settings]:
    """A home whose consumer is supervised, and its one slot held, by this process."""
    with ExitStack() as leases:
        for path in (
            Home(store.home).supervisor_lease("analytics"),
            Home(store.home).worker_lease("analytics", 0),
        ):
            lease = acquire(path)
            assert lease is not None
            leases.enter_context(lease)
        say(store, "running")
        yield store


def say(settings: Settings, state: str) -> None:
    """Let the consumer's worker say how it is."""
    status = WorkerStatus("analytics", 0, os.getpid(), state, updated_at=2e9)
    replace_json(Home(settings.home).worker_status("analytics", 0), status)


class Ticks:
    """The consumer's sensor, each of whose ticks goes on from the cursor of the one before."""

    def __init__(self, settings: Settings, instance: DagsterInstance) -> None:
        self._sensor = stream_sensors(settings, settings.history_start)[1]
        self._instance = instance
        self._cursor: str | None = None

    def tick(self) -> tuple[int, list[str]]:
        """Tick once; give how many asset events there are, and the days among them."""
        with build_sensor_context(self._instance, self._cursor) as context:
            result = self._sensor(context)
        assert isinstance(result, SensorResult)
        self._cursor = result.cursor
        made = [e for e in result.asset_events if isinstance(e, AssetMaterialization)]
        return len(result.asset_events), [str(e.partition) for e in made]


def test_a_tick_has_at_most_fifty_asset_events_and_forgets_no_day(
    manned: Settings, instance: DagsterInstance
) -> None:
    """The observation is one of them; 120 days of one batch, at one version, take three ticks."""
    store_events(manned, year_of_days(120))
    ticks = Ticks(manned, instance)
    results = [ticks.tick() for _ in range(4)]
    assert [events for events, _ in results] == [EVENTS_PER_TICK, EVENTS_PER_TICK, 21, 0]
    days = [day for _, some in results for day in some]
    assert len(days) == len(set(days)) == 120
    assert days == sorted(days)


def test_days_are_reported_with_an_observation_and_only_those_that_changed(
    manned: Settings, instance: DagsterInstance
) -> None:
    """An observation is due every ten minutes, or when the state changes."""
    store_events(manned, year_of_days(3))
    ticks = Ticks(manned, instance)
    assert ticks.tick() == (4, ["2024-01-01", "2024-01-02", "2024-01-03"])
    store_events(manned, [event(7, micros("2024-01-02 09:00"))])
    assert ticks.tick() == (0, [])
    say(manned, "paused")
    assert ticks.tick() == (2, ["2024-01-02"])
    say(manned, "running")
    assert ticks.tick() == (1, [])


def test_days_without_a_partition_are_not_reported(
    manned: Settings, instance: DagsterInstance
) -> None:
    """Dagster would refuse the whole tick."""
    store_events(manned, year_of_days(3))
    later = manned.model_copy(update={"history_start": date(2024, 1, 2)})
    assert Ticks(later, instance).tick() == (3, ["2024-01-02", "2024-01-03"])
