"""Tables that were built, for the tests of what is read from them."""

import pytest

from assets.builds.builder import open_builder
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from tests.assets.stored import store_events
from tests.store.rows import year_of_days

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04")


@pytest.fixture
def built(store: Settings) -> Settings:
    """A store with five days of events, of which three and the whole tables are built."""
    store_events(store, year_of_days(5))
    with open_builder(store, "run") as builder:
        for day in DAYS:
            builder.build(day, DAY_TRANSFORMS)
        builder.build("all", WHOLE_TRANSFORMS)
    return store
