"""The broker with TLS, logins and permissions, one for all test modules of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.secured import Secured, secured_broker


@pytest.fixture(scope="session")
def secured(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The secured broker; each test has a namespace of its own."""
    with secured_broker(jars, tmp_path_factory.mktemp("secured")) as made:
        yield made
