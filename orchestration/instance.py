"""Dagster's instance in the home: its configuration, its storages, and its environment.

Dagster is imported only where a storage is opened: importing it takes seconds that the command line
must not take.
"""

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assets.builds.locks import WRITE_POOL
from streaming.errors import PurchasesError
from streaming.settings import Settings, worker_environment
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.lease import Lease, holder, wait_to_acquire

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef

TEMPLATE: Final = Path(__file__).parent / "dagster.yaml"
EVENT_LOG: Final = {
    "module": "orchestration.local.event_log",
    "class": "PooledSqliteEventLogStorage",
}
EVENT_BATCH: Final = {"DAGSTER_EVENT_BATCH_SIZE": "1000"}
"""Dagster hands over the plan of a run in batches of so many events, which are one transaction: a
plan has one event for each partition of each table."""
DIRECTORY_BYTES: Final = 80
"""Dagster's code servers listen on sockets in the temporary directory. The name of a socket has at
most 103 bytes on every system, and is about 12 longer than that of its directory."""
OPENING_SECONDS: Final = 120.0
"""The longest wait for another process that prepares the instance; an upgrade migrates it all."""


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of Dagster's processes, with this home and these settings."""
    return {
        **worker_environment(settings),
        **EVENT_BATCH,
        **_short_temporary_directory(),
        "DAGSTER_HOME": os.fspath(Home(settings.home).dagster),
    }


def _short_temporary_directory() -> dict[str, str]:
    """Return a setting of TMPDIR, if a socket could not have a name in the present one."""
    # Not `tempfile.gettempdir()`: it would keep the present one for the rest of this process.
    chosen = (os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    if all(len(os.fsencode(directory)) <= DIRECTORY_BYTES for directory in chosen):
        return {}
    return {"TMPDIR": "/tmp"}  # noqa: S108 - what is made in it has names of `tempfile`


def prepare_instance(settings: Settings) -> None:
    """Create the instance if there is none, and migrate an older one to this Dagster's schema.

    Raises `PurchasesError` if another process prepares it and does not finish.
    """
    home = Home(settings.home)
    if _prepared(home.dagster_version) == version("dagster"):
        return
    # All storages are opened under a lock: a webserver and a daemon that open an empty home at once
    # leave two migration heads, and neither ever starts again.
    with _lock(home.dagster_opening_lease):
        # Another process may have done it during the wait for the lock.
        if _prepared(home.dagster_version) == version("dagster"):
            return
        if not home.dagster_config.exists():
            shutil.copyfile(TEMPLATE, home.dagster_config)
        with open_instance(settings) as instance:
            if _prepared(home.dagster_version) is not None:
                instance.upgrade()
            _open_storages(instance)
        # At last: a preparation that died in between is done again.
        home.dagster_version.write_text(version("dagster"))


def open_instance(settings: Settings) -> "DagsterInstance":
    """Open the home's instance, as a context manager."""
    from dagster import DagsterInstance

    return DagsterInstance.from_ref(read_instance_ref(settings))


def read_instance_ref(settings: Settings) -> "InstanceRef":
    """Return the home's instance as its `dagster.yaml` describes it, with our event log.

    An event log that the file names, such as PostgreSQL's, stays.
    """
    from dagster._core.instance import InstanceRef

    home = os.fspath(Home(settings.home).dagster)
    ref = InstanceRef.from_dir(home)
    log = ref.event_storage_data
    if log is None or log.class_name != "SqliteEventLogStorage":
        return ref
    # Not in `dagster.yaml`: it would name the home's path, and a home can be moved.
    pooled = {"event_log_storage": {**EVENT_LOG, "config": log.config_dict}}
    return InstanceRef.from_dir(home, overrides=pooled)


def _open_storages(instance: "DagsterInstance") -> None:
    """Make each storage create its file, and set the limit of the pool of writers."""
    instance.get_runs(limit=1)
    instance.all_instigator_state()
    # A pool's `default_limit` in `dagster.yaml` does not hold for the first run of a new pool.
    instance.event_log_storage.set_concurrency_slots(WRITE_POOL, 1)


def _prepared(path: Path) -> str | None:
    """Return the version of Dagster that last opened all storages; None if none did."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _lock(path: Path) -> Lease:
    lease = wait_to_acquire(path, Deadline.after(OPENING_SECONDS))
    if lease is None:
        raise PurchasesError(
            f"Process {holder(path)} prepares {path.parent} for over two minutes; end it, and start"
            " again."
        )
    return lease
