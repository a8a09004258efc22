"""Fixtures of the totals' tests: a started store."""

from tests.store.conftest import connection, settings, store

__all__ = ["connection", "settings", "store"]
