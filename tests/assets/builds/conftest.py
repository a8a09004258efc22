"""The builder that the tests of builds share."""

from collections.abc import Iterator

import pytest

from assets.builds.builder import PartitionBuilder, open_builder
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.store.rows import year_of_days


@pytest.fixture
def builder(store: Settings) -> Iterator[PartitionBuilder]:
    """The builder of a run, over three stored days."""
    store_events(store, year_of_days(3))
    with open_builder(store, "run-1") as opened:
        yield opened
