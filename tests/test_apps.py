"""The list of the apps agrees with what it names."""

from importlib.util import find_spec
from typing import get_args

import pytest

from streaming.apps import APPS, App, AppName, app_named, worker_name
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


def test_no_two_slots_of_a_deployment_have_one_name() -> None:
    """Not on two hosts either; one host alone has the names that it had before hosts had any."""
    assert worker_name("processor", "", 0) == "processor-0"
    assert Names("shop", "north").transactional_id(2) == "shop.processor-north-2"
    hosts = ["", "0", "a", "a-0", "0-a", "a.0"]
    names = {worker_name(app.name, host, slot) for app in APPS for host in hosts for slot in (0, 1)}
    assert len(names) == len(APPS) * len(hosts) * 2
    ids = {Names("", host).transactional_id(slot) for host in hosts for slot in (0, 1)}
    assert all(one.startswith(Names().transactional_ids) for one in ids)
