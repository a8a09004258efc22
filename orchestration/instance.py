"""Dagster's instance of a home: its configuration, its storages, and its environment.

Storages are files of the home, or a PostgreSQL database that several hosts share. What executes
runs on other hosts is in `local.run_worker`.

Dagster is imported only where a storage is opened: importing it takes seconds that the command line
must not take.
"""

import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assets.builds.locks import WRITE_POOL
from streaming.errors import PurchasesError, UsageError
from streaming.settings import PREFIX, Settings, worker_environment
from streaming.system.deadline import Deadline
from streaming.system.files import replace_file
from streaming.system.home import Home
from streaming.system.lease import Lease, holder, wait_to_acquire

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef

TEMPLATE: Final = Path(__file__).parent / "dagster.yaml"
POSTGRES_URL: Final = "DAGSTER_POSTGRES_URL"
REDIS_URL: Final = "DAGSTER_REDIS_URL"
"""The variables that `dagster.yaml` names, so that no password is in it."""
SECTIONS: Final = {
    "storage": (
        POSTGRES_URL,
        "DAGSTER_DATABASE_URL",
        TEMPLATE.with_name("dagster-postgres.yaml"),
    ),
    "run_launcher": (REDIS_URL, "DAGSTER_REDIS_URL", TEMPLATE.with_name("dagster-celery.yaml")),
    "compute_logs": (REDIS_URL, "DAGSTER_REDIS_URL", TEMPLATE.with_name("dagster-logs.yaml")),
}
"""What `dagster.yaml` has in addition where several hosts share a database and Redis: by section
the variable that it names, the setting that fills it, and its text."""
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
        **_engine_environment(settings),
        "DAGSTER_HOME": os.fspath(Home(settings.home).dagster),
    }


def _engine_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of the URLs that `dagster.yaml` names; none for files in the home."""
    database, redis = settings.dagster_database, settings.dagster_redis_url
    # With SQLAlchemy's default driver, which is psycopg 3, Dagster's NOTIFY fails.
    storage = {POSTGRES_URL: database.sqlalchemy_url("psycopg2")} if database else {}
    return storage | ({REDIS_URL: redis} if redis else {})


def _short_temporary_directory() -> dict[str, str]:
    """Return a setting of TMPDIR, if a socket could not have a name in the present one."""
    # Not `tempfile.gettempdir()`: it would keep the present one for the rest of this process.
    chosen = (os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    if all(len(os.fsencode(directory)) <= DIRECTORY_BYTES for directory in chosen):
        return {}
    return {"TMPDIR": "/tmp"}  # noqa: S108 - what is made in it has names of `tempfile`


def prepare_instance(settings: Settings) -> None:
    """Create the instance if there is none, and migrate an older one to this Dagster's schema.

    Raises `PurchasesError` if another process prepares it and does not finish, and `UsageError` if
    its configuration names what no setting does, or the extra `celery` is not installed.
    """
    home, preparation = Home(settings.home), _preparation(settings)
    if _read_prepared_version(home.dagster_version) == preparation:
        return
    # All storages are opened under a lock: a webserver and a daemon that open an empty home at once
    # leave two migration heads, and neither ever starts again.
    with _lock(home.dagster_opening_lease):
        # Another process may have done it during the wait for the lock.
        if _read_prepared_version(home.dagster_version) == preparation:
            return
        if not home.dagster_config.exists():
            shutil.copyfile(TEMPLATE, home.dagster_config)
        _name_engines(settings, home.dagster_config)
        with open_instance(settings) as instance:
            if (
                _read_prepared_version(home.dagster_version) is not None
                or settings.dagster_database
            ):
                instance.upgrade()
            _open_storages(instance)
        # At last: a preparation that died in between is done again.
        home.dagster_version.write_text(preparation)


def _preparation(settings: Settings) -> str:
    """Return what is prepared: this Dagster's storages, where they are, and how runs are launched.

    Another one than before means that the configuration lacks a section, or has one too many.
    """
    database = settings.dagster_database
    storages = version("dagster") + (f" in {database}" if database else "")
    return storages + (", runs through Redis" if settings.dagster_redis_url else "")


def _name_engines(settings: Settings, config: Path) -> None:
    """Add the sections of the database and of Redis to `dagster.yaml`, unless it has its own."""
    from dagster_shared.yaml_utils import load_yaml_from_path

    text = before = config.read_text()
    present = load_yaml_from_path(os.fspath(config))
    given = _engine_environment(settings)
    for section, (variable, setting, template) in SECTIONS.items():
        if variable in given and not (isinstance(present, dict) and section in present):
            _require_extra()
            text += "\n" + template.read_text()
        elif variable not in given and variable in text:
            raise UsageError(
                f"{config} has the section {section} of several hosts, but {PREFIX}{setting} is"
                " not set: set it, or remove the section."
            )
    if text != before:
        with replace_file(config) as file:
            file.write(text.encode())


def _require_extra() -> None:
    if find_spec("dagster_celery") is None or find_spec("dagster_postgres") is None:
        raise UsageError(
            "Dagster on several hosts needs the extra `celery`: pip install 'purchases[celery]'."
        )


def open_instance(settings: Settings) -> "DagsterInstance":
    """Open the home's instance, as a context manager."""
    from dagster import DagsterInstance

    os.environ.update(_engine_environment(settings))
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


def _read_prepared_version(path: Path) -> str | None:
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
