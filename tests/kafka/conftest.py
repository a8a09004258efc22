"""The broker with TLS, logins and permissions, one for all test modules of a process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.secured import Secured, secured_broker


@pytest.fixture(scope="session")
def secured(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The secured broker, managed if there is a compiler; each test has its own namespace."""
    directory = tmp_path_factory.mktemp("secured")
    with secured_broker(jars, directory, managed=shutil.which("javac") is not None) as made:
        yield made
