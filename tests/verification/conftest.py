"""Fixtures of the verification's tests: a started store."""

from tests.store.conftest import connection, either_connection, either_store, settings, store

__all__ = ["connection", "either_connection", "either_store", "settings", "store"]
