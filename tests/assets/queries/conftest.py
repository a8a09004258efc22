"""Tables that were built, for the tests of what is read from them."""

import pytest

from assets.builds.builder import open_builder
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.databases import copy_store, home_settings
from tests.store.rows import year_of_days

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with five days of events, of which three and the whole tables are built."""
    settings = home_settings(tmp_path_factory.mktemp("built"))
    store_events(settings, year_of_days(5))
    with open_builder(settings, "run") as builder:
        for day in DAYS:
            builder.build(day, DAY_TRANSFORMS)
        builder.build("all", WHOLE_TRANSFORMS)
    return settings


@pytest.fixture
def built(store: Settings, built_once: Settings) -> Settings:
    """A copy of that store, for a test of its own."""
    copy_store(built_once, store)
    return store
