"""The files of a home: the one list of what lies where. Nothing is written here.

The names are a contract with operators (docs/home.md). What is in a file is its writer's matter;
what Dagster and Kafka name themselves, below `dagster/` and `broker/data/`, is not listed.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The paths below a home's directory; the files need not exist."""

    path: Path

    @property
    def database(self) -> Path:
        """The event store: SQLite's file, beside which `-wal` and `-shm` appear."""
        return self.path / "purchases.db"

    def move_lease(self, database: str) -> Path:
        """Return the lease of the move that fills a file of SQLite, beside it."""
        return self.path / f"{database}.move.lock"

    @property
    def backups(self) -> Path:
        """The directory of backups, each named after its time and its reason."""
        return self.path / "backups"

    @property
    def rehearsal(self) -> Path:
        """The directory in which a backup is restored to see that it can be; removed afterwards."""
        return self.backups / "rehearsal"

    @property
    def kept_columns(self) -> Path:
        """The directory of column files that only backups name, as in `columns`."""
        return self.backups / "columns"

    @property
    def columns(self) -> Path:
        """The directory of column files, one below it for each day."""
        return self.path / "columns"

    @property
    def erasures(self) -> Path:
        """The erased names as pseudonyms, and their key; of one database, and not in it."""
        return self.path / "erasures.json"

    @property
    def dashboard_port(self) -> Path:
        """The port that the dashboard listened on last."""
        return self.path / "dashboard.port"

    @property
    def dashboard_token(self) -> Path:
        """The token of both servers, where none is set and the system does not tell users."""
        return self.path / "dashboard.token"

    @property
    def ended_sessions(self) -> Path:
        """The ids of sessions of the dashboard that were ended before they expired."""
        return self.path / "dashboard.ended-sessions"

    @property
    def up_lease(self) -> Path:
        """The lease of `purchases up`."""
        return self.path / "up.lock"

    @property
    def feeder_lease(self) -> Path:
        """The lease of the demonstration's producer."""
        return self.path / "feeder.lock"

    @property
    def feeder_log(self) -> Path:
        """The log of the demonstration's producer."""
        return self.path / "feeder.log"

    @property
    def unacknowledged_lists(self) -> Path:
        """The directory of lists of purchases that Kafka did not acknowledge."""
        return self.path / "unacknowledged"

    def replay_checkpoint(self, replay: str) -> Path:
        """Return the checkpoint of one replay."""
        return self.path / "replays" / f"{replay}.json"

    def replay_lease(self, replay: str) -> Path:
        """Return the lease of the process that runs one replay."""
        return self.path / "replays" / f"{replay}.lock"

    @property
    def workers(self) -> Path:
        """The directory of supervisors and workers."""
        return self.path / "workers"

    def worker_lease(self, app: str, slot: int) -> Path:
        """Return the lease of the worker of a slot."""
        return self.workers / f"{app}-{slot}.lock"

    def worker_status(self, app: str, slot: int) -> Path:
        """Return the status file of the worker of a slot."""
        return self.workers / f"{app}-{slot}.json"

    def supervisor_lease(self, app: str) -> Path:
        """Return the lease of the supervisor of an app."""
        return self.workers / f"{app}.supervisor.lock"

    def supervisor_status(self, app: str) -> Path:
        """Return the status file of the supervisor of an app."""
        return self.workers / f"{app}.supervisor.json"

    def supervisor_log(self, app: str) -> Path:
        """Return the log of a supervisor in the background, and of its workers."""
        return self.workers / f"{app}.log"

    def keep_alive(self, app: str) -> Path:
        """Return the keep-alive file of an app: its time says that the app is to run."""
        return self.workers / f"{app}.wanted"

    def keep_alive_lease(self, app: str) -> Path:
        """Return the lease of the supervisor that the keep-alive file of an app keeps running."""
        return self.workers / f"{app}.held"

    @property
    def broker(self) -> Path:
        """The directory of the embedded broker."""
        return self.path / "broker"

    @property
    def broker_lease(self) -> Path:
        """The lease of the embedded broker."""
        return self.broker / "lock"

    @property
    def broker_identity(self) -> Path:
        """The cluster id and the ports of the embedded broker, chosen once."""
        return self.broker / "broker.json"

    @property
    def broker_properties(self) -> Path:
        """The configuration of the embedded broker, written at each start."""
        return self.broker / "server.properties"

    @property
    def broker_client_properties(self) -> Path:
        """Address and login of the embedded broker, for other programs; written at each start."""
        return self.broker / "client.properties"

    @property
    def broker_data(self) -> Path:
        """The directory of Kafka's logs: the topics."""
        return self.broker / "data"

    @property
    def broker_log(self) -> Path:
        """The log file of the embedded broker, from its last start."""
        return self.broker / "logs" / "broker.log"

    @property
    def broker_keeper_log(self) -> Path:
        """The log of the starts of a broker that died while `up` ran."""
        return self.broker / "logs" / "keeper.log"

    @property
    def jars(self) -> Path:
        """The directory of Kafka's jars."""
        return self.broker / "jars"

    @property
    def fetched_jars(self) -> Path:
        """The directory of jars that are being fetched; removed when they are checked."""
        return self.broker / "fetched"

    def run_lease(self, run_id: str) -> Path:
        """Return the lease of a Dagster run that writes."""
        return self.path / "runs" / f"{run_id}.lock"

    @property
    def write_lease(self) -> Path:
        """The lease of the one run that writes at a time."""
        return self.path / "runs" / "write.lock"

    @property
    def spool(self) -> Path:
        """The directory of the events that a run is adding up, if they are many."""
        return self.path / "runs" / "spool"

    @property
    def dagster(self) -> Path:
        """The directory that is `DAGSTER_HOME`."""
        return self.path / "dagster"

    @property
    def dagster_config(self) -> Path:
        """The configuration of Dagster's instance, copied when the home is made."""
        return self.dagster / "dagster.yaml"

    @property
    def dagster_version(self) -> Path:
        """The version of Dagster that opened its storages last."""
        return self.dagster / "prepared"

    @property
    def dagster_opening_lease(self) -> Path:
        """The lease of the process that opens Dagster's storages."""
        return self.dagster / "opening.lock"

    @property
    def dagster_tick(self) -> Path:
        """The file whose time is that of the last tick of a sensor."""
        return self.dagster / "ticked"

    def switched_off(self, app: str) -> Path:
        """Return the file that exists while the sensor of an app is switched off in Dagster."""
        return self.dagster / f"{app}.off"

    @property
    def webserver_port(self) -> Path:
        """The port that Dagster's webserver listened on last."""
        return self.dagster / "webserver.port"

    def service_lease(self, service: str) -> Path:
        """Return the lease of a child of `up`: `webserver`, `daemon`, `worker` or `page`."""
        return self.dagster / f"{service}.lock"

    def service_log(self, service: str) -> Path:
        """Return the log of a child of `up`: `webserver`, `daemon`, `worker` or `page`."""
        return self.dagster / f"{service}.log"

    def list_supervisor_leases(self) -> list[Path]:
        """List the leases of all supervisors there ever were, in order."""
        return sorted(self.workers.glob("*.supervisor.lock"))

    def list_worker_leases(self, app: str = "*") -> list[Path]:
        """List the leases of all workers there ever were, or of those of one app, in order."""
        return sorted(self.workers.glob(f"{app}-*.lock"))

    def list_keep_alives(self) -> list[Path]:
        """List the keep-alive files that exist, in order."""
        return sorted(self.workers.glob("*.wanted"))
