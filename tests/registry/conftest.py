"""One registry for all tests of a process."""

from collections.abc import Iterator

import pytest

from tests.registry.server import Registry, running_registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A real schema registry."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running
