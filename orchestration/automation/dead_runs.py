"""The report of runs that died with an earlier daemon and its code servers.

Dead runs that the present daemon started are reported by `run_sensors`.
"""

import errno
import json
import socket
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.tags import GRPC_INFO_TAG

from assets.builds.locks import is_run_alive
from streaming.settings import Settings
from streaming.system.home import Home

NOBODY_LISTENS: Final = {errno.ENOENT, errno.ECONNREFUSED}


def report_earlier_runs(settings: Settings, instance: DagsterInstance) -> None:
    """Report started runs as failed that died with the daemon before, as by a Ctrl-C of `up`.

    Of checks, upkeep and backups no lock tells it, but their code server does: it lives at least as
    long as its runs, unless all are killed. Runs of the command line have none.
    """
    # In a database that hosts share a run may be another host's, whose code servers are not here.
    if not isinstance(instance.run_storage, SqliteRunStorage):
        return
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
        if server and not _is_listening(server) and not is_run_alive(settings, run.run_id):
            report_dead_run(settings, instance, run)


def report_dead_run(settings: Settings, instance: DagsterInstance, run: DagsterRun) -> None:
    """Report a run as failed, and remove the file of its lock."""
    # In this order: should this process end in between, the file still shows the death.
    instance.report_run_failed(run, "The process of this run died.")
    Home(settings.home).run_lease(run.run_id).unlink(missing_ok=True)


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) not in NOBODY_LISTENS
