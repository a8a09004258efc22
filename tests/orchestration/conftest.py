"""Fixtures of the orchestration's tests: a started store, and an instance of Dagster."""

from tests.assets.conftest import connection, instance, settings, store

__all__ = ["connection", "instance", "settings", "store"]
