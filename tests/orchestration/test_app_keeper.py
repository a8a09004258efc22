"""`up` keeps the stream when Dagster does not, says so, and leaves off what is switched off."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from dagster import DagsterInstance, build_sensor_context
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

from orchestration.automation.ticks import APP_SENSORS, record_tick
from orchestration.local.app_keeper import FIRST_TICK_SECONDS, RENEW_SECONDS, AppKeeper
from orchestration.local.services import Services
from streaming.apps import ANALYTICS, PROCESSOR
from streaming.runtime.keep_alive import KEEP_ALIVE_SECONDS
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.lease import holder
from tests.deployment import Deployment
from tests.orchestration.home import HomeRunner
from tests.support import wait_until

SILENCE_SECONDS = 150
"""Longer than the first tick is waited for, and a keep-alive holds after that."""


def pid_of_worker(home: HomeRunner, app: str) -> int | None:
    """Return the process of an app's first worker."""
    return holder(Home(home.path).worker_lease(app, 0))


def break_instance(home: HomeRunner) -> None:
    """Let Dagster's processes fail at their start, as after a wrong edit of `dagster.yaml`."""
    config = Home(home.path).dagster_config
    config.parent.mkdir(parents=True)
    config.write_text("concurrency: [wrong\n")


def send(home: HomeRunner, count: int) -> None:
    """Send so many purchases."""
    done = home.run("produce", "--rate", "max", "--count", str(count))
    assert done.returncode == 0, done.stderr


@pytest.mark.faults
def test_the_stream_goes_on_when_dagster_never_loads(home: HomeRunner) -> None:
    """Both apps were lost: their keep-alive has lapsed, and no sensor renews it."""
    break_instance(home)
    home.up()
    apps = ("processor", "analytics")
    wait_until(lambda: all(pid_of_worker(home, app) for app in apps), 90, "up does not work")
    before = {app: pid_of_worker(home, app) for app in apps}
    for app in apps:
        Home(home.path).keep_alive(app).unlink()
    wait_until(
        lambda: all(pid_of_worker(home, app) not in {None, before[app]} for app in apps),
        90,
        "an app does not come back",
    )
    send(home, 50)
    wait_until(lambda: home.events() == 50, 60, "the purchases are not stored")


def test_up_says_that_dagster_does_not_tick_and_that_it_ticks_again(deployment: Deployment) -> None:
    """After 90 s without a first tick, and 45 s after the last one."""
    now = [1_000.0]
    tick = Home(deployment.home).dagster_tick
    tick.parent.mkdir(parents=True)
    tick.touch()
    keeper = AppKeeper(deployment.settings, lambda: now[0])

    def notices(seconds: float) -> list[str]:
        now[0] += seconds
        keeper.step()
        return keeper.notices()

    assert notices(FIRST_TICK_SECONDS - 1) == []
    (notice,) = notices(RENEW_SECONDS)
    assert "Dagster does not tick" in notice
    assert "daemon.log" in notice
    tick.touch()
    assert notices(RENEW_SECONDS) == []
    assert notices(KEEP_ALIVE_SECONDS) == []
    assert len(notices(RENEW_SECONDS)) == 1
    keeper.ask_to_stop()
    keeper.stop(5)


def test_a_host_without_dagster_and_slots_keeps_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """What others run it neither starts nor waits for, nor takes it for switched off."""
    now = [1_000.0]
    settings = Settings(
        home=tmp_path, host="north", processor_slots=0, analytics_slots=0, services=""
    )
    keeper, services, home = AppKeeper(settings, lambda: now[0]), Services(settings), Home(tmp_path)
    home.switched_off("processor").touch()
    now[0] += FIRST_TICK_SECONDS + RENEW_SECONDS
    keeper.step()
    services.step()
    assert (keeper.notices(), home.list_keep_alives()) == ([], [])
    assert (services.dagster_url, services.dashboard_url) == ("", "")
    assert not list(home.dagster.glob("*.lock"))


def test_an_app_that_is_switched_off_stays_off_whether_dagster_ticks_or_not(
    deployment: Deployment,
) -> None:
    """Its keep-alive is removed once; the other app is kept."""
    now = [1_000.0]
    home = Home(deployment.home)
    keeper = AppKeeper(deployment.settings, lambda: now[0])
    keeper.step()
    assert [path.name for path in home.list_keep_alives()] == [
        "analytics.wanted",
        "processor.wanted",
    ]
    home.dagster.mkdir(parents=True)
    home.switched_off("processor").touch()
    for _ in range(2):
        now[0] += KEEP_ALIVE_SECONDS
        keeper.step()
        assert [path.name for path in home.list_keep_alives()] == ["analytics.wanted"]
    assert "The processor is off" in " ".join(keeper.notices())
    home.switched_off("processor").unlink()
    now[0] += RENEW_SECONDS
    keeper.step()
    assert home.keep_alive("processor").exists()
    keeper.ask_to_stop()
    keeper.stop(5)


def test_a_tick_records_which_apps_are_switched_off_in_its_own_location(
    settings: Settings, instance: DagsterInstance
) -> None:
    """The sensors of another code location with the same names have switches of their own."""
    home = Home(settings.home)

    def switch(location: str, sensor: str, status: InstigatorStatus) -> None:
        repository = RemoteRepositoryOrigin(
            RegisteredCodeLocationOrigin(location), "__repository__"
        )
        origin = repository.get_instigator_origin(sensor)
        state = InstigatorState(origin, InstigatorType.SENSOR, status)
        if instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            instance.update_instigator_state(state)
        else:
            instance.add_instigator_state(state)

    def off() -> list[str]:
        context = build_sensor_context(instance=instance)
        context._code_location_origin = RegisteredCodeLocationOrigin("ours")
        record_tick(settings, context)
        assert home.dagster_tick.exists()
        return [app.name for app in APP_SENSORS if home.switched_off(app.name).exists()]

    assert off() == []
    switch("ours", APP_SENSORS[PROCESSOR], InstigatorStatus.STOPPED)
    switch("other", APP_SENSORS[ANALYTICS], InstigatorStatus.STOPPED)
    assert off() == ["processor"]
    switch("ours", APP_SENSORS[PROCESSOR], InstigatorStatus.RUNNING)
    assert off() == []


def stop_daemon(home: HomeRunner) -> None:
    """Stop the daemon that runs, if any."""
    _send_to_daemon(home, signal.SIGSTOP)


def kill_daemon(home: HomeRunner) -> None:
    """Kill the daemon that runs, if any, with its code servers."""
    _send_to_daemon(home, signal.SIGKILL)


def _send_to_daemon(home: HomeRunner, number: signal.Signals) -> None:
    pid = holder(Home(home.path).service_lease("daemon"))
    # For an instant, until the daemon has the lease, `up` itself holds it.
    if pid and pid != holder(Home(home.path).up_lease):
        with suppress(ProcessLookupError):
            os.killpg(pid, number)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("prepare", "fault"),
    [(break_instance, None), (None, stop_daemon), (None, kill_daemon)],
    ids=["never_loads", "is_stopped", "is_killed_again_and_again"],
)
def test_the_stream_outlives_a_dagster_that_does_not_tick(
    home: HomeRunner,
    prepare: Callable[[HomeRunner], None] | None,
    fault: Callable[[HomeRunner], None] | None,
) -> None:
    """For two minutes and a half: no worker leaves, each purchase is stored, and `up` says why."""
    if prepare is not None:
        prepare(home)
    home.up()
    apps = ("processor", "analytics")
    wait_until(lambda: all(pid_of_worker(home, app) for app in apps), 90, "up does not work")
    workers = {app: pid_of_worker(home, app) for app in apps}
    end = time.monotonic() + SILENCE_SECONDS

    def is_over() -> bool:
        if fault is not None:
            fault(home)
        return time.monotonic() >= end

    wait_until(is_over, SILENCE_SECONDS + 60, "the clock stands still")
    assert {app: pid_of_worker(home, app) for app in apps} == workers
    send(home, 50)
    wait_until(lambda: home.events() == 50, 60, "the purchases are not stored")
    assert '"event": "dagster_silent"' in home.log.read_text()
    assert "Dagster does not tick" in str(home.progress()["notices"])
