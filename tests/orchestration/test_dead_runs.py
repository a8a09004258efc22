"""Runs that died with the daemon before: the next one reports them at its start."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration.automation.dead_runs import report_earlier_runs
from orchestration.automation.run_requests import REASON_TAG
from orchestration.build import build_defs
from orchestration.instance import dagster_environment, open_instance, prepare_instance
from streaming.settings import Settings
from tests.support import wait_until


@contextmanager
def running(settings: Settings, *command: str) -> Iterator[None]:
    """Run a module of Dagster's side in a session of its own, and kill all of it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=dagster_environment(settings),
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_check(settings: Settings, instance: DagsterInstance, server: Path | None) -> str:
    """Make a started run of checks that this code server executes, and return its id."""
    job = build_defs(settings).resolve_job_def("frequent_check")
    info = {} if server is None else {GRPC_INFO_TAG: json.dumps({"socket": str(server)})}
    tags = {REASON_TAG: "frequent", **info}
    return instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags=tags).run_id


def is_answering(server: Path) -> bool:
    """Return whether a code server listens on its socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(server)) == 0


def status_of(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    """Return the status of a run."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_check_that_was_killed_with_its_code_server_fails_when_a_daemon_starts(
    store: Settings, tmp_path: Path
) -> None:
    """One whose code server runs is left alone, and so is one of the command line."""
    prepare_instance(store)
    server = tmp_path / "server"
    code = ["-m", "orchestration.definitions", "--lazy-load-user-code"]
    with open_instance(store) as instance:
        run_id, by_hand = (start_check(store, instance, path) for path in (server, None))
        with running(store, "dagster", "api", "grpc", "--socket", str(server), *code):
            wait_until(lambda: is_answering(server), 60, "the code server does not start")
            report_earlier_runs(store, instance)
            assert status_of(instance, run_id) is DagsterRunStatus.STARTED
        assert server.exists()
        with running(store, "orchestration.local.serve", "daemon", "2024-01-01"):
            wait_until(
                lambda: status_of(instance, run_id) is DagsterRunStatus.FAILURE,
                60,
                "the daemon does not report the run",
            )
        assert status_of(instance, by_hand) is DagsterRunStatus.STARTED
