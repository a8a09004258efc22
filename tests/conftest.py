"""Fixtures of the whole suite: one real broker for the session, a namespace for each test."""

import shutil
import threading
import uuid
from collections.abc import Generator, Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from streaming.broker.embedded import start_broker, stop_broker
from tests.deployment import Deployment
from tests.support import Broker

LOG_TAIL_BYTES = 4_000


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
    """Give the ends of a home's logs, and what its workers said of themselves."""
    said = [*sorted(home.glob("*.log")), *sorted((home / "workers").glob("*.json"))]
    return [(path.name, path.read_text(errors="replace")[-LOG_TAIL_BYTES:]) for path in said]


@pytest.fixture(scope="session")
def jars(pytestconfig: pytest.Config) -> Path:
    """A directory with Kafka's jars, kept between sessions; of many processes one fetches them."""
    from streaming.broker.jars import class_path

    cache = pytestconfig.cache
    assert cache is not None
    home = Path(cache.mkdir("kafka"))
    with (home / "fetching.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        class_path(home, print)
    return home / "broker" / "jars"


@pytest.fixture(scope="session")
def broker(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The embedded broker, started once for all tests; each test has topics of its own."""
    home = tmp_path_factory.mktemp("broker")
    bring_jars(jars, home)
    status = start_broker(home, print)
    assert status.bootstrap_servers is not None
    yield Broker(home, status.bootstrap_servers)
    stop_broker(home)


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def deployment(broker: Broker, namespace: str, tmp_path: Path) -> Deployment:
    """A deployment of its own on the session's broker, its topics created."""
    made = Deployment(tmp_path, broker.bootstrap_servers, namespace)
    made.succeed("topics", "create")
    return made


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


def bring_jars(jars: Path, home: Path) -> None:
    """Put the jars into a new home, so that its first start fetches nothing."""
    shutil.copytree(jars, home / "broker" / "jars")
