"""Dagster on several hosts: its storage in PostgreSQL, its runs through Redis to workers."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
)
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG, WILL_RETRY_TAG

from assets.builds.locks import hold_daemon_lock, hold_task_lock
from assets.tables.models import WHOLE_TABLE_NAMES
from orchestration.automation.dead_runs import report_earlier_runs
from orchestration.automation.run_requests import TASK_TAG
from orchestration.automation.run_sensors import SILENT_SECONDS, report_dead_runs
from orchestration.build import build_defs
from orchestration.instance import TEMPLATE, dagster_environment, open_instance, prepare_instance
from orchestration.local.down import end_leftovers
from orchestration.local.services import Services
from orchestration.local.up import Children
from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.connection import read_store
from streaming.store.postgres_locks import keep_runs_out
from streaming.system.database import PostgresDatabase
from streaming.system.home import Home
from tests.orchestration.home import HomeRunner
from tests.postgres import PostgresServer
from tests.redis import running_redis
from tests.support import wait_until


@pytest.fixture
def host(
    postgres_settings: Settings, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Settings]:
    """Settings of one of several hosts, whose databases and Redis are there."""
    database = postgres_server.create_database()
    with running_redis(tmp_path) as redis:
        yield postgres_settings.model_copy(
            update={
                "dagster_database_url": postgres_server.url(database),
                "dagster_redis_url": redis,
            }
        )
    postgres_server.drop_database(database)


@contextmanager
def running_worker(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the worker of a host."""
    with Home(settings.home).service_log("worker").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "orchestration.local.serve", "worker"],
            env=dagster_environment(settings),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(120)


def launch(settings: Settings, instance: DagsterInstance, tables: tuple[str, ...]) -> DagsterRun:
    """Launch a run that builds whole tables, as the daemon does with one from its queue."""
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=frozenset(AssetKey(table) for table in tables))
    # Another host has its code elsewhere: only the module's name counts.
    code = ModuleCodePointer("orchestration.definitions", "defs", "/of/another/host")
    origin = JobPythonOrigin(
        subset.name, RepositoryPythonOrigin("/of/another/host/python", code, None, None, None)
    )
    run = instance.create_run_for_job(
        subset, asset_selection=subset.asset_selection, job_code_origin=origin
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    return run


def test_a_host_executes_a_run_that_comes_through_redis(host: Settings) -> None:
    """Its build is in the store, and the run in the database that all hosts share."""
    prepare_instance(host)
    config = Home(host.home).dagster_config.read_text()
    assert config.startswith(TEMPLATE.read_text())
    assert "of-the-tests" not in config, "the password of the database"
    prepare_instance(host)
    assert Home(host.home).dagster_config.read_text() == config
    with open_instance(host) as instance, running_worker(host):
        run = launch(host, instance, WHOLE_TABLE_NAMES)
        wait_until(lambda: is_finished(instance, run), 120, "the run does not end")
        assert instance.get_run_by_id(run.run_id).is_success, [  # type: ignore[union-attr]
            event.user_message for event in instance.all_logs(run.run_id)
        ]
        with read_store(host) as store:
            built = store.execute("SELECT run_id FROM table_build").fetchall()
    assert built == [(run.run_id,)] * len(WHOLE_TABLE_NAMES)


def test_a_run_whose_worker_died_is_reported_whatever_it_did(
    host: Settings, tmp_path: Path
) -> None:
    """Celery goes on to say that its task runs; a run that is executed now is left alone."""
    prepare_instance(host)
    with open_instance(host) as instance:
        for task in ("alive", "dead"):
            run = start_upkeep(instance, {TASK_TAG: task})
        now = time.time()
        with hold_task_lock(host, "alive"):
            elsewhere = host.model_copy(update={"home": tmp_path / "another-host"})
            assert list(report_dead_runs(elsewhere, instance, now)) == []
            later = now + SILENT_SECONDS + 1
            assert list(report_dead_runs(elsewhere, instance, later)) == [run.run_id]


def start_upkeep(instance: DagsterInstance, tags: dict[str, str]) -> DagsterRun:
    """Make a started run with these tags, of which nothing is executed."""
    run = DagsterRun("upkeep", run_id=str(uuid.uuid4()), tags=tags)
    instance.add_run(run)
    started = DagsterEvent("PIPELINE_START", run.job_name, message="started")
    instance.report_dagster_event(started, run.run_id)
    return run


def test_a_daemon_that_starts_reports_no_run_of_another_host(host: Settings) -> None:
    """Whose code server listens on a socket there, and on none here."""
    prepare_instance(host)
    with open_instance(host) as instance:
        run = start_upkeep(instance, {GRPC_INFO_TAG: '{"socket": "/of/another/host"}'})
        report_earlier_runs(host, instance)
        assert not is_finished(instance, run)


def is_finished(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Return whether a run has ended."""
    recorded = instance.get_run_by_id(run.run_id)
    return recorded is not None and recorded.is_finished


def test_a_second_daemon_is_refused(host: Settings) -> None:
    """Two would both launch what is queued, and tick every sensor."""
    with (
        hold_daemon_lock(host),
        pytest.raises(PurchasesError, match="daemon runs on another host already"),
        hold_daemon_lock(host.model_copy(update={"home": host.home / "other"})),
    ):
        pass
    with hold_daemon_lock(host):
        pass


def test_what_an_operator_wrote_into_the_configuration_stays(host: Settings) -> None:
    """Such as a launcher of Kubernetes; and what no setting fills any more is refused by name."""
    own = "\nrun_launcher:\n  module: dagster\n  class: DefaultRunLauncher\n"
    own += "compute_logs:\n  module: dagster\n  class: LocalComputeLogManager\n"
    config = Home(host.home).dagster_config
    config.parent.mkdir(parents=True)
    config.write_text(TEMPLATE.read_text() + own)
    prepare_instance(host)
    text = config.read_text()
    assert text.startswith(TEMPLATE.read_text() + own)
    assert "DAGSTER_POSTGRES_URL" in text
    assert "HostsRunLauncher" not in text
    assert "NoOp" not in text
    alone = host.model_copy(update={"dagster_database_url": None, "dagster_redis_url": None})
    with pytest.raises(UsageError, match="section storage of several hosts, but PURCHASES_DAGSTER"):
        prepare_instance(alone)


def test_a_home_that_had_the_database_alone_gets_the_launcher_with_redis(host: Settings) -> None:
    """A prepared home is prepared again for what its settings name since, or do not name any more.

    A section without its setting is refused by name, instead of by Dagster.
    """
    database_alone = host.model_copy(update={"dagster_redis_url": None})
    prepare_instance(database_alone)
    config = Home(host.home).dagster_config
    assert "HostsRunLauncher" not in config.read_text()
    prepare_instance(host)
    assert "HostsRunLauncher" in config.read_text()
    with pytest.raises(UsageError, match="section run_launcher of several hosts, but PURCHASES_DA"):
        prepare_instance(database_alone)


@pytest.mark.faults
def test_a_run_that_a_person_terminates_is_canceled(host: Settings) -> None:
    """It has not failed, so that Dagster does not launch it again."""
    prepare_instance(host)
    assert isinstance(host.database, PostgresDatabase)
    with (
        open_instance(host) as instance,
        running_worker(host),
        keep_runs_out(host.database),
    ):
        run = launch(host, instance, WHOLE_TABLE_NAMES)
        begun = {DagsterEventType.STEP_START}
        wait_until(lambda: instance.all_logs(run.run_id, begun), 120, "the run does not start")
        assert instance.run_launcher.terminate(run.run_id)
        wait_until(lambda: is_finished(instance, run), 60, "the run does not end")
        recorded = instance.get_run_by_id(run.run_id)
        assert recorded is not None
        assert recorded.status is DagsterRunStatus.CANCELED
        assert not instance.run_launcher.terminate(run.run_id)


def end_as_up_does(services: Services, _home: Path) -> None:
    """End the services as `up` does at SIGTERM."""
    Children(services).stop()


def end_as_down_does(_services: Services, home: Path) -> None:
    """End the services as `down` does after an `up` that was killed."""
    end_leftovers(home)


@pytest.mark.faults
@pytest.mark.parametrize("end", [end_as_up_does, end_as_down_does])
def test_a_run_in_progress_ends_with_the_services_of_its_host_and_is_made_again(
    host: Settings, end: Callable[[Services, Path], None]
) -> None:
    """Nothing of it stays. It is reported, Dagster says that it launches it again, and it works."""
    runs_only = host.model_copy(update={"services": "runs"})
    assert isinstance(host.database, PostgresDatabase)
    prepare_instance(host)
    with ExitStack() as ending:
        ending.callback(end_leftovers, host.home)
        instance = ending.enter_context(open_instance(host))
        services = Services(runs_only)
        services.step()
        with keep_runs_out(host.database):
            run = launch(host, instance, WHOLE_TABLE_NAMES)
            begun = {DagsterEventType.STEP_START}
            wait_until(lambda: instance.all_logs(run.run_id, begun), 120, "the run does not start")
            end(services, host.home)
            assert HomeRunner(host.home).processes() == []
        later = time.time() + SILENT_SECONDS + 1
        assert list(report_dead_runs(host, instance, later)) == [run.run_id]
        recorded = instance.get_run_by_id(run.run_id)
        assert recorded is not None
        assert recorded.status is DagsterRunStatus.FAILURE
        assert recorded.tags[WILL_RETRY_TAG] == "true"

        Services(runs_only).step()
        # A launcher's second launch makes Celery warn that it has this task already.
        daemon = ending.enter_context(open_instance(host))
        again = launch(host, daemon, WHOLE_TABLE_NAMES)
        wait_until(lambda: is_finished(daemon, again), 120, "the run does not end")
        with read_store(host) as store:
            built = store.execute("SELECT DISTINCT run_id FROM table_build").fetchall()
    assert built == [(again.run_id,)]
