"""Fixtures of the whole suite: one real broker for the session, a namespace for each test."""

import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import settings

from streaming.broker import config
from streaming.broker.embedded import start_broker, stop_broker
from streaming.kafka.open_listener import require_rules
from streaming.settings import Settings
from streaming.store.schema import upgrade
from streaming.system.loading import kept_modules
from tests.databases import CHOICE, CHOSEN, SERVER, drop_databases
from tests.deployment import Deployment
from tests.java_archive import OPTIONS, archive_options
from tests.postgres import PostgresServer, start_postgres
from tests.support import (
    OPEN_TRANSACTION_SECONDS,
    Broker,
    allow_everything,
    unique_namespace,
)

LOG_TAIL_BYTES = 4_000
LONGEST = (
    "tests/docs/test_docs.py",
    "tests/offsets/test_topic_identity.py",
    "tests/docs/test_readme.py",
    "tests/orchestration/test_dagster.py",
    "tests/verification/test_verify.py",
    "tests/offsets/test_offsets.py",
    "tests/dashboard/test_dashboard.py",
    "tests/orchestration/test_clock.py",
    "tests/assets/queries/test_export.py",
    "tests/broker/test_embedded.py",
    "tests/faults/test_truncated.py",
    "tests/dead_letters/test_dead_letters.py",
    "tests/faults/test_http_in.py",
    "tests/runtime/test_supervisor.py",
    "tests/registry/test_registry.py",
    "tests/assets/test_definitions.py",
    "tests/stream/test_same_result.py",
    "tests/kafka/test_permissions.py",
    "tests/assets/tables/test_transforms.py",
    "tests/producer/replay/test_run.py",
    "tests/assets/builds/test_archive.py",
    "tests/kafka/test_cloud.py",
    "tests/faults/test_group.py",
    "tests/orchestration/test_run_sensors.py",
    "tests/faults/test_broker.py",
    "tests/faults/test_hostile.py",
    "tests/faults/test_hanging.py",
    "tests/dashboard/test_api.py",
    "tests/dead_letters/test_origins.py",
    "tests/assets/builds/test_addition.py",
    "tests/faults/test_database.py",
    "tests/kafka/test_preflight.py",
    "tests/faults/test_records.py",
    "tests/stream/test_erasure.py",
    "tests/cli/test_hostile_names.py",
    "tests/assets/builds/test_columns.py",
    "tests/assets/builds/test_year.py",
    "tests/dashboard/test_first_minutes.py",
)
"""Files that take over half a minute, the longest first: one process runs a file from end to end.
"""

# It is no setting, which each command that finds it would say.
DATABASE = os.environ.pop(CHOICE, "") or os.environ.get(CHOSEN, "sqlite")
"""What the homes of all tests have their stores in."""
if DATABASE not in {"sqlite", "postgres"}:
    raise pytest.UsageError(f"{CHOICE} is {DATABASE!r}, but must be sqlite or postgres.")
POSTGRES = DATABASE == "postgres"
# What xdist starts inherits it.
os.environ[CHOSEN] = DATABASE

# The same examples each time: what was green stays green, until the code or the test changes.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all tests without collecting garbage, which took a process half of its start."""
    with kept_modules():
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run long files first, then what needs a broker, so that none begins at the end.

    On PostgreSQL leave out what is about SQLite.
    """
    if POSTGRES and (left_out := [item for item in items if item.get_closest_marker("sqlite")]):
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    ranks = {file: rank for rank, file in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        needs_broker = "jars" in getattr(item, "fixturenames", ())
        return ranks.get(item.nodeid.partition("::")[0], len(ranks)), not needs_broker

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Restore signals after a test: Dagster, run in this process, leaves its own handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return (yield)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what the processes of its deployments said last."""
    report = yield
    if report.failed and call.when == "call":
        for given in getattr(item, "funcargs", {}).values():
            if isinstance(given, Deployment):
                report.sections += last_words(given.home)
    return report


def last_words(home: Path) -> list[tuple[str, str]]:
    """Return the ends of a home's logs, and what its workers said of themselves."""
    said = [*sorted(home.glob("*.log")), *sorted((home / "workers").glob("*.json"))]
    return [(path.name, path.read_text(errors="replace")[-LOG_TAIL_BYTES:]) for path in said]


@pytest.fixture(scope="session")
def jars(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with Kafka's jars, kept between sessions; of many processes one fetches them.

    From then on each Java that this process starts maps their classes from an archive.
    """
    from streaming.broker.jars import class_path

    cache = pytestconfig.cache
    assert cache is not None
    home = Path(cache.mkdir("kafka"))
    jars = home / "broker" / "jars"
    with (home / "fetching.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        class_path(home, print)
        first = tmp_path_factory.mktemp("first-broker")
        bring_jars(jars, first)
        options = archive_options(home, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(OPTIONS, options)
        yield jars


@pytest.fixture(scope="session")
def broker(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The embedded broker, one for all processes of the session; each test has its own topics.

    A transaction may stay open on it for as long as a test takes. Anybody may do everything on its
    open listener, because tests do what a cluster's owner does.

    The first process starts it. Each holds a shared lock while it runs tests, so whoever then gets
    the exclusive one is the last, and kills it: to close its logs would take seconds.
    """
    home = _session_directory(tmp_path_factory, "broker-of-the-session")
    with (home / "users.lock").open("w") as users:
        flock(users, LOCK_SH)
        with (home / "starting.lock").open("w") as starting:
            flock(starting, LOCK_EX)
            bring_jars(jars, home)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(config, "MOST_TRANSACTION_SECONDS", OPEN_TRANSACTION_SECONDS)
                status = start_broker(home, print)
            require_rules(Settings(home=home), allow_everything())
        assert status.bootstrap_servers is not None
        yield Broker(home, status.bootstrap_servers)
        with suppress(BlockingIOError):
            flock(users, LOCK_EX | LOCK_NB)
            stop_broker(home, timeout=0)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for all processes of the session; stopped by the last of them."""
    home = _session_directory(tmp_path_factory, "postgres-of-the-session")
    with (home / "users.lock").open("w") as users:
        flock(users, LOCK_SH)
        with (home / "starting.lock").open("w") as starting:
            flock(starting, LOCK_EX)
            server = start_postgres(home / "data")
        yield server
        with suppress(BlockingIOError):
            flock(users, LOCK_EX | LOCK_NB)
            server.stop()


@pytest.fixture(scope="session", autouse=True)
def _homes_in_postgres(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let each home of this process's tests have its store on the server, if that was chosen."""
    with pytest.MonkeyPatch.context() as patch:
        if POSTGRES:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            patch.setenv(SERVER, str(server.directory))
        yield


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """What libpq connects by to an empty database of its own on the session's server."""
    name = postgres_server.create_database()
    yield postgres_server.conninfo(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def postgres_template(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database of the present schema, one for all processes of the session, to be copied."""
    home = _session_directory(tmp_path_factory, "postgres-of-the-session")
    with (home / "template.lock").open("a+") as named:
        flock(named, LOCK_EX)
        named.seek(0)
        if not (name := named.read()):
            name = postgres_server.create_database()
            upgrade(Settings(home=home, database_url=postgres_server.url(name)))
            named.write(name)
    return name


@pytest.fixture
def postgres_settings(
    postgres_server: PostgresServer, postgres_template: str, tmp_path: Path
) -> Iterator[Settings]:
    """Settings of a new home whose store is an empty PostgreSQL database of the present schema."""
    name = postgres_server.create_database(postgres_template)
    yield Settings(home=tmp_path / "postgres-home", database_url=postgres_server.url(name))
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the present schema, to be copied: all migrations take 0.1 CPU s a test."""
    settings = Settings(home=tmp_path_factory.mktemp("empty-database"))
    upgrade(settings)
    return settings.database_path


@pytest.fixture(scope="session")
def admin(broker: Broker) -> AdminClient:
    """A client of the session's broker."""
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that no other test has. Its topics on the session's broker are deleted.

    Each client asks for all topics as it starts: of 170 tests they would be 660 at the end.
    """
    admin: AdminClient | None
    admin = request.getfixturevalue("admin") if "broker" in request.fixturenames else None
    name = unique_namespace()
    yield name
    if admin:
        topics = admin.list_topics(timeout=60).topics
        if own := [topic for topic in topics if topic.startswith(f"{name}.")]:
            # Nobody waits for it.
            admin.delete_topics(own)


@pytest.fixture
def deployment(broker: Broker, namespace: str, tmp_path: Path) -> Deployment:
    """A deployment of its own on the session's broker, its topics created."""
    made = Deployment(tmp_path, broker.bootstrap_servers, namespace)
    made.create_topics()
    return made


@pytest.fixture(autouse=True)
def _drop_databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Drop the databases of the homes that a test has to itself."""
    homes = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if homes is not None:
        drop_databases(homes)


@pytest.fixture(autouse=True)
def _raise_errors_of_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test in whose time a background thread died of an error."""
    errors: list[BaseException] = []

    def keep(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            errors.append(arguments.exc_value)

    monkeypatch.setattr(threading, "excepthook", keep)
    yield
    for error in errors:
        raise error


def _session_directory(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a directory that all processes of the session share."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    shared = directory / name
    shared.mkdir(exist_ok=True)
    return shared


def bring_jars(jars: Path, home: Path) -> None:
    """Link the jars into a new home, so that its first start fetches nothing."""
    (home / "broker").mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (home / "broker" / "jars").symlink_to(jars, target_is_directory=True)
