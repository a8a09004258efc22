"""The store in a PostgreSQL database: how it is named, opened, made, and what its errors say."""

from streaming.settings import Settings
from streaming.store.connection import (
    SCHEMA_VERSION,
    read_store,
    schema_version,
    store_exists,
    used_bytes,
    write_store,
)
from streaming.store.schema import upgrade


def test_a_new_database_is_of_this_schema(postgres_settings: Settings) -> None:
    """It is written and read like a file; to upgrade it again changes nothing."""
    upgrade(postgres_settings)
    with write_store(postgres_settings) as store:
        store.execute("INSERT INTO source_topic (name) VALUES (?)", ("shop",))
    with read_store(postgres_settings) as store:
        assert schema_version(store, postgres_settings.database) == SCHEMA_VERSION
        assert used_bytes(store) > 0
        assert store.execute("SELECT * FROM source_topic_readable").fetchall() == [(1, "shop")]
    assert store_exists(postgres_settings)
