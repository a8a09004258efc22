"""The list of the apps agrees with what it names."""

from importlib.util import find_spec
from typing import get_args

import pytest

from streaming.apps import APPS, App, AppName, app_named
from streaming.kafka.names import Names
from streaming.settings import Settings


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_app_is_found_under_its_name(app: App) -> None:
    """Its module exists, and its topics and slots are the deployment's."""
    assert app_named(app.name) is app
    assert find_spec(app.module) is not None
    assert all(topic.startswith("shop.") for topic in Names("shop").read_by(app))
    settings = Settings(processor_slots=2, analytics_slots=3)
    assert app.slots(settings) == {"processor": 2, "analytics": 3}[app.name]


def test_the_names_of_the_command_line_are_those_of_the_list() -> None:
    """No other name is an app."""
    assert get_args(AppName) == tuple(app.name for app in APPS)
    assert app_named("producer") is None
